"""Save as I go: where it goes, what comes back tomorrow, what goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mobilesam import get_session
from napari_mobilesam.session.files import saving, saving_jobs
from napari_mobilesam.session.files.session_paths import saved
from napari_mobilesam.settings import Settings, load_settings, save_settings
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.prompts.prompt_saving import session_file
from napari_mobilesam.widgets.viewer.layers import is_output

from .test_everything_sorting import hold_after_first_mask
from .test_prompt_objects import FIRST, SECOND, THIRD, click, make, point_at


@pytest.fixture
def file(tmp_path, blobs):
    folder = tmp_path / 'images'
    folder.mkdir()
    tifffile.imwrite(folder / 'cells.tif', blobs)
    return folder / 'cells.tif'


@pytest.fixture
def opened(desk, file):
    """Make viewers as a person does: open the file, then the dock."""

    def make(path=file, show=False):
        d = desk(show=show)
        (d.image,) = d.viewer.open(str(path), plugin='napari')
        d.settle()
        d.viewer.reset_view()
        return d

    return make


def press_save(d):
    box = d.widget.panel.save_box
    QTest.mouseClick(
        box,
        Qt.MouseButton.LeftButton,
        pos=QPoint(8, box.height() // 2),
    )
    d.settle()


def rest(d):
    """Wait until the thread that saves has nothing to do."""
    d.session.files.rest()
    d.settle()


def drawn(d):
    """Labels layers with objects."""
    return [
        layer
        for layer in d.viewer.layers
        if is_output(layer) and layer.data.any()
    ]


def names(file):
    return sorted(p.name for p in file.parent.iterdir())


@pytest.mark.slow
def test_box_saves_beside_the_image_and_says_where(opened, file):
    d = opened(show=True)
    make(d, FIRST)
    assert names(file) == ['cells.tif']
    press_save(d)
    assert d.widget.panel.save_box.isChecked()
    assert 'cells.tif.session' in d.widget.status.text
    assert 'cells.tif.session' in d.widget.panel.save_box.toolTip()
    rest(d)
    assert names(file) == ['cells.tif', 'cells.tif.session']
    assert load_settings().autosave
    before = (file.parent / 'cells.tif.session').stat().st_size
    make(d, SECOND)
    rest(d)
    assert (file.parent / 'cells.tif.session').stat().st_size > before
    press_save(d)
    assert not load_settings().autosave
    size = (file.parent / 'cells.tif.session').stat().st_size
    make(d, THIRD)
    assert (file.parent / 'cells.tif.session').stat().st_size == size


@pytest.mark.slow
def test_nothing_is_made_before_the_first_object(opened, file):
    d = opened()
    press_save(d)
    assert [x.name for x in d.viewer.layers] == ['cells', 'preview', 'prompts']
    assert names(file) == ['cells.tif']


@pytest.mark.slow
@pytest.mark.own_viewer
def test_opening_it_tomorrow_brings_objects_and_prompts_back(opened, file):
    d = opened()
    press_save(d)
    d.widget.panel.class_box.chosen.emit('nucleus')
    labels = make(d, FIRST, SECOND).data.copy()
    # what was done last counts too, and no layer that is closed is missed
    d.viewer.close()
    again = opened()
    restored = again.viewer.layers['objects']
    assert np.array_equal(restored.data, labels)
    assert 'Restored 2 saved objects' in again.widget.status.text
    assert again.widget.panel.restore_button.isHidden()
    point_at(again, FIRST)
    again.mouse.key(Qt.Key.Key_G)
    again.settle()
    points = again.viewer.layers['prompts'].data
    assert points[0] == pytest.approx(FIRST, abs=0.5)
    assert not again.widget.panel.candidates_view.buttons[0].isHidden()
    assert again.widget.panel.class_box.name == 'nucleus'
    # and it goes on in the same file
    make(again, THIRD)
    rest(again)
    assert names(file) == ['cells.tif', 'cells.tif.session']


@pytest.mark.slow
@pytest.mark.own_viewer
def test_switched_off_it_is_offered(opened, file):
    d = opened()
    press_save(d)
    make(d, FIRST)
    press_save(d)
    d.viewer.close()
    again = opened(show=True)
    assert 'objects' not in again.viewer.layers
    button = again.widget.panel.restore_button
    assert button.isVisible()
    assert 'cells.tif.session' in button.toolTip()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    again.settle()
    assert again.viewer.layers['objects'].data[FIRST] == 1
    assert not button.isVisible()
    assert 'Restored 1 saved object' in again.widget.status.text
    # or the file would be emptied
    again.widget.trigger('undo')
    assert again.widget.status.text == 'Nothing to undo.'
    assert again.viewer.layers['objects'].data[FIRST] == 1


@pytest.mark.own_viewer
def test_without_autosave_a_copy_is_offered(opened, file):
    d = opened()
    labels = make(d, FIRST, SECOND).data.copy()
    d.viewer.close()
    assert names(file) == ['cells.tif']
    again = opened(show=True)
    button = again.widget.panel.restore_button
    assert button.isVisible()
    assert 'while Autosave was off' in button.toolTip()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    again.settle()
    assert np.array_equal(again.viewer.layers['objects'].data, labels)
    assert again.widget.status.text == 'Restored 2 saved objects.'
    assert not button.isVisible()
    # saved from now on, they have a session file
    press_save(again)
    rest(again)
    assert names(file) == ['cells.tif', 'cells.tif.session']


@pytest.mark.slow
def test_labels_deleted_by_mistake_are_offered(opened):
    d = opened(show=True)
    made = make(d, FIRST)
    make(d, SECOND)
    labels = made.data.copy()
    d.viewer.layers.remove(made)
    d.settle()
    button = d.widget.panel.restore_button
    assert button.isVisible()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    d.settle()
    assert np.array_equal(d.viewer.layers['objects'].data, labels)


@pytest.mark.slow
def test_closing_the_image_does_not_empty_the_file(opened, file):
    d = opened()
    press_save(d)
    make(d, FIRST)
    rest(d)
    d.viewer.layers.remove(d.image)
    d.settle()
    d.viewer.layers.clear()
    d.settle()
    again = opened()
    assert again.viewer.layers['objects'].data[FIRST] == 1


@pytest.mark.slow
def test_console_autosave_survives_a_viewer_that_is_closed(
    make_napari_viewer, oracle, blobs, tmp_path
):
    viewer = make_napari_viewer(show=False)
    viewer.add_image(blobs)
    session = get_session(viewer)
    session.autosave(tmp_path / 'one.session')
    session.click(*FIRST)
    session.accept()
    viewer.layers.clear()
    session.close()
    other = make_napari_viewer(show=False)
    other.add_image(blobs)
    again = get_session(other)
    again.load(tmp_path / 'one.session')
    assert len(again.scene.objects(False)) == 1
    again.close()


@pytest.mark.slow
@pytest.mark.own_viewer
def test_other_labels_have_a_file_of_their_own(opened, file):
    d = opened()
    press_save(d)
    make(d, FIRST)
    rest(d)
    other = d.viewer.add_labels(np.zeros((96, 128), np.uint16), name='mine')
    d.widget.panel.labels_combo.layer = other
    d.widget.trigger('use_points_tool')
    make(d, SECOND)
    rest(d)
    assert names(file)[1:] == ['cells.tif.2.session', 'cells.tif.session']
    d.widget.panel.labels_combo.layer = d.viewer.layers['objects']
    make(d, THIRD)
    rest(d)
    d.viewer.close()
    again = opened()
    found = again.viewer.layers
    assert [found['objects'].data[p] for p in (FIRST, SECOND, THIRD)] == [
        1,
        0,
        2,
    ]
    assert [found['mine'].data[p] for p in (FIRST, SECOND)] == [0, 1]


@pytest.mark.slow
@pytest.mark.own_viewer
def test_file_of_another_image_is_left_alone(opened, file, blobs):
    d = opened()
    press_save(d)
    make(d, FIRST)
    d.viewer.close()
    before = (file.parent / 'cells.tif.session').read_bytes()
    tifffile.imwrite(file, 255 - blobs[::-1])
    again = opened()
    assert again.widget.status.failed
    assert 'its pixels differ' in again.widget.status.text
    click(again, (5, 5))
    again.widget.trigger('accept')
    rest(again)
    assert (file.parent / 'cells.tif.session').read_bytes() == before
    assert 'cells.tif.2.session' in names(file)


def test_damaged_file_says_so_and_is_left_alone(opened, file):
    path = file.parent / 'cells.tif.session'
    path.write_bytes(b'nothing of use')
    d = opened()
    press_save(d)
    d.widget.saving.restore()
    d.settle()
    assert 'not a session file' in d.widget.status.text
    make(d, FIRST)
    rest(d)
    assert path.read_bytes() == b'nothing of use'


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_told_of_once(
    opened, file, monkeypatch
):
    d = opened()
    press_save(d)

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    pack = saving.pack
    monkeypatch.setattr(saving, 'pack', full)
    window = d.widget.main_window
    monkeypatch.setattr(
        type(window), 'closeEvent', lambda window, event: event.ignore()
    )
    told = []
    d.session.failed.connect(lambda text, whom: told.append(text))
    make(d, FIRST)
    rest(d)
    assert 'There is no space left' in d.widget.status.text
    assert '..' not in d.widget.status.text
    assert d.widget.status.failed
    make(d, SECOND)
    rest(d)
    assert len(told) == 1
    assert d.viewer.layers['objects'].data[SECOND] == 2
    assert names(file) == ['cells.tif']
    window.close()
    tasks = d.viewer.window._task_status_manager
    (lost,) = tasks.get_status()
    assert 'Objects are lost' in lost
    monkeypatch.setattr(saving, 'pack', pack)
    make(d, THIRD)
    rest(d)
    assert names(file) == ['cells.tif', 'cells.tif.session']
    assert len(told) == 1
    window.close()
    assert not tasks.get_status()


@pytest.mark.slow
@pytest.mark.own_viewer
def test_objects_of_a_read_only_disk_come_back(opened, file, monkeypatch):
    real = saving_jobs.save

    def read_only(path, *args):
        if path.parent == file.parent:
            raise OSError(errno.EROFS, 'Read-only file system', str(path))
        real(path, *args)

    monkeypatch.setattr(saving_jobs, 'save', read_only)
    d = opened()
    press_save(d)
    make(d, FIRST)
    rest(d)
    (kept,) = saved(file.parent / 'cells.tif.session')
    assert str(kept) in d.widget.status.text
    d.viewer.close()
    again = opened()
    assert again.viewer.layers['objects'].data[FIRST] == 1
    assert f'from {kept}.' in again.widget.status.text
    assert names(file) == ['cells.tif']


@pytest.mark.skipif(
    not hasattr(os, 'geteuid') or os.geteuid() == 0,
    reason='whoever is root may write everywhere',
)
def test_read_only_folder_is_told_of(opened, file):
    file.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        d = opened()
        press_save(d)
        make(d, FIRST)
        rest(d)
        assert 'instead' in d.widget.status.text
    finally:
        file.parent.chmod(stat.S_IRWXU)


@pytest.mark.slow
@pytest.mark.own_viewer
def test_image_that_is_no_file_is_known_by_its_pixels(desk, blobs, tmp_path):
    d = desk(blobs, show=False)
    press_save(d)
    make(d, FIRST)
    rest(d)
    assert len(list((tmp_path / 'sessions').iterdir())) == 1
    d.viewer.close()
    again = desk(blobs, show=False)
    assert again.viewer.layers['objects'].data[FIRST] == 1
    make(again, SECOND)
    rest(again)
    # in the same file
    assert len(list((tmp_path / 'sessions').iterdir())) == 1
    other = desk(blobs[::-1].copy() // 2, show=False)
    assert 'objects' not in other.viewer.layers


def test_stacks_with_the_same_first_plane_have_files_of_their_own(blobs):
    blank = np.zeros_like(blobs)
    images = [
        blank,
        np.stack([blank, blobs]),
        np.stack([blank, blobs, blank]),
        np.stack([blank, 255 - blobs, blank]),
    ]
    assert len({session_file(Image(image)) for image in images}) == 4


def test_no_place_to_save_says_so(desk, blobs):
    da = pytest.importorskip('dask.array')
    d = desk(da.from_array(blobs), show=False)
    press_save(d)
    assert 'nothing can be saved' in d.widget.status.text
    make(d, FIRST)
    assert not d.session.files.saves(d.session.scene.objects(False))


@pytest.mark.slow
def test_dock_that_is_closed_and_opened_goes_on(opened, file):
    d = opened()
    press_save(d)
    make(d, FIRST)
    d.viewer.window.remove_dock_widget(d.dock)
    for _ in range(5):
        QApplication.processEvents()
    d.widget = open_form(d.viewer, 'prompts')
    d.settle()
    assert len([x for x in d.viewer.layers if x.name == 'objects']) == 1
    d.widget.trigger('use_points_tool')
    make(d, SECOND)
    rest(d)
    assert names(file) == ['cells.tif', 'cells.tif.session']


@pytest.mark.slow
def test_commit_is_not_held_up_by_saving(opened, file, monkeypatch):
    d = opened()
    press_save(d)
    go, saves = threading.Event(), []

    def wait(*args):
        assert go.wait(20)
        saves.append(1)

    monkeypatch.setattr(
        'napari_mobilesam.session.files.saving_jobs.save', wait
    )
    labels = make(d, FIRST, SECOND, THIRD)
    assert labels.data[THIRD] == 3
    assert not saves
    go.set()
    rest(d)
    # what came while it saved is saved at once
    assert len(saves) <= 2


@pytest.mark.slow
@pytest.mark.own_viewer
def test_what_was_painted_by_hand_comes_back(opened, file):
    d = opened()
    press_save(d)
    labels = make(d, FIRST)
    labels.selected_label = 7
    labels.brush_size = 5
    labels.paint((60, 60), 7)
    labels.paint(FIRST, 0)
    rest(d)
    painted = labels.data.copy()
    assert (painted == 7).any()
    # a stroke that napari takes back
    rest(d)
    labels.paint((90, 20), 5)
    rest(d)
    labels.undo()
    d.viewer.close()
    again = opened()
    again.settle()
    assert np.array_equal(again.viewer.layers['objects'].data, painted)


@pytest.mark.slow
def test_labels_that_are_not_chosen_are_saved(opened, file):
    d = opened()
    press_save(d)
    first = make(d, FIRST)
    second = d.viewer.add_labels(np.zeros_like(first.data), name='mine')
    d.widget.panel.labels_combo.layer = second
    d.widget.trigger('use_points_tool')
    make(d, SECOND)
    rest(d)
    first.brush_size = 5
    first.paint((60, 60), 7)
    d.widget.panel.labels_combo.layer = first
    second.paint((60, 60), 9)
    rest(d)
    expected = [first.data.copy(), second.data.copy()]
    d.viewer.close()
    again = opened()
    again.settle()
    found = [again.viewer.layers[name].data for name in ('objects', 'mine')]
    assert (found[0] == 7).any()
    assert (found[1] == 9).any()
    assert np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.own_viewer
@pytest.mark.parametrize('prompts', [True, False])
def test_a_run_is_saved_though_an_object_is_open(
    desk, opened, file, prompts, settle
):
    if prompts:
        d = opened()
        press_save(d)
        make(d, FIRST)
        click(d, SECOND)
        assert not d.session.editor.record.empty
    else:
        # switched on another day
        save_settings(Settings(autosave=True))
        d = desk(widget='Segment everything')
        (d.image,) = d.viewer.open(str(file), plugin='napari')
        d.settle()
    everything = open_form(d.viewer, 'everything')
    everything.panel.form.controls['points_per_side'].value = 8
    everything.panel.form.controls['whole_image'].value = True
    everything.panel.run_button.click()
    settle(d.session, everything)
    labels = drawn(d)[-1]
    rest(d)
    assert len(names(file)) == 2 + prompts
    expected = labels.data.copy()
    d.viewer.close()
    again = opened()
    again.settle()
    assert np.array_equal(again.viewer.layers[labels.name].data, expected)


@pytest.mark.own_viewer
def test_what_a_run_has_found_is_saved_when_the_dock_is_closed(
    opened, file, oracle
):
    d = opened()
    press_save(d)
    everything = open_form(d.viewer, 'everything')
    for name, value in (('points_per_side', 10), ('batch_size', 1)):
        everything.panel.form.controls[name].value = value
    everything.panel.form.controls['whole_image'].value = True
    stuck = hold_after_first_mask(oracle)
    everything.panel.run_button.click()
    assert stuck.wait(20)
    threading.Timer(0.3, oracle.go.set).start()
    d.viewer.window.remove_dock_widget(d.dock)
    QApplication.processEvents()
    assert names(file) == ['cells.tif', 'cells.tif.session']
    (found,) = drawn(d)
    expected = found.data.copy()
    d.viewer.close()
    again = opened()
    again.settle()
    (labels,) = drawn(again)
    assert np.array_equal(labels.data, expected)


@pytest.mark.parametrize(
    'kind', ['accepted', pytest.param('batch', marks=pytest.mark.slow)]
)
def test_objects_on_their_way_are_saved_when_the_window_is_closed(
    opened, file, oracle, monkeypatch, kind
):
    d = opened()
    press_save(d)
    oracle.go.clear()
    if kind == 'accepted':
        d.mouse.click(d.image, FIRST)
        d.widget.runs.accept()
        expected = (
            'MobileSAM: 1 accepted object to be written, lost if that takes '
            'longer than 10 s'
        )
    else:
        points = d.viewer.add_points([FIRST])
        d.viewer.layers.selection.active = points
        d.widget.panel.buttons['run_batch'].click()
        expected = 'MobileSAM: Objects are being segmented'
    window = d.widget.main_window
    monkeypatch.setattr(
        type(window), 'closeEvent', lambda window, event: event.ignore()
    )
    window.close()
    tasks = d.viewer.window._task_status_manager
    assert tasks.get_status() == [expected]
    threading.Timer(0.3, oracle.go.set).start()
    # as napari does when the user closes it anyway
    tasks.cancel_all()
    (labels,) = drawn(d)
    assert labels.data[FIRST]
    assert names(file) == ['cells.tif', 'cells.tif.session']
    d.settle()
    window.close()
    assert not tasks.get_status()


@pytest.mark.slow
def test_names_of_files_yet_to_be_written_are_taken(opened, file, monkeypatch):
    d = opened()
    press_save(d)
    go = threading.Event()
    real = saving_jobs.save

    def slow(*args):
        go.wait(20)
        real(*args)

    monkeypatch.setattr(saving_jobs, 'save', slow)
    first = make(d, FIRST)
    second = d.viewer.add_labels(np.zeros_like(first.data), name='mine')
    d.widget.panel.labels_combo.layer = second
    d.widget.trigger('use_points_tool')
    make(d, SECOND)
    assert names(file) == ['cells.tif']
    go.set()
    rest(d)
    assert names(file)[1:] == ['cells.tif.2.session', 'cells.tif.session']
    assert not d.widget.status.failed


@pytest.mark.slow
def test_one_file_opened_twice_has_two_sessions(opened, file):
    d = opened()
    press_save(d)
    make(d, FIRST)
    (other,) = d.viewer.open(str(file), plugin='napari')
    d.widget.header.image_combo.layer = other
    d.settle()
    for image, position in ((other, SECOND), (d.image, THIRD)):
        d.widget.header.image_combo.layer = image
        d.settle()
        click(d, position)
        d.widget.trigger('accept')
    rest(d)
    # what is open is not restored as well
    assert [
        [p for p in (FIRST, SECOND, THIRD) if x.data[p]] for x in drawn(d)
    ] == [
        [FIRST, THIRD],
        [SECOND],
    ]
    assert not d.widget.status.failed
    assert names(file) == [
        'cells.tif',
        'cells.tif.2.session',
        'cells.tif.session',
    ]


@pytest.mark.slow
def test_channels_get_back_their_own_objects(desk, tmp_path, blobs):
    path = tmp_path / 'cells.tif'
    channels = np.stack([blobs, blobs // 2])
    tifffile.imwrite(path, channels, photometric='minisblack')
    d = desk()
    press_save(d)

    def open_channels():
        found = d.viewer.open(str(path), plugin='napari', channel_axis=0)
        for layer in found:
            d.widget.header.image_combo.layer = layer
            d.settle()
        return found

    for layer, position in zip(open_channels(), (FIRST, SECOND), strict=True):
        d.image = layer
        d.widget.header.image_combo.layer = layer
        d.settle()
        d.viewer.reset_view()
        click(d, position)
        d.widget.trigger('accept')
    rest(d)
    for _ in range(2):
        d.viewer.layers.clear()
        d.settle()
        images = open_channels()
        rest(d)
        found = {
            d.session.scene.labels_of(image).data[point]
            for image, point in zip(images, (FIRST, SECOND), strict=True)
        }
        assert found == {1}
        assert len(drawn(d)) == 2
        assert len(list(tmp_path.glob('cells.tif*.session'))) == 2


def test_other_failures_do_not_end_the_reading_of_a_file(
    opened, file, monkeypatch
):
    d = opened()
    press_save(d)
    make(d, FIRST)
    rest(d)
    d.viewer.layers.clear()
    d.settle()
    saved = file.with_name('cells.tif.session')
    shutil.copy(saved, file.with_name('cells.tif.2.session'))
    read = saving_jobs.read

    def read_meanwhile(path):
        d.session.files.tell('The disk is full.')
        return read(path)

    monkeypatch.setattr(saving_jobs, 'read', read_meanwhile)
    d.viewer.open(str(file), plugin='napari')
    d.settle()
    assert len(drawn(d)) == 2


def test_channels_that_were_colours_are_chosen_again(opened, file, blobs):
    tifffile.imwrite(file, np.stack([blobs] * 3), photometric='minisblack')
    d = opened()
    press_save(d)
    d.session.scene.channel_axis = 0
    d.settle()
    labels = make(d, FIRST).data.copy()
    rest(d)
    d.viewer.layers.clear()
    d.settle()
    (d.image,) = d.viewer.open(str(file), plugin='napari')
    d.settle()
    rest(d)
    d.settle()
    (restored,) = drawn(d)
    assert np.array_equal(restored.data, labels)
    assert d.widget.header.channel_combo.axis == 0


@pytest.mark.slow
@pytest.mark.own_viewer
def test_restored_layers_are_counted_and_a_hash_is_not_named(desk, blobs):
    d = desk(blobs)
    press_save(d)
    make(d, FIRST, SECOND)
    d.widget.panel.labels_combo.layer = d.viewer.add_labels(
        np.zeros(blobs.shape, np.uint16), name='others'
    )
    d.widget.trigger('use_points_tool')
    make(d, THIRD)
    rest(d)
    d.viewer.close()
    again = desk(blobs)
    assert again.widget.status.text == (
        'Restored 3 saved objects in 2 labels layers.'
    )
