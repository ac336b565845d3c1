"""Odd arguments of the public functions, each refused in plain words.

Every message names the argument, what it is and what it has to be.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from viewer.oracle import OracleSam

import napari_mobilesam as nm
from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.training.evaluate import evaluate
from napari_mobilesam.training.labelled_images import labelled_image
from napari_mobilesam.types import EverythingParameters, SegmentationError

IMAGE = np.full((64, 64), 10, np.uint8)
IMAGE[20:40, 20:40] = 200
LABELS = (IMAGE > 50).astype(np.int32)
MODEL = OracleSam()
BOXES = [[20, 20, 40, 40]]

unknown = da.from_array(IMAGE.ravel(), chunks=99)
IMAGES: dict[str, tuple[Any, str]] = {
    'path': ('cells.tif', "image is 'cells.tif'; give an array of pixels"),
    'none': (None, 'image is None; give an array of pixels'),
    'ragged': ([[1, 2], [3]], 'image is a list that is not an array'),
    'tensor': (torch.zeros(64, 64), 'image is a torch.Tensor'),
    'objects': (np.array([[None] * 9] * 9), 'object'),
    'complex': (np.zeros((9, 9), complex), 'complex128'),
    'text': (np.array([['a'] * 9] * 9), '<U1'),
    'times': (np.zeros((9, 9), 'M8[s]'), 'datetime64'),
    'scalar': (np.array(3), 'has 0 axes'),
    'line': (np.zeros(64), 'has 1 axis'),
    'empty': (np.zeros((0, 64)), r'shape is \(0, 64\)'),
    'masked': (
        np.ma.masked_greater(IMAGE, 50),
        'masked array with 400 masked elements; fill them',
    ),
    'nan': (np.full((9, 9), np.nan), 'no finite pixel'),
    'unknown shape': (unknown[unknown > 50], 'is not computed yet'),
    'huge': (
        da.zeros((10**6, 10**6), chunks=4096, dtype=np.uint8),
        'has 1e[+]12 pixels',
    ),
    'model': (MODEL, 'object'),
}
ON_IMAGES = {
    'segment_everything': lambda i: nm.segment_everything(i, MODEL),
    'generate_masks': lambda i: nm.generate_masks(i, MODEL),
    'edge_map': lambda i: nm.edge_map(i, MODEL),
    'object_proposals': lambda i: nm.object_proposals(i, MODEL),
    'segment_boxes': lambda i: nm.segment_boxes(i, MODEL, BOXES),
    'embed': nm.Predictor(MODEL).embed,
    'embed_window': nm.Predictor(MODEL).embed_window,
}


@pytest.mark.parametrize('kind', IMAGES)
@pytest.mark.parametrize('function', ON_IMAGES)
def test_odd_images(function, kind):
    image, words = IMAGES[kind]
    with pytest.raises(SegmentationError, match=words):
        ON_IMAGES[function](image)


ON_MODELS = {
    'segment_everything': lambda m: nm.segment_everything(IMAGE, m),
    'edge_map': lambda m: nm.edge_map(IMAGE, m),
    'segment_boxes': lambda m: nm.segment_boxes(IMAGE, m, BOXES),
    'Predictor': nm.Predictor,
    'measure_speed': nm.measure_speed,
}


@pytest.mark.parametrize(
    'model', ['mobile_sam', None, 3, torch.nn.Linear(2, 2), OracleSam, IMAGE]
)
@pytest.mark.parametrize('function', ON_MODELS)
def test_wrong_objects_as_model(function, model):
    with pytest.raises(SegmentationError, match='model is .*load_model'):
        ON_MODELS[function](model)


NUMBERS = [
    item.name
    for item in fields(EverythingParameters)
    if 'bool' not in str(item.type)
]
FLAGS = [
    item.name
    for item in fields(EverythingParameters)
    if 'bool' in str(item.type)
]
NO_NUMBERS = st.one_of(
    st.text(),
    st.binary(),
    st.booleans(),
    st.complex_numbers(),
    st.lists(st.floats()),
    st.sampled_from([np.array([1, 2]), torch.tensor([1.0, 2.0]), object()]),
    st.floats(allow_nan=False, min_value=1e9),
    st.integers(min_value=10**9),
    st.just(float('nan')),
    st.floats(max_value=-0.001),
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.sampled_from(NUMBERS), NO_NUMBERS)
def test_parameters_that_are_no_numbers(name, value):
    with pytest.raises(SegmentationError, match=f'{name} is .*has to be'):
        checked_parameters(None, {name: value})


@settings(deadline=None)
@given(st.sampled_from(FLAGS), NO_NUMBERS)
def test_parameters_that_are_no_flags(name, value):
    if not isinstance(value, bool):
        with pytest.raises(SegmentationError, match=f'{name} is .*True or Fa'):
            checked_parameters(None, {name: value})


def everything(**options):
    return nm.segment_everything(IMAGE, MODEL, points_per_side=4, **options)


def predict(**options):
    predictor = nm.Predictor(MODEL)
    embedding = options.pop('embedding', None)
    if embedding is None:
        embedding = predictor.embed(IMAGE)
    return predictor.predict(embedding, **{'points': [[30, 30]], **options})


def refine(**options):
    return nm.refine_labels(IMAGE, LABELS, MODEL, **options)


def similar(numbers):
    return nm.find_similar(IMAGE, MODEL, LABELS, numbers=numbers)


ODD = {
    'region text': (lambda: everything(region='all'), "region is 'all'"),
    'region ragged': (lambda: everything(region=[[1], [1, 2]]), 'region is'),
    'skip text': (lambda: everything(skip='labels'), 'skip has the type'),
    'channels': (lambda: everything(channels='red'), 'channels'),
    'limits': (lambda: everything(contrast_limits='auto'), 'contrast_limits'),
    'gamma': (lambda: everything(gamma='1'), "gamma is '1'; it has to be"),
    'gamma array': (lambda: everything(gamma=np.ones(2)), 'gamma is array'),
    'progress': (lambda: everything(progress=5), 'progress is 5; it has to'),
    'cancelled': (lambda: everything(cancelled=True), 'cancelled is True'),
    'on_masks': (lambda: everything(on_masks=[]), r'on_masks is \[\]'),
    'parameters': (lambda: everything(parameters={}), r'parameters is \{\}'),
    'layers': (lambda: everything(crop_layers=100_000), 'is 100000; .*0 to 4'),
    'diameter': (lambda: everything(diameter=1e300), r'is 1e\+300; it has'),
    'embedding': (
        lambda: predict(embedding='x'),
        "embedding is 'x'; give what",
    ),
    'points': (
        lambda: predict(points='here'),
        "points: 'here' is not an array of numb",
    ),
    'one channel': (
        lambda: everything(contrast_limits=((0, 9), (0, 9))),
        '2 pairs .* for 1 channel; ',
    ),
    'gamma above': (lambda: everything(gamma=1e9), 'above 0, at most 1000'),
    'flag as channel': (
        lambda: nm.segment_everything(IMAGE[None], MODEL, channels=True),
        'channels is True; give the number',
    ),
    'thin': (lambda: nm.edge_map(IMAGE, MODEL, thin=3), 'thin is 3; it has'),
    'refine scores': (
        lambda: refine(scores=[0.5]),
        r'scores is \[0.5\]; give',
    ),
    'refine score': (
        lambda: refine(scores={1: 'a'}),
        "label 1 is 'a'; it has",
    ),
    'refine table': (lambda: refine(parameters=3), 'parameters is 3; it has'),
    'tensor of labels': (
        lambda: nm.refine_labels(IMAGE, torch.zeros(64, 64), MODEL),
        r'labels is a torch.Tensor .*labels\.numpy\(force=True\)',
    ),
    'one number': (lambda: similar(1), 'numbers is 1; give a list of labels'),
    'text numbers': (lambda: similar(['a']), r"numbers is \['a'\]; give a"),
    'fractions': (lambda: similar([1.5]), r'numbers is \[1.5\]; give a list'),
    'below': (lambda: predict(points=[[64, 3]]), 'is outside the image'),
    'right': (lambda: predict(points=[[3, 64]]), 'is outside the image'),
    'box': (lambda: predict(box=object()), 'box: .*not an array of numbers'),
    'multimask': (lambda: predict(multimask='yes'), "multimask is 'yes'; it"),
    'two labels': (lambda: predict(labels=[1, 0]), '^1 point but labels of'),
    'size': (lambda: predict(diameter='big'), "diameter is 'big'; it has to"),
    'previous': (lambda: predict(previous=IMAGE), 'previous is array'),
    'cache': (lambda: nm.Predictor(MODEL, 'folder'), "cache is 'folder'; it"),
    'boxes': (
        lambda: nm.segment_boxes(IMAGE, MODEL, 'all'),
        "boxes are 'all'",
    ),
    'most': (lambda: nm.object_proposals(IMAGE, MODEL, most=0), 'most is 0; '),
    'outlines of bool': (lambda: nm.mask_outlines(IMAGE > 9), 'type bool'),
    'outlines of float': (lambda: nm.mask_outlines(IMAGE / 9), 'type float64'),
    'window': (
        lambda: nm.Predictor(MODEL).embed_window(IMAGE, window='all'),
        "window is 'all'; give four whole numbers",
    ),
}


def large(**options):
    given = {'executor': 'serial', 'diameter': 30, **options}
    return nm.segment_large(IMAGE, model=given.pop('model', MODEL), **given)


ODD |= {
    'large parameters': (lambda: large(parameters=5), 'parameters is 5; it'),
    'large output': (lambda: large(output=5), 'output is 5; it has to be the'),
    'tracking': (
        lambda: nm.track_labels(np.stack([LABELS, LABELS]), 3),
        'parameters is 3; it has to be an instance of LinkingParameters',
    ),
    'session': (lambda: nm.get_session(None), 'viewer is None; give a napari'),
    'selection': (
        lambda: nm.generate_candidates(IMAGE, MODEL).label(3),
        'selection is 3; it has to be an instance of Selection',
    ),
    'filters': (lambda: Selection(filters=3), 'filters is 3; it has to be'),
    'threshold': (
        lambda: Selection(predicted_iou='a'),
        "predicted_iou is 'a'",
    ),
    'one end': (lambda: ObjectFilters(area=5), 'area is 5; give .least'),
    'text end': (lambda: ObjectFilters(area=('a', 5)), 'give .least, most'),
    'turned ends': (
        lambda: ObjectFilters(area=(50, 5)),
        'the least value is above the most',
    ),
    'border': (lambda: ObjectFilters(border=3), 'border is 3; it has to'),
    'no diameter': (
        lambda: nm.Predictor(MODEL).predict(
            nm.Predictor(MODEL).embed(IMAGE), points=[[3, 3]], diameter=0
        ),
        'diameter is 0; it has to be from 1 to',
    ),
    'device': (
        lambda: nm.load_model(device='gpu'),
        "unknown device 'gpu'; choose auto",
    ),
    'large suffix': (lambda: large(output='l.png'), r'ends in \.png, but'),
    'large gamma': (lambda: large(gamma=1j), 'gamma is 1j; it has to be'),
    'large limits': (lambda: large(contrast_limits=b'x'), 'contrast_limits'),
    'large workers': (lambda: large(workers=IMAGE), 'workers is array'),
    'large hooks': (lambda: large(on_tile=1), 'on_tile is 1; it has to be'),
    'large result': (lambda: large(on_result=1), 'on_result is 1; it has to'),
    'large resume': (lambda: large(resume='no'), "resume is 'no'; it has to"),
    'large model': (lambda: large(model=IMAGE), 'model is array'),
    'network': (lambda: large(model=torch.nn.Linear(2, 2)), 'model is Linear'),
    'executor': (lambda: large(executor=5), 'executor'),
    'measure text': (lambda: nm.measure_objects('a.tif'), "labels is 'a.tif'"),
    'measure list': (lambda: nm.measure_objects(LABELS, [1]), r'image is \[1'),
    'measure scale': (
        lambda: nm.measure_objects(LABELS, scale='1'),
        "scale is '1'; give the pixel",
    ),
    'measure floats': (lambda: nm.measure_objects(LABELS / 2), 'float64'),
    'export text': (lambda: nm.export_labels('a', 'a.json'), "labels is 'a'"),
    'export path': (lambda: nm.export_labels(LABELS, 5), 'path is 5; it has'),
    'read path': (lambda: nm.read_labels(5), 'path is 5; it has to be the'),
}

HUGE = {
    'square': da.zeros((10**6, 10**6), chunks=4096, dtype=np.uint16),
    'planes': da.zeros((10**9, 8, 8), chunks=(1000, 8, 8), dtype=np.uint16),
}
ON_HUGE = {
    'measure': nm.measure_objects,
    'ROIs': lambda a: nm.export_labels(a, 'a.zip'),
    'GeoJSON': lambda a: nm.export_labels(a, 'a.geojson'),
    'COCO': lambda a: nm.export_labels(a, 'a.json'),
    'OME-Zarr': lambda a: nm.export_labels(a, 'a.ome.zarr'),
    'TIFF': lambda a: nm.export_labels(a, 'a.tif'),
    'large': lambda a: nm.segment_large(
        a, model=MODEL, diameter=30, executor='serial'
    ),
    'outlines': nm.mask_outlines,
    'refine': lambda a: nm.refine_labels(IMAGE, a, MODEL),
    'boxes': lambda a: nm.segment_boxes(IMAGE, MODEL, a),
    'region': lambda a: everything(region=a),
    'skip': lambda a: everything(skip=a),
    'limits': lambda a: everything(contrast_limits=a),
    'training': lambda a: labelled_image(a, a),
}


@pytest.mark.parametrize('kind', HUGE)
@pytest.mark.parametrize('function', ON_HUGE)
def test_huge_arrays_are_refused_before_they_are_read(
    function, kind, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def compute(*_: Any, **__: Any) -> None:
        raise AssertionError('computed')

    monkeypatch.setattr(da.Array, 'compute', compute)
    monkeypatch.setattr(da.Array, '__array__', compute)
    with pytest.raises(SegmentationError, match='pixels|planes|plane of int'):
        ON_HUGE[function](HUGE[kind])
    assert not list(tmp_path.iterdir())


def estimate(shape=(64, 64), record=MODEL.record, **options):
    speed = options.pop('speed', Speed(1, 0.1, 0.1))
    parameters = options.pop('parameters', EverythingParameters())
    return nm.estimate_run(shape, record, parameters, speed, **options)


def export(**options):
    return nm.export_labels(LABELS, 'a.json', **options)


ODD |= {
    **{
        f'estimate {shape}': (
            lambda shape=shape: estimate(shape),
            'image_shape',
        )
        for shape in (
            None,
            'ab',
            5,
            (),
            (64,),
            (64, 64, 3),
            (0, 5),
            (-1, 5),
            (64.5, 5),
            (float('nan'), 5),
            (10**400, 5),
            (10**6, 10**6),
        )
    },
    'estimate record': (lambda: estimate(record='x'), "record is 'x'; it has"),
    'estimate speed': (lambda: estimate(speed=None), 'speed is None; it has'),
    'estimate none': (lambda: estimate(parameters=None), 'parameters is None'),
    'estimate size': (lambda: estimate(diameter='x'), "diameter is 'x'; it"),
    'export axes': (lambda: export(axes=3), 'axes is 3; give a str'),
    'export name': (lambda: export(name=IMAGE), r'name is array.*give a str'),
    'export format': (lambda: export(format=[1]), r'format is \[1\]; give'),
    'export scale': (lambda: export(scale='ab'), "scale is 'ab'; give a num"),
    'export units': (lambda: export(units=5), 'units is 5; give a name'),
    'export image': (lambda: export(image=5), 'image is 5; it has to be the'),
    'export colors': (lambda: export(class_colors=[1]), 'class_colors is'),
    'export table': (lambda: export(table='a'), "table is 'a'; it has to be"),
    'export replace': (lambda: export(overwrite=IMAGE), 'overwrite is array'),
    'export type': (lambda: export(object_type=5), 'object_type is 5; give'),
    'measure table': (
        lambda: nm.measure_objects(
            LABELS, table=pd.DataFrame({'label': 'a'}, [0])
        ),
        "“label” of the table holds 'a'; it has to hold whole numbers",
    ),
    'measure names': (
        lambda: nm.measure_objects(LABELS, IMAGE, channels='ab'),
        "channels is 'ab'; it has to be a list",
    ),
    'measure units': (
        lambda: nm.measure_objects(LABELS, scale=(1, 1), units=5),
        'units is 5; it has to be a name',
    ),
    'measure volumes': (
        lambda: nm.measure_objects(LABELS, volumes=None),
        'volumes is None; it has to be True or False',
    ),
    'measure complex': (
        lambda: nm.measure_objects(LABELS, IMAGE + 1j),
        'The image has the type complex128',
    ),
    'measure negative': (
        lambda: nm.measure_objects(LABELS - 5),
        'negative labels',
    ),
    'measure large': (
        lambda: nm.measure_objects(LABELS.astype(np.uint64) + (2**63 + 5)),
        'is too large: number the objects',
    ),
    'measure line': (
        lambda: nm.measure_objects(da.zeros((1, 10**11), dtype=np.int8)),
        'would be read in 48,828,125 parts',
    ),
    'read shape': (
        lambda: nm.read_labels('a.geojson', shape='ab'),
        "shape is 'ab'; give a number above 0",
    ),
    'read channel': (
        lambda: nm.read_labels('a.tif', channel=-1),
        'channel is -1; it has to be at least 0',
    ),
    'cache': (lambda: nm.EmbeddingCache(5), 'folder is 5; it has to be the'),
    'series': (lambda: nm.segment_series(IMAGE, MODEL), 'series is array'),
    'download': (lambda: nm.download_model([1]), r'name is \[1\]; give a str'),
    'large tensor': (lambda: nm.segment_large(torch.zeros(9, 9)), 'torch.Ten'),
    'large ragged': (lambda: nm.segment_large([[1], [1, 2]]), 'not an array'),
    'large unknown': (
        lambda: nm.segment_large(unknown[unknown > 9]),
        'is not computed yet',
    ),
    'refine ragged': (
        lambda: nm.refine_labels(IMAGE, [[1], [1, 2]], MODEL),
        'labels is a list that is not an array',
    ),
    'evaluate': (lambda: evaluate(MODEL, IMAGE), 'images is array'),
    'evaluate list': (lambda: evaluate(MODEL, [1]), 'an image is 1; it has'),
}


@pytest.mark.parametrize(
    'device', [None, 5, [1], IMAGE, b'cpu', 'gpu', 'cuda:99', 10**400]
)
def test_odd_devices(device):
    for call in (
        lambda: nm.load_model('mobile_sam_cells', device),
        lambda: large(model='mobile_sam_cells', device=device),
    ):
        with pytest.raises(ValueError, match='device .*choose auto'):
            call()


@pytest.mark.parametrize('kind', ODD)
def test_odd_arguments(kind):
    call, words = ODD[kind]
    with pytest.raises(SegmentationError, match=words):
        call()


@pytest.mark.parametrize(
    ('call', 'known'),
    [
        (lambda: everything(iou=1), 'predicted_iou'),
        (lambda: refine(iou=1), 'least_overlap, least_score'),
        (lambda: large(iou=1), 'predicted_iou, .*, link_iou'),
    ],
    ids=['everything', 'refine', 'large'],
)
def test_unknown_parameters_are_refused_with_the_known_ones(call, known):
    with pytest.raises(TypeError, match=f"unknown parameter 'iou'; .*{known}"):
        call()


def test_answers_are_printed_without_their_arrays():
    assert 'logits' not in repr(predict())
    embedding = nm.Predictor(MODEL).embed_window(IMAGE)
    assert 'tensor' not in repr(embedding)
