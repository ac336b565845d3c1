"""Export of a model as a package for bioimage.io."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mobilesam.extra import need
from napari_mobilesam.files import atomic_path
from napari_mobilesam.model.onnx_export import (
    DECODED,
    OPSET,
    ModelExportError,
    OnnxDecoder,
    OnnxEncoder,
    OnnxGraph,
    check_onnx,
    write_onnx,
)
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.types import ModelRecord, Progress

SPEC = 'bioimageio.spec'
# SPDX identifiers at the start of the licences of model records.
LICENCES = ('Apache-2.0', 'BSD-3-Clause', 'CC0-1.0', 'CC-BY-4.0', 'MIT')
CITATIONS = (
    (
        'Kirillov et al. 2023, Segment Anything',
        '10.48550/arXiv.2304.02643',
    ),
    (
        'Zhang et al. 2023, Faster Segment Anything',
        '10.48550/arXiv.2306.14289',
    ),
)


class PromptedModel(nn.Module):
    """Network from image and points to low-res logits and predicted IoU.

    Parameters
    ----------
    model : Sam
        Model to wrap.
    """

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.encoder = OnnxEncoder(model)
        self.decoder = OnnxDecoder(model)
        cells = 4 * model.embedding_size
        self.register_buffer('no_mask', torch.zeros(1, 1, cells, cells))

    def forward(
        self, image: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Segment one object; see `OnnxDecoder`."""
        return self.decoder(
            self.encoder(image),
            point_coords,
            point_labels,
            self.no_mask,
            torch.zeros(1),
        )


def export_bioimageio(
    model: Sam,
    path: str | Path,
    *,
    authors: Sequence[str] = (),
    progress: Progress | None = None,
) -> float:
    """Write a model as a package for bioimage.io.

    The package contains an ONNX graph, checked against torch, with test inputs
    and outputs, and a description from the record of the model.

    Parameters
    ----------
    model : Sam
        Model to export, on any device.
    path : path
        ``.zip`` to write.
    authors : sequence of str, optional
        Names of the authors of the model.
    progress : callable, optional
        ``progress(done, total, message)``.

    Returns
    -------
    float
        Largest difference between torch and onnxruntime on the test input,
        relative to the largest value.

    Raises
    ------
    ModelExportError
        If the graph and the model give different results, or the package is
        not valid.
    ImportError
        If onnx, onnxruntime or bioimageio.spec is not installed.
    OSError
        If the file exists or cannot be written.
    """
    path = Path(path)
    need(SPEC, 'onnx')
    if path.exists():
        raise FileExistsError(
            f'{path} exists: remove it, or choose another name.'
        )
    model = copy.deepcopy(model).cpu().eval()
    graph = prompted_graph(model)
    tell: Progress = progress or (lambda done, total, message: None)
    with (
        tempfile.TemporaryDirectory() as name,
        atomic_path(path, keep_suffix=True) as target,
    ):
        folder = Path(name)
        tell(0, 2, 'Writing model.onnx')
        write_onnx(graph, folder / 'model.onnx')
        difference = check_onnx(graph, folder / 'model.onnx')
        _save_tests(graph, folder)
        tell(1, 2, 'Checking the package')
        _package(model, folder, list(authors), target)
    return difference


def prompted_graph(model: Sam) -> OnnxGraph:
    """Return the graph of the model, with a bright disc as test input."""
    side = model.input_size
    rows, columns = torch.meshgrid(
        torch.arange(side), torch.arange(side), indexing='ij'
    )
    away = (rows - side / 2) ** 2 + (columns - side / 3) ** 2
    generator = torch.Generator().manual_seed(0)
    noise = 40 * torch.rand(1, 3, side, side, generator=generator)
    inputs = {
        'image': noise + 150 * (away < (side / 8) ** 2),
        'point_coords': torch.tensor([[[side / 3, side / 2], [0.0, 0.0]]]),
        'point_labels': torch.tensor([[1.0, -1.0]]),
    }
    return OnnxGraph(PromptedModel(model).eval(), inputs, DECODED)


@torch.no_grad()
def _save_tests(graph: OnnxGraph, folder: Path) -> None:
    values = graph.module(**graph.inputs)
    outputs = dict(zip(graph.outputs, values, strict=True))
    for name, tensor in {**graph.inputs, **outputs}.items():
        np.save(folder / f'{name}.npy', tensor.numpy())


