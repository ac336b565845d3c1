"""“Segment everything” on images that do not fit in memory."""

from __future__ import annotations

import errno
import re
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from napari.layers import Labels
from qtpy.QtCore import QEvent, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox
from segmentation.oracle import Oracle

from napari_mobilesam.large import large_estimate, large_plan
from napari_mobilesam.large.image_view import ImageView
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.large.run_state import run_state
from napari_mobilesam.session import session as controller
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.everything.large_panel import LIVE_NAME
from napari_mobilesam.widgets.everything.where_form import DRAWN, PLANE, VIEW
from napari_mobilesam.widgets.viewer import large_source

EVERYTHING = 'Segment everything'
STEP = 64
SIDE = 24


def squares(rows, columns):
    """One bright square in each cell of a grid."""
    cell = np.zeros((STEP, STEP), np.uint8)
    cell[20 : 20 + SIDE, 20 : 20 + SIDE] = 255
    return np.tile(cell, (rows, columns))


@pytest.fixture
def pyramid(tmp_path):
    """Levels of 6 x 8 squares as zarr arrays."""
    group = zarr.create_group(str(tmp_path / 'slide.zarr'))
    levels = []
    for step in (1, 2, 4):
        image = squares(6, 8)[::step, ::step]
        array = group.create_array(
            str(step), shape=image.shape, chunks=(128, 128), dtype=image.dtype
        )
        array[:] = image
        levels.append(array)
    return levels


@pytest.fixture
def large(oracle, monkeypatch):
    """Images of these tests are large, for a model that sees a part."""
    model = Oracle(128, best=24)
    monkeypatch.setattr(controller, 'load_by_name', lambda name: model)
    monkeypatch.setattr(large_source, 'MOST_LAZY_PIXELS', 1000)
    # so that only tiles are read during a run
    monkeypatch.setattr(large_estimate, 'BLOCKS_READ', 0)


@pytest.fixture
def open_large(desk, large, tmp_path):
    """Open images with the widget, labels going to a new folder."""

    def open_desk(*images, **options):
        d = desk(*images, widget=EVERYTHING, **options)
        d.widget.panel.large.output = tmp_path / 'out.ome.zarr'
        # a grid of equal squares looks to it like its background
        d.widget.panel.form.controls['adaptive'].value = False
        d.widget.panel.form.controls['diameter'].check.value = False
        d.widget.panel.form.controls['diameter'].value = SIDE
        return d

    return open_desk


def test_layers_cannot_be_composed_in_a_large_run(open_large, pyramid):
    d = open_large(pyramid, pyramid, multiscale=True)
    channels = d.widget.header.channel_combo
    channels.setCurrentIndex(1)
    channels.activated.emit(1)
    d.settle()
    assert '“this layer only”' in d.widget.panel.estimate_label.text()
    d.widget.panel.run_button.click()
    assert '“this layer only”' in d.widget.status.text


@pytest.mark.parametrize(
    'region', [pytest.param(PLANE, marks=pytest.mark.slow), DRAWN]
)
def test_tools_that_read_a_plane_at_once_refuse_a_slide(
    open_large, pyramid, monkeypatch, region
):
    monkeypatch.setattr(large_source, 'MOST_PIXELS', 1000)
    d = open_large(pyramid, multiscale=True)
    where, more = d.widget.panel.where, d.widget.panel.more
    box = d.viewer.add_shapes(np.array([[0, 0], [90, 90]]), name='box')
    where.use_drawn(box)
    where.region_combo.setCurrentText(region)
    d.viewer.add_labels(np.zeros((9, 9), np.uint8), name='examples')
    d.settle()
    more.shapes_combo.layer = box
    for start in (
        more.edges_button.click,
        more.proposals_button.click,
        more.boxes_button.click,
        d.widget.panel.similar.button.click,
    ):
        d.widget.status.say('')
        start()
        assert 'too large to be read at once' in d.widget.status.text
    plane = d.widget.header.plane
    with pytest.raises(ImageError, match='too large'):
        d.widget.runs.find_text(plane, None)


