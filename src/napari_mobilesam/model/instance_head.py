"""Instance head: maps of all objects from the embedding of an image.

A decoder for foreground, distance to the centre and distance to the boundary
of objects, as in Segment Anything for Microscopy (Archit et al. 2025,
"Automatic instance segmentation"), but small: it only locates prompts for the
mask decoder. Its receptive field is a few cells and it has no positional
encoding, so an embedding can be processed in blocks.
"""

from __future__ import annotations

from torch import Tensor, nn

from napari_mobilesam.model.blocks import LayerNorm2d

# Prefix of its weights in a checkpoint.
PREFIX = 'instance_head.'
# Channels of the maps.
FOREGROUND, CENTRE, BOUNDARY = range(3)
MAPS = 3
# Map pixels along a cell of the embedding; each is 4 input pixels wide.
MAP_PIXELS = 4


class _Convolutions(nn.Module):
    """Two 3 x 3 convolutions with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform features, keeping their shape and channels."""
        return x + self.layers(x)


class InstanceHead(nn.Module):
    """Convolutional decoder of instances.

    Parameters
    ----------
    embedding_channels : int
        Channels of the image embedding.
    channels : int
        Channels at the resolution of the embedding; there are half as many at
        twice and a quarter at four times that resolution.
    """

    def __init__(
        self, embedding_channels: int = 256, channels: int = 128
    ) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.layers = nn.Sequential(
            nn.Conv2d(embedding_channels, channels, 1),
            _Convolutions(channels),
            nn.GELU(),
            nn.ConvTranspose2d(channels, half, 2, stride=2),
            _Convolutions(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(quarter, quarter, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(quarter, MAPS, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of the maps.

        Parameters
        ----------
        features : Tensor
            (B, C, h, w) image embedding of any height and width.

        Returns
        -------
        Tensor
            (B, 3, 4h, 4w) before the sigmoid: foreground, closeness to the
            centre (1 there, 0 at the farthest point of the object), and
            distance to the boundary (1 at its maximum in the object, 0
            outside).
        """
        return self.layers(features)
