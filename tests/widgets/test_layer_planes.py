"""Planes of layers of every kind and transform, without a window."""

from __future__ import annotations

from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from endless import Endless

pytest.importorskip('napari', reason='planes of layers need napari')

from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_mobilesam.session.images.engine import click
from napari_mobilesam.session.images.planes import PlaneView, Viewport
from napari_mobilesam.session.objects.sparse_labels import SparseLabels
from napari_mobilesam.session.prompts.prompt_messages import check_prompts
from napari_mobilesam.types import ImageError, PromptError
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.labels_target import LabelsTarget
from napari_mobilesam.widgets.viewer.layer_plane import plane_of, viewport_of
from napari_mobilesam.widgets.viewer.layers import (
    coincide,
    data_to_world_matrix,
    suitability,
)


def view(*images, **kwargs):
    """A viewer model with images, the last one returned too."""
    viewer = ViewerModel()
    for image in images:
        layer = viewer.add_image(image, **kwargs)
    return viewer, layer


finite = st.floats(-50, 50)
factors = st.floats(0.2, 5)


@st.composite
def transforms(draw, ndim):
    """Scale, translate, rotate, shear and affine, in any mixture."""
    made = {}
    if draw(st.booleans()):
        made['scale'] = draw(st.lists(factors, min_size=ndim, max_size=ndim))
    if draw(st.booleans()):
        made['translate'] = draw(
            st.lists(finite, min_size=ndim, max_size=ndim)
        )
    if draw(st.booleans()):
        angles = draw(st.lists(finite, min_size=3, max_size=3))
        made['rotate'] = angles[0] if ndim == 2 else angles
        if ndim > 3:
            del made['rotate']
    if draw(st.booleans()):
        count = ndim * (ndim - 1) // 2
        made['shear'] = draw(
            st.lists(st.floats(-0.5, 0.5), min_size=count, max_size=count)
        )
    if draw(st.booleans()):
        affine = np.eye(ndim + 1)
        noise = st.floats(-0.2, 0.2)
        for row in range(ndim):
            for column in range(ndim):
                affine[row, column] += draw(noise)
            affine[row, ndim] = draw(finite)
        made['affine'] = affine
    return made


@st.composite
def planar_transforms(draw, ndim):
    """Transforms that keep planes planes: mixed within rows and columns."""
    inner = draw(transforms(2))
    scratch = Image(np.zeros((2, 2)), **inner)
    affine = np.eye(ndim + 1)
    corner = np.asarray(scratch.data_to_world((0, 0)))
    for axis in range(2):
        step = np.asarray(scratch.data_to_world(np.eye(2)[axis])) - corner
        affine[ndim - 2 : ndim, ndim - 2 + axis] = step
    affine[ndim - 2 : ndim, ndim] = corner
    for axis in range(ndim - 2):
        affine[axis, axis] = draw(factors)
        affine[axis, ndim] = draw(finite)
    return affine


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(transforms(2), transforms(2), st.tuples(*[st.floats(0, 1)] * 2))
def test_a_click_is_the_pixel_under_it(image_at, points_at, place):
    viewer, image = view(np.zeros((40, 60)), **image_at)
    points = Points(ndim=2, **points_at)
    viewer.add_layer(points)
    pixel = np.array(place) * (39, 59)
    clicked = points.world_to_data(image.data_to_world(pixel))
    plane = plane_of(viewer, image)
    found, here = plane.image_points(points, np.asarray(clicked)[None])
    assert here.all()
    assert found[0] == pytest.approx(pixel, abs=1e-3)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    planar_transforms(4),
    st.integers(2, 4),
    st.data(),
    st.integers(0, 3),
    st.integers(0, 4),
)
def test_a_click_in_a_stack_is_on_its_plane(
    image_at, points_ndim, data, time, depth
):
    """Also through prompt layers without the stack's leading axes."""
    viewer, image = view(np.zeros((4, 5, 30, 40)), affine=image_at)
    viewer.dims.point = image.data_to_world((time, depth, 0, 0))
    plane = plane_of(viewer, image)
    assert plane.index == (time, depth, 0, 0)
    points_at = data.draw(planar_transforms(points_ndim))
    points = Points(ndim=points_ndim, affine=points_at)
    world = np.asarray(image.data_to_world((time, depth, 7, 9)))
    clicked = points.world_to_data(world[4 - points_ndim :])
    found, here = plane.image_points(points, np.asarray(clicked)[None])
    assert here.all()
    assert found[0] == pytest.approx((7, 9), abs=1e-3)
    other = plane.moved(1, 1 if depth < 4 else -1)
    _, here = other.image_points(points, np.asarray(clicked)[None])
    # a layer without the stack's depth is shown at each depth
    assert here.all() == (points_ndim < 3)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(transforms(2), st.integers(0, 36), st.integers(0, 56))
