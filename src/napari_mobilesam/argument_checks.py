"""Validation of the arguments of public functions.

Every message gives the argument, its value and the allowed values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import ImageError, SegmentationError

# Maximum pixels of an image in memory: 6 GB as RGB.
MOST_PIXELS = 1 << 31
# Maximum pixels and planes of an array processed in parts, which takes hours.
MOST_PIXELS_IN_PARTS = 1 << 38
MOST_PLANES = 1 << 20
# The limit of session files.
LONGEST_CLASS_NAME = 1000
# Maximum characters of a quoted value.
QUOTED = 60


def quoted(value: Any) -> str:
    """Return a value as a short text on one line, for messages."""
    if isinstance(value, np.generic):
        value = value.item()
    try:
        text = ' '.join(repr(value).split())
    except Exception:  # noqa: BLE001 - any object may be given
        text = f'a {type(value).__name__}'
    return text if len(text) <= QUOTED else f'{text[:QUOTED]}…'


def check_number(
    name: str,
    value: Any,
    least: float,
    most: float = math.inf,
    *,
    whole: bool = False,
) -> None:
    """Check that a value is a number within a range.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : object
        Value of the argument.
    least, most : float
        Allowed range, inclusive.
    whole : bool
        Allow integers only.

    Raises
    ------
    SegmentationError
        If the value is not a finite number within the range.
    """
    kind: Any = Integral if whole else Real
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    # compare: math.isfinite fails for integers too large for a float
    if is_number and least <= value <= most and abs(value) < math.inf:
        return
    wanted = []
    if not is_number:
        wanted.append('a whole number' if whole else 'a number')
    if most < math.inf:
        wanted.append(f'from {least:g} to {most:g}')
    elif least > -math.inf:
        wanted.append(f'at least {least:g}')
    raise SegmentationError(
        f'{name} is {quoted(value)}; it has to be '
        f'{", ".join(wanted) or "finite"}.'
    )


def check_flag(name: str, value: Any) -> None:
    """Raise `SegmentationError` if a value is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise SegmentationError(
            f'{name} is {quoted(value)}; it has to be True or False.'
        )


def check_callable(name: str, value: Any) -> None:
    """Raise `SegmentationError` if a value is neither callable nor None."""
    if value is not None and not callable(value):
        raise SegmentationError(
            f'{name} is {quoted(value)}; it has to be a function, or None.'
        )


def check_instance(
    name: str, value: Any, wanted: type, optional: bool = True
) -> None:
    """Raise `SegmentationError` if a value is not of a class."""
    if not isinstance(value, wanted) and not (optional and value is None):
        raise SegmentationError(
            f'{name} is {quoted(value)}; it has to be an instance of '
            f'{wanted.__name__}{", or None" if optional else ""}.'
        )


