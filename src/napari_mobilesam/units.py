"""Names of units: those of OME-NGFF, their symbols, and what people write."""

from __future__ import annotations

# name in OME-NGFF → symbol in OME
LENGTHS = {
    'picometer': 'pm',
    'angstrom': 'Å',
    'nanometer': 'nm',
    'micrometer': 'µm',
    'millimeter': 'mm',
    'centimeter': 'cm',
    'decimeter': 'dm',
    'meter': 'm',
    'kilometer': 'km',
    'inch': 'in',
}
TIMES = {
    'nanosecond': 'ns',
    'microsecond': 'µs',
    'millisecond': 'ms',
    'second': 's',
    'minute': 'min',
    'hour': 'h',
    'day': 'd',
}
SYMBOLS = {**LENGTHS, **TIMES}
SECONDS = {
    'nanosecond': 1e-9,
    'microsecond': 1e-6,
    'millisecond': 1e-3,
    'second': 1.0,
    'minute': 60.0,
    'hour': 3600.0,
    'day': 86400.0,
}
_OTHERS = {
    'um': 'micrometer',
    # with the Greek letter, and as ImageJ writes the micro sign
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
    **{f'{name[:-2]}re': name for name in LENGTHS if name.endswith('meter')},
}


def unit_name(unit: str) -> str | None:
    """Return the name of a unit in OME-NGFF, such as ``'micrometer'``.

    Parameters
    ----------
    unit : str
        Name in the singular or plural, or symbol, such as ``'µm'``.

    Returns
    -------
    str or None
        None if the unit is not known.
    """
    known = _NAMES.get(unit)
    if known is None and len(unit) > 3:
        known = _NAMES.get(unit.removesuffix('s'))
    return known
