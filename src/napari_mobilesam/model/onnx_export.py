"""Export a model as ONNX: image encoder and prompt decoder."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mobilesam.extra import need
from napari_mobilesam.files import new_folder
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.types import Progress, SegmentationError

ENCODER = 'encoder.onnx'
DECODER = 'decoder.onnx'
DECODED = ('low_res_masks', 'iou_predictions')
OPSET = 18
# Verbose loggers of the exporter.
TALKATIVE = ('torch.onnx', 'onnxscript', 'onnx_ir')
# Maximum difference between torch and onnxruntime, relative to the largest
# value.
TOLERANCE = 1e-4


class ModelExportError(SegmentationError):
    """A model cannot be exported; the message says why."""


@dataclass(frozen=True)
class OnnxGraph:
    """A module to export as ONNX.

    Attributes
    ----------
    module : nn.Module
        Module that takes the inputs by name.
    inputs : dict of str to Tensor
        Inputs for tracing and comparison. Inputs named ``point_…`` may have
        any number of points.
    outputs : tuple of str
        Names of the outputs.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class OnnxEncoder(nn.Module):
    """Encoder of RGB values of 0 … 255 to the image embedding.

    Parameters
    ----------
    model : Sam
        Model to wrap.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.image_encoder = model.image_encoder
        self.register_buffer('mean', model.pixel_mean.clone())
        self.register_buffer('std', model.pixel_std.clone())

    def forward(self, image: Tensor) -> Tensor:
        """Embed (1, 3, S, S) RGB values of 0 … 255."""
        return self.image_encoder((image - self.mean) / self.std)


class OnnxDecoder(nn.Module):
    """Decoder of prompts on an embedding to low-res logits and predicted IoU.

    Inputs and outputs have the names and meaning of those in the decoder
    exported by SAM's reference implementation, so that programs made for that
    can use it. The masks are not upscaled.

    Parameters
    ----------
    model : Sam
        Model to wrap.
    """

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode one object.

        Parameters
        ----------
        image_embeddings : Tensor
            (1, 256, s, s) image embedding.
        point_coords : Tensor
            (1, N, 2) x-y in input pixels. A box is two points.
        point_labels : Tensor
            (1, N): 1 positive, 0 negative, 2 and 3 the first and second
            corner of a box, -1 padding, needed once for prompts without a box.
        mask_input : Tensor
            (1, 1, 4s, 4s) low-res logits of a previous answer.
        has_mask_input : Tensor
            (1,): 1 to use ``mask_input``, 0 to ignore it.

        Returns
        -------
        low_res_masks : Tensor
            (1, 4, 4s, 4s) logits: the single mask, then three for
            ambiguous prompts.
        iou_predictions : Tensor
            (1, 4) predicted IoU.
        """
        encoder = self.prompt_encoder
        sparse = encoder.embed_points(point_coords, point_labels)
        dense = (
            has_mask_input * encoder.mask_downscaling(mask_input)
            + (1 - has_mask_input)
            * encoder.no_mask_embed.weight[:, :, None, None]
        )
        tokens, image = self.mask_decoder.attend(
            image_embeddings, encoder.dense_positions(), sparse, dense
        )
        masks = self.mask_decoder.draw(tokens, image, slice(0, 4))
        return masks, self.mask_decoder.predict_iou(tokens)


def export_onnx(
    model: Sam, folder: str | Path, progress: Progress | None = None
) -> dict[str, float]:
    """Write a model as two ONNX files, checked against torch.

    Parameters
    ----------
    model : Sam
        Model to export, on any device.
    folder : path
        Folder to create, with ``encoder.onnx`` and ``decoder.onnx``.
    progress : callable, optional
        ``progress(done, total, message)``.

    Returns
    -------
    dict of str to float
        Largest difference between torch and onnxruntime on random input,
        relative to the largest value, for each file.

    Raises
    ------
    ModelExportError
        If a file differs from the model.
    ImportError
        If onnx or onnxruntime is not installed.
    OSError
        If the folder exists or cannot be written.
    """
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        need(module, 'onnx')
    model = copy.deepcopy(model).cpu().eval()
    differences = {}
    graphs = {ENCODER: encoder_graph(model), DECODER: decoder_graph(model)}
    with new_folder(Path(folder)) as target:
        target.mkdir()
        for number, (name, graph) in enumerate(graphs.items()):
            if progress is not None:
                progress(number, len(graphs), f'Writing {name}')
            write_onnx(graph, target / name)
            differences[name] = check_onnx(graph, target / name)
    return differences


def encoder_graph(model: Sam) -> OnnxGraph:
    """Return the graph of the encoder, with a fixed random image."""
    side = model.input_size
    generator = torch.Generator().manual_seed(0)
    image = 255 * torch.rand(1, 3, side, side, generator=generator)
    return OnnxGraph(
        OnnxEncoder(model).eval(), {'image': image}, ('image_embeddings',)
    )


def decoder_graph(model: Sam) -> OnnxGraph:
    """Return the graph of the decoder, with a point and a mask as input."""
    side, cells = model.input_size, model.embedding_size
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    inputs = {
        'image_embeddings': random(1, 256, cells, cells),
        'point_coords': torch.tensor([[[side / 3, side / 2], [0.0, 0.0]]]),
        'point_labels': torch.tensor([[1.0, -1.0]]),
        'mask_input': 4 * random(1, 1, 4 * cells, 4 * cells),
        'has_mask_input': torch.ones(1),
    }
    return OnnxGraph(OnnxDecoder(model).eval(), inputs, DECODED)


def write_onnx(graph: OnnxGraph, path: Path) -> None:
    """Write a graph as one ONNX file, for any number of points."""
    points = torch.export.Dim('points', min=1, max=1024)
    shapes = {
        name: {1: points} if name.startswith('point_') else {}
        for name in graph.inputs
    }
    with _quiet():
        torch.onnx.export(
            graph.module,
            (),
            path,
            kwargs=graph.inputs,
            output_names=list(graph.outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@torch.no_grad()
def check_onnx(graph: OnnxGraph, path: Path) -> float:
    """Compare an ONNX file with its module.

    Returns
    -------
    float
        Largest difference of any output, relative to its largest value.

    Raises
    ------
    ModelExportError
        If it exceeds `TOLERANCE`.
    """
    session = need('onnxruntime', 'onnx').InferenceSession(
        path, providers=['CPUExecutionProvider']
    )
    arrays = {name: tensor.numpy() for name, tensor in graph.inputs.items()}
    given: list[NDArray[Any]] = session.run(None, arrays)
    wanted = graph.module(**graph.inputs)
    if isinstance(wanted, Tensor):
        wanted = (wanted,)
    difference = max(
        float(np.abs(a - b.numpy()).max() / b.abs().max())
        for a, b in zip(given, wanted, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ModelExportError(
            f'{path.name} differs from the model by {difference:.2g} of its '
            f'largest value, more than the allowed {TOLERANCE:g}. Nothing '
            'was written.'
        )
    return difference