def test_labels_are_written_where_the_mask_is(image_at, row, column):
    viewer, image = view(np.zeros((40, 60)), **image_at)
    plane = plane_of(viewer, image)
    labels = new_labels(plane, 'objects')
    target = LabelsTarget(labels)
    picture = np.arange(1, 13).reshape(3, 4)
    pixels = target.locate(plane.source(), picture, (row, column))
    target.write(*pixels)
    written = labels.data[row : row + 3, column : column + 4]
    assert np.array_equal(written, picture)
    world = image.data_to_world((row + 1, column + 1))
    assert labels.get_value(world, world=True) == picture[1, 1]


def test_a_flat_image_in_a_deep_world():
    viewer, _ = view(np.zeros((6, 30, 40)), scale=(3, 1, 1))
    flat = viewer.add_image(np.zeros((30, 40)), scale=(2, 2))
    viewer.dims.set_current_step(0, 4)
    plane = plane_of(viewer, flat)
    assert plane.index == (0, 0)
    assert plane.travel_axes == ()
    assert plane.neighbours(None) == []
    points = Points(ndim=3)
    found, here = plane.image_points(points, [[12, 20, 30]])
    assert here.all()
    assert found.tolist() == [[10, 15]]


@pytest.mark.slow
@pytest.mark.parametrize(
    'point', [(-0.6, 5), (39.6, 5), (5, -0.6), (5, 59.6), (500, 500)]
)
def test_a_click_outside_says_so(point):
    viewer, image = view(np.zeros((40, 60)))
    with pytest.raises(PromptError, match='outside the image'):
        check_prompts(plane_of(viewer, image).shape, click(point))


def test_planes_beyond_the_stack_are_named():
    viewer, _ = view(np.zeros((9, 30, 40)))
    short = viewer.add_image(np.zeros((3, 30, 40)), name='short')
    viewer.dims.set_current_step(0, 7)
    with pytest.raises(ImageError, match='“short” has no plane here'):
        plane_of(viewer, short)


def test_neighbours_are_those_in_the_direction_of_travel():
    viewer, image = view(np.zeros((4, 9, 20, 20)))
    planes = []
    for step in (5, 6):
        viewer.dims.set_current_step(1, step)
        planes.append(plane_of(viewer, image))
    indices = [plane.index for plane in planes[1].neighbours(planes[0])]
    assert [index[1] for index in indices] == [7, 8, 5]
    assert {index[0] for index in indices} == {planes[1].index[0]}
    last = planes[1].moved(1, 2)
    assert [p.index[1] for p in last.neighbours(planes[1])] == [7]
    positions = [plane.position[1] for plane in planes[1].neighbours(None)]
    assert positions == [7, 5]


def test_planes_of_one_image_have_places_of_their_own():
    viewer, image = view(np.zeros((4, 20, 20)))
    plane = plane_of(viewer, image)
    other = plane.moved(0, 1)
    assert plane.source().place != other.source().place
    assert plane.source().key == plane_of(viewer, image).source().key
    before = plane.source()
    image.contrast_limits = (0, 0.5)
    assert plane.source().key != before.key
    assert plane.source().place == before.place


kinds = {
    'numpy': lambda a: a,
    'dask': lambda a: da.from_array(a, chunks=16),
    'zarr': lambda a: zarr.array(a, chunks=(1, 16, 16)),
}


