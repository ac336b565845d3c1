"""Arrays and masks as text, for scripts and session files."""

from __future__ import annotations

import base64
import math
import re
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import Mask

# A character not used by base 85.
BASE_64 = ':'
# Fixed-size number types; no others are read.
DTYPE = re.compile(r'[<>|=]?[biuf][1248]')
# Maximum bytes of an array, since a short text may claim many.
MOST_BYTES = 1 << 26


def array_text(array: NDArray[Any]) -> str:
    """Encode an array as text: type, shape, then compressed bytes."""
    shape = ','.join(str(size) for size in array.shape)
    packed = zlib.compress(np.ascontiguousarray(array).tobytes(), 6)
    # base 85 is a little shorter, but a hundred times slower
    text = base64.b64encode(packed).decode()
    return f'{array.dtype.str} {shape} {BASE_64}{text}'


def array_from(text: str) -> NDArray[Any]:
    """Decode an array from the text of `array_text`.

    Raises
    ------
    ValueError
        The text is damaged, or claims more than `MOST_BYTES`.
    """
    dtype, sizes, packed = text.split(' ')
    if not DTYPE.fullmatch(dtype):
        raise ValueError(f'{dtype[:20]!r} is not a numeric type')
    shape = tuple(int(size) for size in sizes.split(',') if size)
    count = math.prod(shape) * np.dtype(dtype).itemsize
    if min(shape, default=0) < 0 or count > MOST_BYTES:
        raise ValueError(f'an array of shape {sizes[:40]} is too large')
    if packed.startswith(BASE_64):
        content = base64.b64decode(packed[1:], validate=True)
    else:
        # for files and scripts written before base 64 was used
        content = base64.b85decode(packed)
    # one byte more than expected shows that there is too much
    values = zlib.decompressobj().decompress(content, count + 1)
    if len(values) != count:
        raise ValueError(f'an array of shape {sizes[:40]} has other pixels')
    return np.frombuffer(values, dtype=dtype).reshape(shape).copy()


def mask_text(mask: Mask) -> str:
    """Encode the pixels of a mask as text: its box, then packed bits."""
    corners = ' '.join(str(value) for value in mask.box)
    return f'{corners} {array_text(np.packbits(mask.data))}'


def mask_from(text: str) -> Mask:
    """Decode a mask from the text of `mask_text`, without scores.

    Raises
    ------
    ValueError
        The text is damaged, or claims more than `MOST_BYTES` of bits.
    """
    row0, column0, row1, column1, bits = text.split(' ', 4)
    box = (int(row0), int(column0), int(row1), int(column1))
    shape = (box[2] - box[0], box[3] - box[1])
    if min(shape) < 0:
        raise ValueError(f'a mask in the box {box} has a negative size')
    packed = array_from(bits)
    if packed.shape != (math.ceil(shape[0] * shape[1] / 8),):
        raise ValueError(f'a mask in the box {box} has other pixels')
    data = np.unpackbits(packed, count=shape[0] * shape[1])
    return Mask(data.astype(bool).reshape(shape), box, float('nan'))
