"""Classes: order of names, distinct colours, saving with the session."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST, SECOND, FakeTarget, blobs, oracle_session

from napari_mobilesam.palette import PALETTE, rgb
from napari_mobilesam.session.objects.classes import (
    ClassError,
    Classes,
    hex_color,
)
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.settings import (
    load_settings,
    settings_path,
)
from napari_mobilesam.types import SegmentationError


@pytest.fixture
def sessions():
    made = []

    def make():
        made.append(oracle_session([blobs()]))
        return made[-1]

    yield make
    for session in made:
        session.close()


def test_each_class_gets_a_colour_that_no_other_has():
    classes = Classes()
    classes.add(*[f'class {n}' for n in range(20)])
    colors = list(classes.colors.values())
    assert colors[: len(PALETTE)] == list(PALETTE)
    assert len(set(colors)) == 20
    classes.add('class 3')
    assert list(classes.colors.values()) == colors
    # more than there are colours is not an error
    classes.add(*[f'more {n}' for n in range(30)])
    assert len(classes) == 50


def test_a_colour_that_is_taken_is_not_given_again():
    classes = Classes()
    classes.set_color('nucleus', PALETTE[0])
    classes.add('debris')
    assert classes.colors == {'nucleus': PALETTE[0], 'debris': PALETTE[1]}


def test_changes_are_told_once_and_only_if_there_are_any():
    classes, told = Classes(), []
    classes.changed.connect(lambda: told.append(classes.colors))
    classes.add('', 'cell', 'debris')
    classes.add('cell')
    classes.set_color('cell', 'red')
    classes.set_color('cell', '#FF0000')
    classes.shown = False
    assert told == [
        {'cell': PALETTE[0], 'debris': PALETTE[1]},
        {'cell': '#ff0000', 'debris': PALETTE[1]},
    ]
    classes.shown = True
    assert len(told) == 3


def test_colours_are_names_or_numbers():
    assert hex_color('orange') == '#ffa500'
    assert hex_color('#0f0') == '#00ff00'
    assert rgb('#0102ff') == (1, 2, 255)
    for wrong in ('no colour', '', '#12', None):
        with pytest.raises(ClassError, match='is not a colour'):
            hex_color(wrong)
    with pytest.raises(ClassError, match='needs a name'):
        Classes().set_color('', 'red')


def test_one_wrong_colour_changes_none():
    classes = Classes()
    with pytest.raises(ClassError):
        classes.update({'cell': 'red', 'debris': 'nothing'})
    assert len(classes) == 0


def test_settings_that_somebody_edited_are_survived(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CONFIG', str(tmp_path))
    stored = {
        'classes': ['cell', 'debris', 'dirt'],
        'class_colors': {'cell': '#010203', 'debris': 'nothing', 'dirt': 7},
        'color_by_class': 'yes',
    }
    settings_path().write_text(json.dumps(stored), 'utf-8')
    settings = load_settings()
    classes = Classes()
    classes.restore(settings.classes, settings.class_colors)
    assert classes.names == ['cell', 'debris', 'dirt']
    assert classes.colors['cell'] == '#010203'
    assert len(set(classes.colors.values())) == 3
    assert settings.color_by_class is False


@pytest.mark.slow
def test_console_names_and_colours_classes(sessions):
    session = sessions()
    session.assign_class('cell')
    session.click(*FIRST)
    session.accept()
    session.click(*SECOND)
    session.accept()
    session.assign_class('debris', 2)
    assert session.classes.names == ['cell', 'debris']
    session.set_class_color('debris', 'black')
    assert session.classes.colors['debris'] == '#000000'
    session.color_by_class()
    assert session.classes.shown
    session.color_by_class(False)
    assert not session.classes.shown
    with pytest.raises(SegmentationError, match='no object 9'):
        session.assign_class('dirt', 9)
    assert 'dirt' not in session.classes
    with pytest.raises(SegmentationError, match='is not a colour'):
        session.set_class_color('cell', 'colourless')


def test_a_class_is_renamed_with_its_objects_as_one_step(sessions):
    session = sessions()
    session.assign_class('cel')
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    session.classes.add('debris')
    session.set_class_color('cel', '#123456')
    session.rename_class('cel', 'cell')
    assert list(session.classes.colors.items())[0] == ('cell', '#123456')
    assert classes_of(session) == ['cell', 'cell']
    # the next object too
    assert session.editor.options.class_name == 'cell'
    session.undo()
    assert classes_of(session) == ['cel', 'cel']
    # also the class of the next object
    assert session.editor.options.class_name == 'cel'
    # as it was: its number and its colour
    assert session.classes.names == ['cel', 'debris']
    assert session.classes.colors['cel'] == '#123456'
    session.redo()
    assert session.classes.names == ['cell', 'debris']
    session.rename_class('cell', 'cell')  # is not a step
    session.rename_class('cell', 'debris')
    assert session.classes.names == ['debris']
    assert classes_of(session) == ['debris', 'debris']
    session.remove_class('debris')
    assert len(session.classes) == 0
    assert classes_of(session) == ['', '']
    session.undo()
    assert classes_of(session) == ['debris', 'debris']
    assert session.classes.names == ['debris']
    session.undo()
    assert session.classes.names == ['debris', 'cell']
    session.undo()
    assert classes_of(session) == ['cel', 'cel']
    assert session.classes.names == ['debris', 'cel']


def test_an_undone_name_that_was_already_found_is_as_it_was(sessions):
    session = sessions()
    session.assign_class('cel')
    session.click(*FIRST)
    session.accept()
    session.classes.add('debris')
    session.set_class_color('cel', '#123456')
    # as colouring by class does
    objects = session.scene.objects(False)
    objects.changed.connect(lambda: session.classes.add(*classes_of(session)))
    session.rename_class('cel', 'cell')
    for step, name in ((session.undo, 'cel'), (session.redo, 'cell')):
        step()
        assert session.classes.names == [name, 'debris']
        assert session.classes.colors[name] == '#123456'
        assert session.editor.options.class_name == name


def test_other_classes_of_what_is_open_and_to_come_stay(sessions):
    session = sessions()
    session.assign_class('cell')
    session.click(*FIRST)
    session.accept()
    session.assign_class('debris')
    session.open(1)
    session.rename_class('cell', 'nucleus')
    assert session.editor.record.class_name == 'nucleus'
    assert session.editor.options.class_name == 'debris'
    session.accept()
    assert classes_of(session) == ['nucleus']


def classes_of(session):
    return [record.class_name for record in session.scene.objects(False)]


def two_cells(session, by_class):
    session.classes.add('cell', 'debris')
    session.assign_class('cell')
    session.editor.options = replace(
        session.editor.options,
        by_class=by_class,
        label=1 if by_class else None,
    )
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()


@pytest.mark.parametrize('by_class', [False, True])
def test_the_object_at_a_position_gets_a_class(sessions, by_class):
    session = sessions()
    two_cells(session, by_class)
    before = session.scene.target.data.copy()
    session.click(36, 40)
    record = session.assign_class('debris', at=FIRST)
    assert (record.number, record.class_name) == (1, 'debris')
    # the open one is still open, and the next one a cell
    assert session.editor.record.masks
    assert session.editor.options.class_name == 'cell'
    assert classes_of(session) == ['debris', 'cell']
    after = session.scene.target.data
    if by_class:
        assert after[0][FIRST] == 2
        assert np.array_equal(before > 0, after > 0)
    else:
        assert np.array_equal(before, after)
    again = sessions()
    exec(session.script(), {'new_session': lambda: again})  # noqa: S102
    assert classes_of(again) == ['debris', 'cell']
    assert np.array_equal(again.scene.target.data, after)
    # the same class is no step
    session.assign_class('debris', at=FIRST)
    assert session.undo()
    assert classes_of(session) == ['cell', 'cell']
    assert np.array_equal(session.scene.target.data, before)
    assert session.assign_class('debris', at=(0, 0)) is None


@pytest.mark.parametrize('by_class', [False, True])
def test_labels_from_a_file_get_a_class(sessions, by_class):
    session = sessions()
    two_cells(session, by_class)
    target = session.scene.target
    target.data[0, 70:80, 100:110] = 7
    before = target.data.copy()
    assert session.assign_class('debris', at=(75, 105)).label == 7 - 5 * (
        by_class
    )
    assert 'debris' in target.table['class'].tolist()
    assert np.array_equal(before > 0, target.data > 0)
    session.undo()
    assert np.array_equal(before, target.data)
    assert 'debris' not in target.table['class'].tolist()


def test_other_pixels_of_a_label_have_the_class_of_its_object(sessions):
    session = sessions()
    two_cells(session, False)
    session.scene.target.data[0, 70:80, 110:120] = 2
    assert session.assign_class('debris', at=(75, 115)).number == 2
    assert classes_of(session) == ['cell', 'debris']


def test_a_class_does_not_bring_back_covered_pixels(sessions):
    session = sessions()
    two_cells(session, True)
    target = session.scene.target
    target.data[0, 20:26, 24:44] = 9
    session.assign_class('debris', at=(36, 32))
    assert (target.data[0, 20:26, 24:44] == 9).all()
    assert target.data[0, 36, 32] == 2
    target.editable = False
    with pytest.raises(SegmentationError, match='read-only'):
        session.assign_class('cell', at=(36, 32))


def test_a_class_of_no_object_is_no_step(sessions):
    session = sessions()
    session.classes.add('cell')
    session.rename_class('cell', 'nucleus')
    session.rename_class('nucleus', 'nucleus')
    assert session.classes.names == ['nucleus']
    session.remove_class('nucleus')
    assert session.undo() is None


def test_a_class_is_changed_in_all_labels_or_in_none(sessions):
    session = sessions()
    session.assign_class('cell')
    session.click(*FIRST)
    session.accept()
    own, others = session.scene.objects(False), Objects(FakeTarget())
    with others.step('an object') as step:
        step.put(ObjectRecord(1, 1, class_name='cell'))
    others.target.editable = False
    session.scene.undoables = lambda: [own, others]
    with pytest.raises(SegmentationError, match='read-only'):
        session.rename_class('cell', 'nucleus')
    with pytest.raises(SegmentationError, match='read-only'):
        session.remove_class('cell')
    assert session.classes.names == classes_of(session) == ['cell']


def test_classes_that_are_not_there_are_neither_renamed_nor_removed(sessions):
    session = sessions()
    with pytest.raises(SegmentationError, match='no class “cell”.*is none'):
        session.remove_class('cell')
    session.classes.add('debris')
    with pytest.raises(SegmentationError, match='there is “debris”'):
        session.rename_class('cell', 'nucleus')
    with pytest.raises(SegmentationError, match='Give “debris” a name'):
        session.rename_class('debris', '')


@pytest.mark.slow
def test_session_file_brings_colours_back(sessions, tmp_path):
    session = sessions()
    session.set_class_color('cell', '#123456')
    session.assign_class('cell')
    session.click(*FIRST)
    session.accept()
    path = tmp_path / 'cells.session'
    session.save(path)
    again = sessions()
    again.classes.add('mine', 'cell')
    again.load(path)
    assert again.classes.names == ['mine', 'cell']
    assert again.classes.colors['cell'] == '#123456'
    # of an earlier version, or edited
    content = json.loads(gzip.decompress(path.read_bytes()))
    del content['classes']
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    old = sessions()
    old.load(path)
    assert old.scene.objects(False)[1].class_name == 'cell'
    content['classes'] = {'cell': 'nothing'}
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(SegmentationError, match='is not a colour'):
        sessions().load(path)


@pytest.mark.parametrize('name', ['\ud800', 3, None, 'x' * 2000])
def test_names_that_no_file_can_hold_are_refused(sessions, name):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    with pytest.raises(SegmentationError, match='class_name'):
        session.assign_class(name, 1)
    with pytest.raises(SegmentationError, match='new'):
        session.assign_class('cell', 1)
        session.rename_class('cell', name)