@pytest.mark.slow
@pytest.mark.parametrize('kind', kinds)
@pytest.mark.parametrize('order', [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_any_plane_of_any_array_is_read(kind, order):
    stack = np.random.default_rng(0).integers(0, 255, (20, 30, 40), np.uint8)
    viewer, image = view(kinds[kind](stack), contrast_limits=(0, 255))
    viewer.dims.order = order
    viewer.dims.set_current_step(order[0], 7)
    plane = plane_of(viewer, image).source()
    # rows and columns are those of the data, however they are shown
    expected = stack.transpose(order[0], *sorted(order[1:]))[7]
    assert plane.shape == expected.shape
    assert np.array_equal(plane.rgb()[..., 0], expected)
    window = (3, 4, 15, 18)
    assert np.array_equal(plane.rgb(window)[..., 1], expected[3:15, 4:18])


def test_colour_images_are_read_as_they_are():
    rgb = np.random.default_rng(0).integers(0, 255, (2, 30, 40, 4), np.uint8)
    viewer, image = view(rgb, rgb=True)
    viewer.dims.set_current_step(0, 1)
    plane = plane_of(viewer, image).source()
    assert np.array_equal(plane.rgb(), rgb[1, ..., :3])


def test_levels_of_a_pyramid_are_planes_too():
    stack = np.random.default_rng(0).integers(0, 255, (4, 64, 48), np.uint8)
    # the third level is coarser in depth too
    levels = [stack, stack[:, ::2, ::2], stack[::2, ::4, ::4]]
    viewer, image = view(levels, multiscale=True, contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 3)
    plane = plane_of(viewer, image).source()
    assert plane.levels == 3
    assert plane.level_shape(2) == (16, 12)
    assert np.array_equal(plane.rgb(level=1)[..., 0], stack[3, ::2, ::2])
    assert np.array_equal(plane.rgb(level=2)[..., 0], stack[2, ::4, ::4])


def test_a_slide_in_colour_is_read_at_its_levels():
    fine = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    levels = [zarr.array(fine, chunks=(16, 16, 3)), fine[::2, ::2]]
    viewer, image = view(levels, multiscale=True)
    plane = plane_of(viewer, image).source()
    assert plane.shape == (64, 48)
    assert np.array_equal(plane.rgb((8, 4, 40, 30)), fine[8:40, 4:30])
    assert np.array_equal(plane.rgb(level=1), fine[::2, ::2])


@pytest.mark.parametrize('dtype', ['>u2', '<f8', 'i4', 'bool'])
def test_files_mapped_into_memory_are_read_in_windows(dtype, tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 50, 60))
    mapped = np.memmap(tmp_path / 'a.raw', dtype, 'w+', 0, stack.shape)
    mapped[:] = stack
    viewer, image = view(mapped, contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 2)
    plane = plane_of(viewer, image).source()
    assert isinstance(plane.array(), PlaneView)
    window = plane.rgb((5, 6, 30, 40))[..., 0]
    expected = mapped[2, 5:30, 6:40].astype(float)
    assert np.abs(window - expected).max() < 1


def test_large_planes_in_memory_have_levels():
    viewer, image = view(np.zeros((2500, 2500), np.uint8))
    plane = plane_of(viewer, image).source()
    assert plane.level_shape(1) == (1250, 1250)
    viewer, image = view(np.zeros((2000, 2000), np.uint8))
    assert plane_of(viewer, image).source().levels == 1


def test_where_a_window_looks_is_known_in_data_pixels():
    viewer, image = view(np.zeros((5, 100, 200)), scale=(3, 2, 2))
    assert plane_of(viewer, image).viewport is None
    # the camera is the viewer's own in older versions of napari
    scene = getattr(viewer, 'scene', viewer)
    scene.camera.center = (0, 60, 90)
    scene.camera.zoom = 0.25
    window = SimpleNamespace(window=None, scene=scene)
    matrix = data_to_world_matrix(image, 3)
    position = np.array([1.0, 0, 0])
    looks = viewport_of(window, matrix, position, (1, 2))
    assert looks == Viewport((30, 45), 2.0)
    looks = viewport_of(window, matrix, position, (0, 2))
    assert looks.center == (20, 45)


# labels of images of any size


def test_labels_of_a_slide_are_written_undone_and_seen():
    levels = Endless.pyramid(100_000, 7)
    viewer, image = view(levels, multiscale=True, contrast_limits=(0, 255))
    plane = plane_of(viewer, image)
    labels = viewer.add_layer(new_labels(plane, 'objects'))
    assert isinstance(labels.data[0], SparseLabels)
    target = LabelsTarget(labels)
    target.check()
    assert target.highest() == 0
    assert target.limit == 65_535
    picture = np.full((300, 400), 5)
    pixels = target.locate(plane.source(), picture, (50_000, 60_000))
    target.write(*pixels)
    assert target.highest() == 5
    box = (49_999, 59_999, 50_002, 60_002)
    assert target.picture(plane.source(), box).tolist() == [
        [0, 0, 0],
        [0, 5, 5],
        [0, 5, 5],
    ]
    assert (target.read(pixels.indices) == 5).all()
    assert labels.data[6][782:785, 938:943].all()
    target.write(pixels.indices, np.zeros_like(pixels.values))
    assert not any(level.max() for level in labels.data)
    assert sum(level.nbytes for level in labels.data) < 8 << 20


@pytest.mark.slow
def test_labels_of_a_large_stack_can_still_be_painted():
    viewer, image = view(Endless((3000, 4000, 4000)), contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 7)
    labels = viewer.add_layer(new_labels(plane_of(viewer, image), 'objects'))
    assert isinstance(labels.data, SparseLabels)
    assert labels.editable
    labels.brush_size = 9
    labels.paint((7, 100, 100), 3)
    assert labels.data[7, 100, 98:102].tolist() == [3, 3, 3, 3]
    labels.undo()
    assert labels.data.max() == 0


@pytest.mark.parametrize(
    ('scale', 'translate', 'same'),
    [
        ((1e-7, 1e-7), (0, 0), True),
        ((1e-7, 1e-7), (1e-12, 0), True),
        ((5e-7, 5e-7), (0, 0), False),
        ((1e-7, 1e-7), (1e-7, 0), False),
    ],
)
def test_layers_in_meters_coincide_pixel_by_pixel(scale, translate, same):
    viewer = ViewerModel()
    picture = np.zeros((20, 30))
    image = viewer.add_image(picture, scale=(1e-7, 1e-7), translate=(0, 0))
    other = viewer.add_image(picture, scale=scale, translate=translate)
    first, second = (data_to_world_matrix(x, 2) for x in (image, other))
    assert coincide(first, second) == same
    labels = viewer.add_labels(
        picture.astype(int), scale=scale, translate=translate
    )
    assert suitability(labels, image) == int(same)