def check_text(name: str, value: Any) -> None:
    """Raise `SegmentationError` if a value is not a string."""
    if not isinstance(value, str):
        raise SegmentationError(f'{name} is {quoted(value)}; give a string.')


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise `SegmentationError` if a value is not among some strings."""
    if not isinstance(value, str) or value not in choices:
        raise SegmentationError(
            f'{name} is {quoted(value)}; choose one of {", ".join(choices)}.'
        )


def check_class_name(name: str, value: Any) -> None:
    """Raise `SegmentationError` if a value is not a valid class name."""
    check_text(name, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SegmentationError(
            f'{name} is {quoted(value)}; give text that UTF-8 can encode.'
        ) from None
    if len(value) > LONGEST_CLASS_NAME:
        raise SegmentationError(
            f'{name} has {len(value):,} characters; give '
            f'at most {LONGEST_CLASS_NAME:,}.'
        )


def check_sizes(name: str, value: Any, most: int) -> None:
    """Raise `SegmentationError` if a value is not a list of positive numbers.

    Parameters
    ----------
    name, value : str, object
        Name and value of the argument.
    most : int
        Maximum length of the list.
    """
    if (
        not isinstance(value, Sequence | np.ndarray)
        or not are_numbers(value)
        or len(value) > most
        or not all(0 < number < math.inf for number in value)
    ):
        raise SegmentationError(
            f'{name} is {quoted(value)}; give a number above 0 for each axis.'
        )


def check_model(model: Any) -> None:
    """Raise `SegmentationError` if a value is not a loaded model."""
    parts = ('record', 'key', 'encode')
    if isinstance(model, type) or not all(hasattr(model, p) for p in parts):
        raise SegmentationError(
            f'model is {quoted(model)}; it has to be a model from '
            'napari_mobilesam.load_model.'
        )


def checked_array(image: Any, name: str = 'image') -> Any:
    """Return an array unchanged, and anything else as a NumPy array.

    Raises
    ------
    ImageError
        If it is not an array of pixels, or has masked elements.
    """
    _check_unmasked(name, image)
    if hasattr(image, 'shape') and hasattr(image, 'dtype'):
        try:
            np.dtype(image.dtype)
        except TypeError:
            raise ImageError(
                f'{name} is a {type(image).__module__}.'
                f'{type(image).__name__} of {image.dtype}; give a NumPy '
                f'array, for example {name}.numpy(force=True).'
            ) from None
        _check_shape(name, image.shape)
        return image
    if image is None or isinstance(image, str | bytes | dict):
        raise ImageError(
            f'{name} is {quoted(image)}; give an array of pixels. Read image '
            'files with a package such as tifffile or imageio.'
        )
    try:
        return np.asarray(image)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f'{name} is a {type(image).__name__} that is not an array '
            f'({error}); give rows of the same length.'
        ) from error


def small_array(values: Any, name: str) -> NDArray[Any]:
    """Return values as a NumPy array that fits in memory.

    Raises
    ------
    ImageError
        If there are too many, some are masked, or their shape is unknown.
    TypeError, ValueError, RuntimeError
        If they cannot be converted to an array.
    """
    _check_unmasked(name, values)
    shape = getattr(values, 'shape', None)
    if isinstance(shape, tuple):
        _check_shape(name, shape)
        check_pixels(shape, name)
    return np.asarray(values)


def _check_unmasked(name: str, values: Any) -> None:
    """Raise `ImageError` for masked elements, whose values mean nothing."""
    if np.ma.is_masked(values):
        count = int(np.count_nonzero(np.ma.getmaskarray(values)))
        raise ImageError(
            f'{name} is a masked array with {count:,} masked elements; fill '
            f'them, for example {name}.filled(0).'
        )


def check_numbers(array: Any, name: str = 'image') -> None:
    """Raise `ImageError` if a value is not an array of pixels."""
    if not (hasattr(array, 'shape') and hasattr(array, 'dtype')):
        raise ImageError(f'{name} is {quoted(array)}; give an array.')
    checked_array(array, name)


def are_numbers(values: Any) -> bool:
    """Return whether a value is a sequence of real numbers."""
    if not hasattr(values, '__len__') or getattr(values, 'ndim', 1) != 1:
        return False
    try:
        _check_shape('values', getattr(values, 'shape', ()))
        return len(values) <= MOST_PLANES and all(
            isinstance(value, Real) for value in values
        )
    except (TypeError, SegmentationError):
        return False


def check_path(name: str, value: Any) -> None:
    """Raise `SegmentationError` if a value is not a path."""
    if not isinstance(value, str | os.PathLike):
        raise SegmentationError(
            f'{name} is {quoted(value)}; it has to be the path of a file.'
        )


def check_pixels(shape: Sequence[int], name: str = 'image') -> None:
    """Raise `ImageError` if an image is too large for memory."""
    count = math.prod(shape)
    if count > MOST_PIXELS:
        count = min(count, 10**100)
        raise ImageError(
            f'{name} has {count:.2g} pixels, more than the {MOST_PIXELS:.2g} '
            'that are held in memory at once: give a crop of it, or use '
            'napari_mobilesam.segment_large.'
        )


def check_extent(shape: Sequence[int]) -> None:
    """Raise `ImageError` if labels are too large even to read in parts."""
    count = math.prod(shape)
    if count > MOST_PIXELS_IN_PARTS:
        raise ImageError(
            f'labels has {count:.2g} pixels, more than the '
            f'{MOST_PIXELS_IN_PARTS:.2g} that are processed in one run: '
            'give a part of it.'
        )
    planes = math.prod(shape[:-2])
    if planes > MOST_PLANES:
        raise ImageError(
            f'labels has {planes:,} planes, more than the {MOST_PLANES:,} '
            'that are processed in one run: give a part of it.'
        )


def check_plane_shape(name: str, shape: Any) -> None:
    """Raise `SegmentationError` if a value is not the shape of a plane."""
    if (
        not isinstance(shape, Sequence)
        or not are_numbers(shape)
        or len(shape) != 2
        or not all(n >= 1 and n % 1 == 0 for n in shape)
    ):
        raise SegmentationError(
            f'{name} is {quoted(shape)}; it has to be (rows, columns), whole '
            'numbers of at least 1.'
        )
    check_pixels(shape, name)


def _check_shape(name: str, shape: Any) -> None:
    if any(size != size for size in shape):  # NaN: not computed yet
        raise ImageError(
            f'{name} has the shape {tuple(shape)}, which is not computed yet: '
            'call compute_chunk_sizes() of the dask array first.'
        )