def _readme(record: ModelRecord) -> str:
    return (
        f'# {record.name}\n\n{record.purpose}\n\n'
        f'Promptable segmentation: an RGB image of {record.input_size} × '
        f'{record.input_size} pixels and points of one object give four '
        'masks (one for certain prompts, three for an ambiguous one) as '
        'logits at a quarter of the size, and their predicted IoU. Objects '
        f'of {record.object_diameter.smallest:g} to '
        f'{record.object_diameter.largest:g} pixels suit it.\n\n'
        '## Validation\n\nThe graph was compared with the model in torch on '
        f'the test input.\n\n{record.citation}\n'
    )


def _package(
    model: Sam, folder: Path, authors: list[str], target: Path
) -> None:
    """Describe the files, validate the description, and zip them."""
    os.environ.setdefault('BIOIMAGEIO_LOG_WARNINGS', 'false')
    spec = need(f'{SPEC}.model.v0_5', 'onnx')
    save = need(SPEC, 'onnx').save_bioimageio_package
    record = model.record
    (folder / 'README.md').write_text(_readme(record), 'utf-8')
    try:
        described = spec.ModelDescr(
            name=record.name,
            description=(record.purpose or 'Promptable segmentation')[:1024],
            authors=[spec.Author(name=name) for name in authors],
            cite=[
                spec.CiteEntry(text=text, doi=doi) for text, doi in CITATIONS
            ],
            license=_licence(record),
            documentation=spec.FileDescr(source=folder / 'README.md'),
            tags=['segmentation', 'segment-anything', 'napari-mobilesam'],
            inputs=_inputs(spec, model, folder),
            outputs=_outputs(spec, model, folder),
            weights=spec.WeightsDescr(
                onnx=spec.OnnxWeightsDescr(
                    source=folder / 'model.onnx', opset_version=OPSET
                )
            ),
        )
        save(described, output_path=target)
    except ValueError as error:
        raise ModelExportError(
            f'bioimage.io rejects the description of {record.name}: {error}'
        ) from error


def _licence(record: ModelRecord) -> str | None:
    """Return the SPDX identifier at the start of the licence, if any."""
    first = record.licence.split()[0].rstrip(',;.') if record.licence else ''
    return first if first in LICENCES else None


def _inputs(spec: Any, model: Sam, folder: Path) -> list[Any]:
    side = model.input_size
    return [
        _input(
            spec,
            folder,
            'image',
            'RGB values of 0 to 255. Pad with (123.675, 116.28, 103.53).',
            [
                spec.ChannelAxis(channel_names=['red', 'green', 'blue']),
                spec.SpaceInputAxis(id='y', size=side),
                spec.SpaceInputAxis(id='x', size=side),
            ],
        ),
        _input(
            spec,
            folder,
            'point_coords',
            'Positions in pixels; a box is its two corners.',
            [
                _points(spec),
                spec.ChannelAxis(channel_names=['x', 'y']),
            ],
        ),
        _input(
            spec,
            folder,
            'point_labels',
            '1 positive, 0 negative, 2 and 3 corners of a box, -1 padding.',
            [_points(spec)],
        ),
    ]


def _points(spec: Any) -> Any:
    return spec.IndexInputAxis(
        id='point', size=spec.ParameterizedSize(min=1, step=1)
    )


def _input(
    spec: Any, folder: Path, name: str, description: str, axes: list[Any]
) -> Any:
    return spec.InputTensorDescr(
        id=name,
        description=description,
        axes=[spec.BatchAxis(size=1), *axes],
        test_tensor=spec.FileDescr(source=folder / f'{name}.npy'),
        data=spec.IntervalOrRatioDataDescr(type='float32'),
    )


def _outputs(spec: Any, model: Sam, folder: Path) -> list[Any]:
    quarter = 4 * model.embedding_size
    names = ['single', 'first', 'second', 'third']
    axes = {
        'low_res_masks': [
            spec.SpaceOutputAxis(id='y', size=quarter),
            spec.SpaceOutputAxis(id='x', size=quarter),
        ],
        'iou_predictions': [],
    }
    descriptions = {
        'low_res_masks': 'Logits of four masks; positive is inside.',
        'iou_predictions': 'Predicted IoU of each mask.',
    }
    return [
        spec.OutputTensorDescr(
            id=name,
            description=descriptions[name],
            axes=[
                spec.BatchAxis(size=1),
                spec.ChannelAxis(channel_names=names),
                *more,
            ],
            test_tensor=spec.FileDescr(source=folder / f'{name}.npy'),
            data=spec.IntervalOrRatioDataDescr(type='float32'),
        )
        for name, more in axes.items()
    ]
