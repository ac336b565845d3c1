"""Units: their OME-NGFF names, symbols and common spellings."""

from __future__ import annotations

from collections.abc import Sequence

# OME-NGFF name → OME symbol, and size in meters or seconds
_LENGTHS = {
    'picometer': ('pm', 1e-12),
    'angstrom': ('Å', 1e-10),
    'nanometer': ('nm', 1e-9),
    'micrometer': ('µm', 1e-6),
    'millimeter': ('mm', 1e-3),
    'centimeter': ('cm', 1e-2),
    'decimeter': ('dm', 1e-1),
    'meter': ('m', 1.0),
    'kilometer': ('km', 1e3),
    'inch': ('in', 0.0254),
}
_TIMES = {
    'nanosecond': ('ns', 1e-9),
    'microsecond': ('µs', 1e-6),
    'millisecond': ('ms', 1e-3),
    'second': ('s', 1.0),
    'minute': ('min', 60.0),
    'hour': ('h', 3600.0),
    'day': ('d', 86400.0),
}
SYMBOLS = {
    name: symbol
    for units in (_LENGTHS, _TIMES)
    for name, (symbol, _) in units.items()
}
# names of the axis of time
TIME_NAMES = ('t', 'time', 'frame', 'frames')
METERS = {name: size for name, (_, size) in _LENGTHS.items()}
SECONDS = {name: size for name, (_, size) in _TIMES.items()}
_OTHERS = {
    'um': 'micrometer',
    # with the Greek letter mu, and ImageJ's escape of the micro sign
    '\u03bcm': 'micrometer',
    '\\u00B5m': 'micrometer',
    'micron': 'micrometer',
    'us': 'microsecond',
    '\u03bcs': 'microsecond',
    'sec': 'second',
    'hr': 'hour',
}
_NAMES = {
    **_OTHERS,
    **{name: name for name in SYMBOLS},
    **{symbol: name for name, symbol in SYMBOLS.items()},
    **{f'{name[:-2]}re': name for name in METERS if name.endswith('meter')},
}


def converted(size: float, unit: str | None, to: str | None) -> float | None:
    """Return a length or a time in another unit.

    Parameters
    ----------
    size : float
        Length or duration.
    unit, to : str or None
        Its unit and the unit to convert to, as known to `unit_name`.

    Returns
    -------
    float or None
        None if the units cannot be converted.
    """
    unit, to = (each and (unit_name(each) or each) for each in (unit, to))
    if unit == to:
        return size
    for factors in (METERS, SECONDS):
        if unit in factors and to in factors:
            return size * (factors[unit] / factors[to])
    return None


def in_one_unit(
    scale: Sequence[float],
    units: Sequence[str | None],
    to: str | None = None,
) -> tuple[tuple[float, ...], str] | tuple[None, None]:
    """Return the pixel size along all axes in one unit.

    Parameters
    ----------
    scale : sequence of float
        Size of a pixel along each axis.
    units : sequence of str or None
        Unit of each axis.
    to : str, optional
        Unit to convert to; by default that of the last axis.

    Returns
    -------
    scale : tuple of float or None
        None if nothing can be measured, as an axis is time or has no unit or
        one that cannot be converted.
    symbol : str or None
        Symbol of the unit, such as ``'µm'``.
    """
    to = to or (units[-1] if units else None)
    sizes = [
        converted(size, unit, to)
        for size, unit in zip(scale, units, strict=True)
    ]
    known = tuple(size for size in sizes if size is not None)
    if to is None or is_time(to) or len(known) < len(sizes):
        return None, None
    return known, symbol_of(to)


def symbol_of(unit: str) -> str:
    """Return the symbol of a unit, or an unknown unit unchanged."""
    return SYMBOLS.get(unit_name(unit) or '', unit)


def is_time(unit: str | None) -> bool:
    """Return whether a unit is a unit of time."""
    return unit is not None and unit_name(unit) in SECONDS


def is_time_axis(name: str, unit: str | None = None) -> bool:
    """Return whether an axis is time, by its name or unit."""
    return name.lower() in TIME_NAMES or is_time(unit)


def unit_name(unit: str) -> str | None:
    """Return the OME-NGFF name of a unit, such as ``'micrometer'``.

    Parameters
    ----------
    unit : str
        Singular or plural name, or symbol, such as ``'µm'``.

    Returns
    -------
    str or None
        None if the unit is unknown.
    """
    known = _NAMES.get(unit)
    if known is None and len(unit) > 3:
        known = _NAMES.get(unit.removesuffix('s'))
    return known
