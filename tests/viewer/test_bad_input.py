"""Impossible requests end in one sentence and change no data."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from napari.layers._layer_actions import _merge_stack, _split_stack

from napari_mobilesam.types import CheckpointError

INSIDE = (28, 32)


def add_prompt(d, position=INSIDE):
    d.viewer.layers['prompts'].add(position)
    d.settle()


def test_no_image(desk):
    d = desk()
    assert 'Open or choose an image' in d.widget.status.text
    d.widget.trigger('accept')
    d.widget.trigger('reject')
    d.widget.trigger('undo')
    d.widget.panel.buttons['use_points_tool'].click()
    d.widget.panel.buttons['use_boxes_tool'].click()
    assert len(d.viewer.layers) == 0


@pytest.mark.slow
def test_image_dropped_after_the_dock_was_opened(desk, blobs):
    d = desk()
    image = d.viewer.add_image(blobs)
    d.settle()
    d.mouse.click(image, INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
def test_commit_without_prompts(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('accept')
    assert 'No prompt' in d.widget.status.text
    assert 'objects' not in d.viewer.layers


def test_prompt_outside_the_image(desk, blobs):
    d = desk(blobs)
    add_prompt(d, (-20, 10))
    assert 'outside the image' in d.widget.status.text
    d.widget.trigger('accept')
    assert 'outside the image' in d.widget.status.text
    assert 'objects' not in d.viewer.layers


@pytest.mark.slow
def test_only_negative_points(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('flip_polarity')
    add_prompt(d)
    assert 'negative' in d.widget.status.text


@pytest.mark.slow
def test_box_without_area(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.viewer.layers['shapes'].add_rectangles([[-30, -30], [-10, -10]])
    d.settle()
    assert 'no area' in d.widget.status.text


def test_background_click(desk, blobs):
    d = desk(blobs)
    add_prompt(d, (2, 2))
    assert 'nothing here' in d.widget.status.text
    d.widget.trigger('accept')
    assert 'nothing here' in d.widget.status.text
    assert 'objects' not in d.viewer.layers


@pytest.mark.slow
def test_full_uint8_labels(desk, blobs):
    d = desk(blobs)
    data = np.zeros(blobs.shape, np.uint8)
    data[0, 0] = 255
    own = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = own
    add_prompt(d)
    d.widget.trigger('accept')
    assert 'is full' in d.widget.status.text
    assert np.count_nonzero(own.data) == 1
    # the prompts stay, so that another layer can be chosen
    assert len(d.viewer.layers['prompts'].data) == 1


@pytest.mark.slow
def test_pyramid_labels(desk, blobs):
    d = desk(blobs)
    levels = [np.zeros((96, 128), int), np.zeros((48, 64), int)]
    own = d.viewer.add_labels(levels, multiscale=True, name='own')
    d.widget.panel.labels_combo.layer = own
    add_prompt(d)
    d.widget.trigger('accept')
    assert 'pyramid' in d.widget.status.text
    assert not levels[0].any()


def test_read_only_labels(desk, blobs):
    d = desk(blobs)
    data = np.zeros(blobs.shape, int)
    data.flags.writeable = False
    d.widget.panel.labels_combo.layer = d.viewer.add_labels(data, name='own')
    add_prompt(d)
    d.widget.trigger('accept')
    assert 'read-only' in d.widget.status.text


def test_nan_image(desk, blobs):
    image = np.full(blobs.shape, np.nan, np.float32)
    d = desk(image, contrast_limits=(0, 1))
    add_prompt(d)
    assert 'NaN' in d.widget.status.text or 'finite' in d.widget.status.text
    assert 'objects' not in d.viewer.layers


@pytest.mark.filterwarnings('error:.*NaN or infinite')
def test_some_nan_pixels_do_no_harm_and_are_told_of_once(desk, blobs):
    image = blobs.astype(np.float32)
    image[:8] = np.nan
    image[-4:] = np.inf
    d = desk(image, contrast_limits=(0, 255))
    sentence = f'{12 * 128:,} pixels near here are NaN or infinite'
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert sentence in d.widget.status.text
    assert 'score' in d.widget.status.text
    assert not d.widget.status.failed
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[INSIDE] == 1
    d.mouse.click(d.image, (68, 92))
    d.settle()
    assert 'score' in d.widget.status.text
    assert 'NaN' not in d.widget.status.text
    d.widget.trigger('reject')
    # of another image it is said again, of one without them never
    for data, said in ((image[:, ::-1].copy(), True), (blobs, False)):
        d.widget.header.image_combo.layer = d.viewer.add_image(
            data, contrast_limits=(0, 255)
        )
        d.settle()
        d.widget.trigger('use_points_tool')
        d.mouse.click(d.viewer.layers['prompts'], (68, 92))
        d.settle()
        assert ('NaN' in d.widget.status.text) == said
        d.widget.trigger('reject')


@pytest.mark.slow
def test_status_tells_how_long_the_first_answer_took(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert ' ms.' in d.widget.status.text or ' s.' in d.widget.status.text


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(1, 1), (1, 50), (50, 1)])
def test_tiny_images(desk, shape):
    d = desk(np.zeros(shape, np.uint8))
    add_prompt(d, (0, 0))
    d.widget.trigger('accept')
    assert 'nothing here' in d.widget.status.text


@pytest.mark.slow
def test_image_removed_while_embedding(desk, blobs, oracle):
    d = desk(blobs)
    oracle.go.clear()
    d.session.clear_cache()
    d.mouse.click(d.image, INSIDE)
    d.widget.object.update()
    d.viewer.layers.remove(d.image)
    oracle.go.set()
    d.settle()
    assert 'was removed' in d.widget.status.text
    assert 'objects' not in d.viewer.layers


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['merge', 'split'])
def test_what_napari_merges_or_splits_takes_the_open_object_along(
    desk, blobs, kind
):
    merges = kind == 'merge'
    d = desk(*[blobs] * 2) if merges else desk(np.stack([blobs] * 3))
    add_prompt(d, INSIDE if merges else (1, *INSIDE))
    layers = d.viewer.layers
    layers.selection = {x for x in layers if isinstance(x, Image)}
    (_merge_stack if merges else _split_stack)(layers)
    d.settle()
    assert 'was removed, and its open object' in d.widget.status.text
    assert 'click an object' in d.widget.status.text
    add_prompt(d, (0, *INSIDE) if merges else INSIDE)
    assert d.widget.status.text.startswith('576 pixels')


@pytest.mark.slow
def test_prompts_stay_on_an_image_that_gets_more_axes(desk, blobs):
    d = desk(blobs)
    add_prompt(d)
    d.image.data = np.stack([blobs] * 3)
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[(0, *INSIDE)] == 1


def test_nothing_is_said_of_the_embedding_of_a_removed_image(desk, blobs):
    d = desk(blobs)
    plane = d.session.scene.plane()
    d.viewer.layers.remove(d.image)
    d.settle()
    # it waited behind other work
    d.session.status.emit('Embedding image …', 'prompts')
    d.session.ready.emit(plane)
    d.settle()
    assert '“image” was removed' in d.widget.status.text
    assert d.widget.status.bar.isHidden()


@pytest.mark.slow
def test_labels_removed_before_commit(desk, blobs):
    d = desk(blobs)
    add_prompt(d)
    d.widget.trigger('accept')
    add_prompt(d, (28, 92))
    d.viewer.layers.remove('objects')
    assert 'was removed' in d.widget.status.text
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[28, 92] == 1


@pytest.mark.slow
def test_prompts_layer_removed(desk, blobs):
    d = desk(blobs, show=False)
    add_prompt(d)
    d.viewer.layers.remove('prompts')
    d.settle()
    assert 'was removed' in d.widget.status.text
    assert not d.widget.preview.visible
    d.widget.panel.buttons['use_points_tool'].click()
    assert d.viewer.layers['prompts'].mode == 'add'


@pytest.mark.slow
def test_preview_removed_comes_back(desk, blobs):
    d = desk(blobs)
    add_prompt(d)
    d.viewer.layers.remove(d.widget.preview.layer)
    d.settle()
    assert d.widget.preview.visible


@pytest.mark.slow
def test_model_that_cannot_be_loaded(desk, blobs, monkeypatch):
    d = desk(blobs)

    def broken(name):
        raise CheckpointError(f'{name} is damaged: download it again.')

    monkeypatch.setattr(d.session._engine, '_load_model', broken)
    d.session.use_model('other')
    d.settle()
    assert 'other is damaged' in d.widget.status.text
    add_prompt(d)
    assert 'other is damaged' in d.widget.status.text
