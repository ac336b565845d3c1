"""TinyViT for fast inference on a CPU.

The same function as `tiny_vit`, which is the one to read first. Only the
memory layout differs. A feature map of the first stage takes 64 MB, and a
processor waits for memory, and for the pages of fresh memory, longer than it
computes. Here

* images are (H, W, C), channels last, and processed in strips of rows,
  or windows, that stay in the cache from one layer to the next;
* batch normalisation is part of the convolution before it;
* the bias of an attention is looked up once per model;
* the padding of the last windows is computed once: it is always the same;
* layers of small inputs, whose operations are short, are recorded for shapes
  that recur.

Strips of a 3 x 3 convolution need a row of their neighbours, which is
computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.blocks import LayerNorm2d, gelu_, linear_gelu
from napari_mobilesam.model.recorded import Recorded
from napari_mobilesam.model.tiny_vit import (
    ConvBN,
    ConvPatchEmbed,
    MBConv,
    PatchMerging,
    Stage,
    TinyViT,
    TinyViTBlock,
)

# Bytes of the widest layer of a strip. Measured: 1.15 times as fast as with a
# quarter, and a few per cent slower than with twice as much, which would not
# fit into smaller caches.
STRIP_BYTES = 1 << 21
# Side above which layers are not recorded, as torch keeps all strips of a
# layer while recording: 150 MB for 1024 x 1024 pixels.
RECORDED_SIDE = 512

Layer = Callable[[Tensor], Tensor]


class FastTinyViT:
    """Fast equivalent of `TinyViT` for inference.

    Parameters
    ----------
    encoder : TinyViT
        Encoder in inference mode; weights are copied where they are folded.
    """

    @torch.no_grad()
    def __init__(self, encoder: TinyViT) -> None:
        self.layers: list[Layer] = [_PatchEmbed(encoder.patch_embed)]
        for stage in encoder.layers:
            assert isinstance(stage, Stage)
            self.layers += _stage(stage)
        self.layers.append(_Neck(encoder.neck))
        self.recorded = [_recorded(layer, encoder) for layer in self.layers]

    @torch.no_grad()
    def __call__(
        self, x: Tensor, between: Callable[[], None] | None = None
    ) -> Tensor:
        """Embed preprocessed images: (B, 3, S, S) to (B, C, S/16, S/16).

        ``between`` is called before each layer, and may raise to stop.
        """
        images = [self._embed(image, between)[None] for image in x]
        return torch.cat(images)

    def _embed(
        self, image: Tensor, between: Callable[[], None] | None
    ) -> Tensor:
        x = image.permute(1, 2, 0).contiguous()
        small = x[..., 0].numel() <= RECORDED_SIDE**2
        for layer in self.recorded if small else self.layers:
            if between is not None:
                between()
            x = layer(x)
        return x.permute(2, 0, 1)


def _recorded(layer: Layer, encoder: TinyViT) -> Layer:
    # canvases may have any shape, and many shapes occur only once
    run = Recorded(lambda x: (layer(x),), encoder, calls_before=1)
    return lambda x: run(x)[0]


def _stage(stage: Stage) -> Iterator[Layer]:
    for block in stage.blocks:
        if isinstance(block, MBConv):
            yield _MBConv(block)
        else:
            assert isinstance(block, TinyViTBlock)
            yield _Block(block)
    if stage.downsample is not None:
        yield _PatchMerging(stage.downsample)


class _Conv(NamedTuple):
    """A padded 3 x 3 convolution of (H, W, C)."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    groups: int

    @classmethod
    def of(cls, layer: ConvBN) -> _Conv:
        weight, bias = layer.folded()
        # Channels last, like the images.
        weight = weight.contiguous(memory_format=torch.channels_last)
        return cls(weight, bias, layer.c.stride[0], layer.c.groups)

    def rows(self, start: int, stop: int, height: int) -> tuple[slice, Pads]:
        """Return the input rows of output rows, and the zeros around them."""
        first, last = start * self.stride - 1, (stop - 1) * self.stride + 2
        rows = slice(max(first, 0), min(last, height))
        return rows, (rows.start - first, last - rows.stop)

    def __call__(self, x: Tensor, pads: Pads = (1, 1)) -> Tensor:
        """Convolve (h, W, C) rows, zero-padded above and below."""
        if any(pads):
            x = functional.pad(x, (0, 0, 0, 0, *pads))
        y = functional.conv2d(
            x[None].permute(0, 3, 1, 2),
            self.weight,
            self.bias,
            self.stride,
            (0, 1),
            groups=self.groups,
        )
        return y.permute(0, 2, 3, 1)[0]


Pads = tuple[int, int]


def _pointwise(layer: ConvBN) -> tuple[Tensor, Tensor]:
    """Return a 1 x 1 convolution as weight and bias of a linear layer."""
    weight, bias = layer.folded()
    return weight.flatten(1), bias


