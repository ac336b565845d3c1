"""Arrays and masks as text, for scripts and session files."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import Mask

# A character that base 85 does not use.
BASE_64 = ':'


def array_text(array: NDArray[Any]) -> str:
    """Return an array as text: type, shape, then compressed bytes."""
    shape = ','.join(str(size) for size in array.shape)
    packed = zlib.compress(np.ascontiguousarray(array).tobytes(), 6)
    # base 85 is a little shorter, and a hundred times slower
    text = base64.b64encode(packed).decode()
    return f'{array.dtype.str} {shape} {BASE_64}{text}'


def array_from(text: str) -> NDArray[Any]:
    """Return the array of a text from `array_text`."""
    dtype, sizes, packed = text.split(' ')
    shape = tuple(int(size) for size in sizes.split(',') if size)
    if packed.startswith(BASE_64):
        content = zlib.decompress(base64.b64decode(packed[1:], validate=True))
    else:
        # of files and scripts written before base 64 was used
        content = zlib.decompress(base64.b85decode(packed))
    return np.frombuffer(content, dtype=dtype).reshape(shape).copy()


def mask_text(mask: Mask) -> str:
    """Return the pixels of a mask as text: its box, then packed bits."""
    corners = ' '.join(str(value) for value in mask.box)
    return f'{corners} {array_text(np.packbits(mask.data))}'


def mask_from(text: str) -> Mask:
    """Return the mask of a text from `mask_text`, without scores."""
    row0, column0, row1, column1, bits = text.split(' ', 4)
    box = (int(row0), int(column0), int(row1), int(column1))
    shape = (box[2] - box[0], box[3] - box[1])
    data = np.unpackbits(array_from(bits), count=shape[0] * shape[1])
    return Mask(data.astype(bool).reshape(shape), box, float('nan'))
