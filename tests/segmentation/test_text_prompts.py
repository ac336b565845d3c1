"""Text to masks, with a stand-in for the detector and an oracle as model."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from viewer.oracle import OracleSam

import napari_mobilesam as nm
from napari_mobilesam.model import text_detectors
from napari_mobilesam.model.text_detectors import (
    RECORDS,
    DetectorError,
    load_downloaded,
)
from napari_mobilesam.segmentation import box_detectors
from napari_mobilesam.segmentation.box_detectors import (
    boxes_of_text,
    detector_names,
    load_detector,
)
from napari_mobilesam.types import PromptError, SegmentationError

BOXES = [[14, 18, 42, 46], [54, 70, 82, 106]]


class StandIn:
    """Answers every text with the same boxes."""

    def __init__(self, boxes=BOXES, scores=(0.9, 0.4)):
        self.answer = boxes, scores
        self.asked = []

    def boxes(self, image, text):
        self.asked.append((image.shape, image.dtype, text))
        if isinstance(self.answer[0], BaseException):
            raise self.answer[0]
        return self.answer


@pytest.fixture(scope='module')
def image():
    image = np.full((96, 128), 10, np.uint8)
    image[16:40, 20:44] = 200
    image[56:80, 72:104] = 200
    return image


def segment(image, detector, text='cell', **options):
    return nm.segment_text(
        image, OracleSam(), text, detector=detector, **options
    )


def test_boxes_become_masks(image):
    detector = StandIn()
    labels, table = segment(image, detector, 'bright cell')
    assert detector.asked == [((96, 128, 3), np.uint8, 'bright cell')]
    assert {labels[28, 32], labels[68, 88]} == {1, 2}
    assert table['similarity'].tolist() == [0.9, 0.4]
    assert np.count_nonzero((labels > 0) != (image > 100)) < 80
    few, _ = segment(image, detector, score=0.5)
    assert few[28, 32] == 1
    assert few[68, 88] == 0


def test_region_and_skip_hold(image):
    left, _ = segment(image, StandIn(), region=(0, 0, 96, 60))
    assert left[28, 32] == 1
    assert left[68, 88] == 0
    skip = np.zeros(image.shape, bool)
    skip[:, :60] = True
    right, _ = segment(image, StandIn(), skip=skip)
    assert right[28, 32] == 0
    assert right[68, 88] == 1


def test_a_text_that_finds_nothing_gives_no_labels(image):
    for empty in (StandIn([], []), StandIn(np.zeros((0, 4)), np.zeros(0))):
        labels, table = segment(image, empty)
        assert not labels.any()
        assert len(table) == 0
        assert 'similarity' in table


def test_boxes_are_cut_to_the_image(image):
    detector = StandIn(
        [[-5, -9, 50, 400], [200, 200, 300, 300], [10, 10, 10, 40]],
        [0.2, 0.9, 0.8],
    )
    rgb = np.stack([image] * 3, -1)
    boxes, scores = boxes_of_text(detector, rgb, 'x')
    assert boxes.tolist() == [[0, 0, 50, 128]]
    assert scores.tolist() == [0.2]


@pytest.mark.parametrize(
    ('detector', 'message'),
    [
        (
            StandIn(RuntimeError('no such layer')),
            'has failed: .*no such layer',
        ),
        (StandIn([[1, 2, 3]], [0.5]), r'boxes of shape \(1, 3\)'),
        (StandIn(BOXES, [0.5]), r'scores of shape \(1,\)'),
        (StandIn('boxes', 'scores'), 'it has to return'),
        (StandIn([[0, 0, np.nan, 5]], [0.5]), 'not finite'),
        (
            StandIn([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.7, 0.7]], [0.5, 0.4]),
            r'2 boxes such as \(0.1, 0.2, 0.3, 0.4\), and none covers a pixel',
        ),
        (StandIn([[400, 400, 500, 500]], [0.5]), '1 box such as'),
        (StandIn(SystemExit(3)), 'has failed: Unexpected SystemExit: 3'),
        (object(), 'not a detector'),
        ('nonsense', 'There is no detector'),
    ],
)
def test_bad_detectors_are_one_sentence(image, detector, message):
    with pytest.raises(DetectorError, match=message) as caught:
        segment(image, detector)
    assert '\n' not in str(caught.value)


class NoPair:
    """Returns something else than boxes and scores."""

    def boxes(self, image, text):
        return 5


def test_a_detector_can_be_interrupted(image):
    with pytest.raises(KeyboardInterrupt):
        segment(image, StandIn(KeyboardInterrupt()))


def test_rubbish_and_empty_text_are_refused(image):
    with pytest.raises(DetectorError, match='returns 5'):
        segment(image, NoPair())
    for text, words in (('', 'is empty'), ('  ', 'is empty'), (5, 'is 5')):
        with pytest.raises(PromptError, match=words):
            segment(image, StandIn(), text)
        with pytest.raises(PromptError, match=words):
            segment(image, 'clipseg', text)
    with pytest.raises(SegmentationError, match='score'):
        segment(image, StandIn(), score=2)


def test_cancelling_keeps_what_was_found(image):
    labels, table = segment(image, StandIn(), cancelled=lambda: True)
    assert not labels.any()
    assert len(table) == 0


def test_detectors_of_other_packages_have_entry_points(image, monkeypatch):
    here = EntryPoint('mine', f'{__name__}:StandIn', box_detectors.GROUP)
    broken = EntryPoint('broken', 'no_such_package:Thing', here.group)
    wrong = EntryPoint('wrong', 'builtins:object', here.group)
    monkeypatch.setattr(
        box_detectors,
        'entry_points',
        lambda group: [here, broken, wrong] if group == here.group else [],
    )
    assert detector_names() == [*RECORDS, 'broken', 'mine', 'wrong']
    labels, _ = segment(image, 'mine')
    assert labels.any()
    with pytest.raises(DetectorError, match='broken.*cannot be loaded'):
        load_detector('broken')
    with pytest.raises(DetectorError, match='not a detector'):
        load_detector('wrong')


def test_detectors_run_on_the_device_of_the_model(image, monkeypatch):
    loaded = []

    def load(*given):
        loaded.append(given)
        return StandIn()

    monkeypatch.setattr(box_detectors, 'load_downloaded', load)
    monkeypatch.setattr(OracleSam, 'device', torch.device('cpu', 0))
    segment(image, 'clipseg')
    assert loaded == [('clipseg', 'cpu:0')]


def test_weights_are_not_downloaded_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    monkeypatch.setitem(
        __import__('sys').modules, 'transformers', __import__('types')
    )
    for name, record in RECORDS.items():
        assert not record.here
        with pytest.raises(DetectorError, match=f'download {name}') as caught:
            load_downloaded(name)
        assert 'Apache-2.0' in str(caught.value)
        assert 'MB' in str(caught.value)
        assert 'not on microscopy' in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(__import__('sys').modules, 'transformers', None)
    with pytest.raises(ImportError, match=r'napari-mobilesam\[text\]'):
        load_downloaded(name)


def test_full_memory_is_no_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    monkeypatch.setattr(text_detectors, 'need', lambda *names: None)
    record = RECORDS['clipseg']
    record.folder.mkdir(parents=True)
    for name in record.files:
        (record.folder / name).touch()

    def load(*given):
        raise RuntimeError('MPS backend out of memory')

    monkeypatch.setattr(text_detectors, '_loaded', load)
    with pytest.raises(RuntimeError, match='^MPS backend out of memory$'):
        load_downloaded('clipseg')


def test_download_fetches_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    fetched = []

    def retrieve(url, known_hash, fname, path, downloader):
        fetched.append(url)
        (path / fname).write_text('x')

    monkeypatch.setattr('pooch.retrieve', retrieve)
    folder = nm.download_detector('clipseg')
    assert RECORDS['clipseg'].here
    assert folder.parent.parent == tmp_path
    assert all(
        url.startswith('https://huggingface.co/CIDAS/') for url in fetched
    )
    count = len(fetched)
    nm.download_detector('clipseg')
    assert len(fetched) == count
    (folder / 'vocab.json').unlink()

    def fail(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr('pooch.retrieve', fail)
    with pytest.raises(DetectorError, match='no network'):
        nm.download_detector('clipseg')
    with pytest.raises(DetectorError, match='no detector named'):
        nm.download_detector('yolo')
