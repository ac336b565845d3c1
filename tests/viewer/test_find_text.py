"""Find by text in a real window, with stand-ins for the detector."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_mobilesam.segmentation import box_detectors
from napari_mobilesam.widgets.everything import text_control

CENTRES = [(28, 32), (28, 92), (68, 32), (68, 92)]


class StandIn:
    """Boxes around two of the four squares; some texts fail."""

    def boxes(self, image, text):
        if text == 'crash':
            raise RuntimeError('no such layer')
        if text == 'exit':
            raise SystemExit(3)
        if text == 'outside':
            return [[200, 200, 300, 300]], [0.9]
        if text == 'rubbish':
            return 'boxes'
        if text == 'nothing':
            return [], []
        return [[14, 18, 42, 46], [54, 78, 82, 106]], [0.9, 0.5]


class Point:
    name, value = 'mine', 'tests:StandIn'

    def load(self):
        return StandIn


@pytest.fixture
def d(everything_desk, blobs, monkeypatch, tmp_path):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    monkeypatch.setattr(box_detectors, 'entry_points', lambda group: [Point()])
    made = everything_desk(blobs)
    made.panel = made.widget.panel
    made.panel.words_group.fold(False)
    return made


def find(d, text, detector='mine'):
    words = d.panel.words
    words.detector_combo.setCurrentText(detector)
    words.text_edit.setText(text)
    words.button.click()
    d.settle()


@pytest.mark.slow
def test_what_the_text_names_is_reviewed(d):
    find(d, 'bright squares')
    labels = d.viewer.layers['image objects']
    assert [labels.data[at] > 0 for at in CENTRES] == [
        *(True, False, False, True)
    ]
    assert '2 objects' in d.widget.status.text
    filters = d.panel.filters
    assert not filters.similarity.isHidden()
    filters.similarity.setValue(0.8)
    d.settle()
    assert [labels.data[at] > 0 for at in CENTRES] == [
        *(True, False, False, False)
    ]
    d.panel.review.undo_button.click()
    d.settle()
    assert len(np.unique(labels.data)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ('text', 'message'),
    [
        # those of `test_failures_are_one_sentence_and_lose_nothing`
        pytest.param('crash', 'StandIn has failed', marks=pytest.mark.slow),
        pytest.param('rubbish', 'it has to return', marks=pytest.mark.slow),
        ('exit', 'StandIn has failed'),
        ('outside', 'none covers a pixel'),
        ('nothing', '“nothing” was not found'),
        ('', 'text is empty'),
    ],
)
def test_failures_are_said(d, text, message):
    count = len(d.viewer.layers)
    find(d, text)
    assert message in d.widget.status.text
    assert len(d.viewer.layers) == count
    assert d.panel.words.button.isEnabled()
    assert d.panel.run_button.isEnabled()
    # the window goes on
    find(d, 'bright squares')
    assert '2 objects' in d.widget.status.text


def test_weights_are_downloaded_on_request(d, monkeypatch):
    asked, fetched = [], []
    monkeypatch.setattr(QMessageBox, 'open', lambda box: asked.append(box))

    def retrieve(url, known_hash, fname, path, downloader):
        fetched.append(url)
        (path / fname).write_text('x')

    monkeypatch.setattr('pooch.retrieve', retrieve)
    monkeypatch.setattr(text_control, 'installed', lambda module: True)
    words = d.panel.words
    find(d, 'coin', 'clipseg')
    assert fetched == []
    (box,) = asked
    for part in ('MB', 'Apache-2.0', 'not on microscopy', 'huggingface.co'):
        assert part in box.text()
    assert 'not on microscopy' in words.note.text()
    assert words.button.text().startswith('Download')
    agree = next(b for b in box.buttons() if b.text() == 'Download')
    agree.click()
    d.settle()
    assert len(fetched) == 5
    assert 'is downloaded' in d.widget.status.text
    assert words.button.text().startswith('Find')
    box.deleteLater()


def test_nothing_is_downloaded_for_a_library_that_is_missing(d, monkeypatch):
    asked = []
    monkeypatch.setattr(QMessageBox, 'open', lambda box: asked.append(box))
    monkeypatch.setattr(text_control, 'installed', lambda module: False)
    find(d, 'coin', 'clipseg')
    assert asked == []
    assert 'napari-mobilesam[text]' in d.widget.status.text
    find(d, 'bright squares')
    assert '2 objects' in d.widget.status.text