def _strips(height: int, row_values: int) -> Iterator[tuple[int, int]]:
    """Split ``height`` rows of ``row_values`` float32 into strips."""
    rows = max(1, STRIP_BYTES // (4 * row_values))
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


class _PatchEmbed:
    def __init__(self, layer: ConvPatchEmbed) -> None:
        first, _, second = layer.seq
        assert isinstance(first, ConvBN)
        assert isinstance(second, ConvBN)
        self.first, self.second = _Conv.of(first), _Conv.of(second)

    def __call__(self, x: Tensor) -> Tensor:
        half, quarter = x.shape[0] // 2, x.shape[0] // 4
        out = x.new_empty(quarter, x.shape[1] // 4, len(self.second.weight))
        for start, stop in _strips(quarter, 2 * out.shape[1] * out.shape[2]):
            middle, pads = self.second.rows(start, stop, half)
            rows, outer = self.first.rows(middle.start, middle.stop, len(x))
            hidden = gelu_(self.first(x[rows], outer))
            out[start:stop] = self.second(hidden, pads)
        return out


class _MBConv:
    def __init__(self, layer: MBConv) -> None:
        self.expand = _pointwise(layer.conv1)
        self.conv = _Conv.of(layer.conv2)
        self.project = _pointwise(layer.conv3)

    def __call__(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        height, width, _ = x.shape
        for start, stop in _strips(height, width * len(self.conv.weight)):
            rows, pads = self.conv.rows(start, stop, height)
            hidden = linear_gelu(x[rows], *self.expand)
            hidden = gelu_(self.conv(hidden, pads))
            y = functional.linear(hidden, *self.project).add_(x[start:stop])
            torch.ops.aten.gelu.out(y, out=out[start:stop])
        return out


class _PatchMerging:
    def __init__(self, layer: PatchMerging) -> None:
        self.widen = _pointwise(layer.conv1)
        self.conv = _Conv.of(layer.conv2)
        self.project = _pointwise(layer.conv3)

    def __call__(self, x: Tensor) -> Tensor:
        height, width, _ = x.shape
        stride, channels = self.conv.stride, len(self.conv.weight)
        # rounded up, like the padded convolution
        out = x.new_empty(-(-height // stride), -(-width // stride), channels)
        for start, stop in _strips(len(out), stride * width * channels):
            rows, pads = self.conv.rows(start, stop, height)
            hidden = linear_gelu(x[rows], *self.widen)
            hidden = gelu_(self.conv(hidden, pads))
            out[start:stop] = functional.linear(hidden, *self.project)
        return out


class _Block:
    """Window attention, depthwise convolution and MLP."""

    def __init__(self, block: TinyViTBlock) -> None:
        self.window = block.window
        self.attention = block.attn
        self.bias = block.attn.position_bias().contiguous()
        self.conv = _Conv.of(block.local_conv)
        self.mlp = block.mlp

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv(self._attend(x))
        channels = x.shape[2]
        tokens = x.view(-1, channels)
        hidden = self.mlp.fc1.out_features
        for start, stop in _strips(len(tokens), hidden):
            part = tokens[start:stop]
            y = linear_gelu(
                self.mlp.norm(part), self.mlp.fc1.weight, self.mlp.fc1.bias
            )
            part += self.mlp.fc2(y)
        return x

    def _attend(self, x: Tensor) -> Tensor:
        """Apply attention and residual, one row of windows after the other."""
        window, layer = self.window, self.attention
        height, width, channels = x.shape
        columns = -(-width // window)
        out = torch.empty_like(x)
        # Zero padding becomes the bias of the norm when normalised.
        padded = layer.norm.bias.expand(window, columns * window, -1).clone()
        for start in range(0, height, window):
            rows = slice(start, min(start + window, height))
            band = x[rows]
            if len(band) < window:
                padded[len(band) :] = layer.norm.bias
            padded[: len(band), :width] = layer.norm(band)
            windows = padded.view(window, columns, window, channels)
            windows = windows.transpose(0, 1).reshape(columns, -1, channels)
            seen = layer.mix(windows, self.bias)
            seen = seen.view(columns, window, window, channels)
            seen = seen.transpose(0, 1)[: len(band)].flatten(1, 2)[:, :width]
            torch.add(band, layer.proj(seen.contiguous()), out=out[rows])
        return out


class _Neck:
    def __init__(self, layers: nn.Sequential) -> None:
        first, norm, conv, last = layers
        assert isinstance(first, nn.Conv2d)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(last, LayerNorm2d)
        self.project = first.weight.flatten(1)
        weight = conv.weight.contiguous(memory_format=torch.channels_last)
        self.conv = _Conv(weight, None, 1, 1)
        self.norms = norm, last

    def __call__(self, x: Tensor) -> Tensor:
        first, last = self.norms
        x = first.normalise(functional.linear(x, self.project))
        return last.normalise(self.conv(x))