def finest(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def labels_of(d):
    return [layer for layer in d.viewer.layers if isinstance(layer, Labels)]


def assert_squares(labels, image):
    """Each square has a label of its own, and nothing else has one."""
    assert np.count_nonzero(labels[image < 100]) < 0.05 * labels.size
    found = {
        int(labels[row, column])
        for row in range(32, image.shape[0], STEP)
        for column in range(32, image.shape[1], STEP)
    }
    assert 0 not in found
    assert len(found) == image.size // STEP**2 == labels.max()


@pytest.mark.slow
@pytest.mark.window
def test_pyramid_becomes_labels_where_it_lies(open_large, pyramid, tmp_path):
    d = open_large(pyramid, multiscale=True, scale=(2, 3), translate=(5, 7))
    assert d.widget.panel.large.isVisible()
    assert not d.widget.panel.result_group.isVisible()
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    assert layer.name == 'out'
    assert_squares(finest(layer), squares(6, 8))
    np.testing.assert_allclose(
        layer.data_to_world((3, 4)), d.image.data_to_world((3, 4))
    )
    assert '48 objects in' in d.widget.status.text
    features = layer.features.set_index('index')
    assert features.loc[1, 'area'] == np.count_nonzero(finest(layer) == 1)
    assert not records_folder(tmp_path / 'out.ome.zarr').exists()
    assert 'labels are finished' in d.widget.panel.large.state_label.text()


@pytest.mark.slow
def test_what_is_found_is_seen_meanwhile(
    open_large, pyramid, monkeypatch, qtbot
):
    d = open_large(pyramid, multiscale=True)
    seen = []
    began = d.session.large.began
    began.connect(lambda levels: seen.append(levels))
    d.session.large.changed.connect(
        lambda: seen.append(np.count_nonzero(seen[0][0][:]))
    )
    names = []
    d.viewer.layers.events.inserted.connect(
        lambda event: names.append(event.value.name)
    )
    d.widget.panel.run_button.click()
    d.settle()
    assert names == [LIVE_NAME, 'out']
    painted = seen[1:]
    assert painted == sorted(painted)
    assert painted[-1] >= 48 * SIDE**2 * 0.8


def test_cancel_keeps_tiles_and_run_goes_on(
    open_large, pyramid, monkeypatch, tmp_path
):
    d = open_large(pyramid, multiscale=True)
    show = ImageView.rgb
    shown = []

    def rgb(self, plane, window, shrink=1):
        shown.append(window)
        if len(shown) == 2:
            d.session.large.cancel()
        return show(self, plane, window, shrink)

    monkeypatch.setattr(ImageView, 'rgb', rgb)
    d.widget.panel.run_button.click()
    d.settle()
    assert 'Stopped at' in d.widget.status.text
    large = d.widget.panel.large
    assert large.state_label.text().startswith('Unfinished: ')
    kept = list(records_folder(tmp_path / 'out.ome.zarr').rglob('*.record'))
    before = len(shown)
    assert kept
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    assert_squares(finest(layer), squares(6, 8))
    repeated = set(map(tuple, shown[:before])) & set(
        map(tuple, shown[before:])
    )
    assert len(repeated) <= before - len(kept)


def stop_at_first_tile(d, monkeypatch):
    """Run, and cancel while the first tile is worked through."""
    show = ImageView.rgb

    def rgb(self, *arguments, **options):
        d.session.large.cancel()
        return show(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ImageView, 'rgb', rgb)
        d.widget.panel.run_button.click()
        d.settle()


@pytest.mark.slow
def test_cancel_while_a_run_is_planned(
    open_large, pyramid, monkeypatch, tmp_path
):
    d = open_large(pyramid, multiscale=True, show=False)

    def sample(plan, between):
        d.session.large.cancel()
        between()
        return 1.0, 1.0

    with monkeypatch.context() as patch:
        patch.setattr(large_estimate, 'shown_shares', sample)
        d.widget.panel.run_button.click()
        d.settle()
    assert d.widget.status.text == 'Stopped during planning.'
    assert d.widget.panel.run_button.isEnabled()
    assert not (tmp_path / 'out.ome.zarr').exists()
    d.widget.panel.run_button.click()
    d.settle()
    (layer,) = labels_of(d)
    assert_squares(finest(layer), squares(6, 8))


@pytest.mark.slow
def test_a_new_viewer_goes_on_in_the_folder(open_large, pyramid, monkeypatch):
    first = open_large(pyramid, multiscale=True, show=False)
    stop_at_first_tile(first, monkeypatch)
    second = open_large(pyramid, multiscale=True, show=False)
    assert 'Unfinished' in second.widget.panel.large.state_label.text()
    second.widget.panel.run_button.click()
    second.settle()
    assert_squares(finest(labels_of(second)[0]), squares(6, 8))
    second.viewer.layers.remove(labels_of(second)[0])
    second.settle()
    second.widget.panel.run_button.click()
    second.settle()
    assert 'Already finished' in second.widget.status.text
    (layer,) = labels_of(second)
    assert_squares(finest(layer), squares(6, 8))
    # they are kept with the labels
    assert len(layer.features) == 48
    assert layer.features['score'].between(0.5, 1).all()


@pytest.mark.slow
def test_a_part_of_the_plane_only(open_large, pyramid):
    d = open_large(pyramid, multiscale=True, scale=(2, 2))
    shapes = d.viewer.add_shapes(
        [[[64, 128], [64, 255], [191, 255], [191, 128]]],
        scale=(2, 2),
        name='here',
    )
    d.widget.panel.where.use_drawn(shapes)
    assert d.widget.panel.where.region_combo.currentText() == DRAWN
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    assert finest(layer).shape == (128, 128)
    assert_squares(finest(layer), squares(2, 2))
    np.testing.assert_allclose(
        layer.data_to_world((0, 0)), d.image.data_to_world((64, 128))
    )


@pytest.mark.slow
def test_the_whole_plane_after_a_part_goes_into_another_folder(
    open_large, pyramid, tmp_path
):
    d = open_large(pyramid, multiscale=True)
    where, large = d.widget.panel.where, d.widget.panel.large
    shapes = d.viewer.add_shapes(
        [[[64, 128], [64, 255], [191, 255], [191, 128]]], name='here'
    )
    where.use_drawn(shapes)
    d.widget.panel.run_button.click()
    d.settle()
    assert large.output == tmp_path / 'out.ome.zarr'
    assert 'are finished: Run shows them' in large.state_label.text()
    # the same run again
    (layer,) = labels_of(d)
    layer.features = layer.features.assign(mine=3)
    d.widget.panel.run_button.click()
    d.settle()
    assert 'Already finished' in d.widget.status.text
    assert labels_of(d) == [layer]
    where.region_combo.setCurrentText(PLANE)
    d.settle()
    assert large.output == tmp_path / 'out 2.ome.zarr'
    assert 'are finished' not in large.state_label.text()
    d.widget.panel.run_button.click()
    d.settle()
    sizes = {layer.name: finest(layer).shape for layer in labels_of(d)}
    assert sizes == {'out': (128, 128), 'out 2': finest(d.image).shape}
    # a folder that was chosen stays
    large.chosen = True
    d.widget.panel.form.controls['points_per_side'].value += 1
    d.widget.panel.run_button.click()
    d.settle()
    assert large.output == tmp_path / 'out 2.ome.zarr'


@pytest.mark.slow
@pytest.mark.window
def test_the_current_view_only(open_large, pyramid):
    d = open_large(pyramid, multiscale=True)
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    camera.zoom = 8
    camera.center = (0, 190, 250)
    QApplication.processEvents()
    d.viewer.screenshot(canvas_only=True, flash=False)
    d.widget.panel.where.region_combo.setCurrentText(VIEW)
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    height, width = finest(layer).shape
    assert height < 6 * STEP
    assert width < 8 * STEP


@pytest.mark.slow
def test_all_planes_of_a_lazy_stack_are_linked(open_large):
    da = pytest.importorskip('dask.array')
    stack = da.from_array(np.stack([squares(3, 4)] * 3), chunks=(1, 96, 96))
    d = open_large(stack)
    d.widget.panel.where.planes_combo.setCurrentIndex(1)
    assert d.widget.panel.where.planes.linked
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    data = finest(layer)
    assert data.shape == stack.shape
    for plane in data:
        assert_squares(plane, squares(3, 4))
        np.testing.assert_array_equal(plane, data[0])


@pytest.mark.slow
def test_one_plane_of_a_stack_lies_on_that_plane(open_large):
    da = pytest.importorskip('dask.array')
    stack = da.from_array(np.stack([squares(3, 4)] * 3), chunks=(1, 96, 96))
    d = open_large(stack, scale=(4, 1, 1))
    d.viewer.dims.set_current_step(0, 2)
    d.widget.panel.run_button.click()
    d.settle()
    assert len(labels_of(d)) == 1, d.widget.status.text
    (layer,) = labels_of(d)
    assert finest(layer).shape == (1, *stack.shape[1:])
    assert_squares(finest(layer)[0], squares(3, 4))
    np.testing.assert_allclose(
        layer.data_to_world((0, 0, 0)), d.image.data_to_world((2, 0, 0))
    )


@pytest.mark.slow
def test_removed_images_end_the_run(open_large, pyramid, monkeypatch):
    d = open_large(pyramid, multiscale=True, show=False)
    go = threading.Event()
    show = ImageView.rgb

    def rgb(self, *arguments, **options):
        assert go.wait(30)
        return show(self, *arguments, **options)

    monkeypatch.setattr(ImageView, 'rgb', rgb)
    d.widget.panel.run_button.click()
    d.viewer.layers.remove(d.image)
    go.set()
    d.settle()
    assert 'was removed' in d.widget.status.text
    assert not labels_of(d)
    assert d.widget.panel.run_button.isEnabled()


@pytest.mark.slow
def test_labels_of_another_image_are_refused(open_large, pyramid, tmp_path):
    d = open_large(pyramid, multiscale=True, show=False)
    d.widget.panel.run_button.click()
    d.settle()
    other = [np.ascontiguousarray(level[:-8, :]) for level in pyramid]
    e = open_large(other, multiscale=True, show=False)
    e.widget.panel.run_button.click()
    e.settle()
    assert 'belong to another image' in e.widget.status.text


@pytest.mark.slow
def test_failed_tiles_are_told(open_large, pyramid, monkeypatch):
    show = ImageView.rgb

    def rgb(self, plane, window, shrink=1):
        if window[:2] == (0, 0):
            raise OSError('the disk is worn out')
        return show(self, plane, window, shrink)

    d = open_large(pyramid, multiscale=True, show=False)
    with monkeypatch.context() as patch:
        patch.setattr(ImageView, 'rgb', rgb)
        d.widget.panel.run_button.click()
        d.settle()
    assert 'the disk is worn out' in d.widget.status.text
    assert 'Continue tries them again' in d.widget.status.text


@pytest.mark.slow
def test_other_parameters_are_refused_with_the_difference(
    open_large, pyramid, monkeypatch
):
    d = open_large(pyramid, multiscale=True, show=False)
    show = ImageView.rgb

    def rgb(self, *arguments, **options):
        d.session.large.cancel()
        return show(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ImageView, 'rgb', rgb)
        d.widget.panel.run_button.click()
        d.settle()
    (partial,) = labels_of(d)
    d.widget.panel.form.controls['diameter'].value = SIDE + 6
    d.widget.panel.run_button.click()
    d.settle()
    assert 'Diameter (px) was 24, now 30.' in d.widget.status.text
    assert 'plan' not in d.widget.status.text
    assert d.widget.panel.run_button.isEnabled()
    assert labels_of(d) == [partial]
    assert partial.visible


@pytest.fixture
def stopped(open_large, pyramid, monkeypatch):
    """A run that was stopped; the form has another diameter since."""
    d = open_large(pyramid, multiscale=True, show=False)
    stop_at_first_tile(d, monkeypatch)
    d.widget.panel.form.controls['diameter'].value = SIDE + 6
    d.settle()
    return d


@pytest.mark.slow
def test_continue_goes_on_with_the_parameters_of_the_run(stopped, tmp_path):
    d = stopped
    large = d.widget.panel.large
    done, total = map(int, re.findall(r'\d+', large.state_label.text()))
    assert 0 < done < total
    assert 'empty tiles not counted' in large.state_label.text()
    large.continue_button.click()
    assert not large.restart_button.isEnabled()
    d.settle()
    assert '48 objects in' in d.widget.status.text
    assert d.widget.panel.form.value.diameter == SIDE
    (layer,) = labels_of(d)
    assert_squares(finest(layer), squares(6, 8))
    assert large.continue_button.isHidden()


def answer(d, text):
    """Click a button of the question that is asked."""
    (box,) = d.widget.findChildren(QMessageBox)
    (button,) = (b for b in box.buttons() if text in b.text())
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    d.settle()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.mark.slow
def test_start_over_asks_and_deletes_the_tiles_that_are_done(
    stopped, tmp_path
):
    d = stopped
    output = tmp_path / 'out.ome.zarr'
    state = run_state(output)
    assert state.done
    restart = d.widget.panel.large.restart_button
    QTest.mouseClick(restart, Qt.MouseButton.LeftButton)
    (box,) = d.widget.findChildren(QMessageBox)
    assert f'{state.done} of {state.total} tiles' in box.text()
    answer(d, 'Cancel')
    assert run_state(output).done == state.done
    assert restart.isEnabled()
    # the tiles would not fit the diameter of the form
    QTest.mouseClick(restart, Qt.MouseButton.LeftButton)
    answer(d, 'start over')
    records = records_folder(output)
    assert 'objects in' in d.widget.status.text
    assert d.widget.panel.form.value.diameter == SIDE + 6
    assert len(labels_of(d)) == 1
    assert not records.exists()


@pytest.mark.slow
def test_save_elsewhere_keeps_the_unfinished_run(stopped, tmp_path):
    d = stopped
    d.widget.panel.large.elsewhere_button.click()
    d.settle()
    assert (tmp_path / 'out 2.ome.zarr').exists()
    assert run_state(tmp_path / 'out.ome.zarr').done
    assert [layer.name for layer in labels_of(d)] == ['out', 'out 2']
    assert d.widget.panel.large.continue_button.isHidden()


def test_a_place_that_cannot_be_written_is_told_of(
    open_large, pyramid, tmp_path, monkeypatch
):
    d = open_large(pyramid, multiscale=True, show=False)
    output = str(tmp_path / 'other.ome.zarr')
    monkeypatch.setattr(
        QFileDialog, 'getSaveFileName', lambda *args, **options: (output, '')
    )

    def refuse(**where):
        raise OSError(errno.EROFS, 'Read-only file system', f'{where}/1')

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    d.widget.panel.large.browse_button.click()
    assert output in d.widget.panel.large.state_label.text()
    d.widget.panel.run_button.click()
    assert not d.session.large.running
    assert d.widget.status.failed
    assert output in d.widget.status.text


@pytest.mark.slow
def test_run_is_estimated_before_it_starts(open_large, pyramid):
    d = open_large(pyramid, multiscale=True, show=False)
    d.settle()
    text = d.widget.panel.estimate_label.text()
    assert text.startswith('384 × 512, ')
    assert re.search(r'\d+ tiles, objects about 24 px, .*about', text)


@pytest.mark.slow
def test_a_run_tells_its_estimate_if_it_was_not_there_yet(
    open_large, pyramid, monkeypatch
):
    d = open_large(pyramid, multiscale=True, show=False)
    runs, told = d.session.large, []
    monkeypatch.setattr(runs, 'estimate', lambda request: None)
    runs.estimated.connect(told.append)
    d.settle()
    assert not told
    d.widget.panel.run_button.click()
    d.settle()
    assert '48 objects in' in d.widget.status.text
    (text,) = told
    assert 'tiles, objects about 24 px' in text


@pytest.mark.slow
def test_diameter_is_measured_once_for_estimate_and_run(
    open_large, pyramid, monkeypatch
):
    measured = []

    def measure(source, limits, gamma, model, between):
        measured.append(source)
        return float(SIDE)

    monkeypatch.setattr(large_plan, 'diameter_of', measure)
    d = open_large(pyramid, multiscale=True)
    measured.clear()
    d.widget.panel.form.controls['diameter'].check.value = True
    d.settle()
    assert f'objects about {SIDE} px' in d.widget.panel.estimate_label.text()
    d.widget.panel.run_button.click()
    d.settle()
    assert_squares(finest(labels_of(d)[0]), squares(6, 8))
    assert len(measured) == 1


@pytest.mark.slow
@pytest.mark.window
def test_the_whole_estimate_of_a_large_image_is_seen(open_large, pyramid):
    d = open_large(pyramid, multiscale=True)
    d.settle()
    QApplication.processEvents()
    label = d.widget.panel.estimate_label
    wrap = Qt.TextFlag.TextWordWrap if label.wordWrap() else 0
    needed = label.fontMetrics().boundingRect(
        0, 0, label.width(), 1000, int(wrap), label.text()
    )
    assert needed.width() <= label.width()
    assert needed.height() <= label.height()


@pytest.mark.slow
@pytest.mark.window
def test_small_images_are_segmented_as_ever(desk, blobs):
    d = desk(blobs, widget=EVERYTHING)
    assert not d.widget.panel.large.isVisible()
    assert d.widget.panel.result_group.isVisible()


@pytest.mark.slow
def test_a_folder_is_suggested(desk, large, tmp_path):
    image = squares(2, 2)
    np.save(tmp_path / 'plate.npy', image)
    mapped = np.load(tmp_path / 'plate.npy', mmap_mode='r')
    d = desk(mapped, widget=EVERYTHING, show=False, name='plate: one')
    suggested = d.widget.panel.large.output
    assert suggested.name == 'plate one objects.ome.zarr'
    assert suggested.parent == Path.home() / 'napari-mobilesam'
