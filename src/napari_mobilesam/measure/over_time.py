"""Tables of measurements of a time series.

An object has the same label at all times, as tracks do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_mobilesam.measure.object_table import measure_objects
from napari_mobilesam.measure.table_columns import TIMES
from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.types import Progress, part_of_progress

if TYPE_CHECKING:
    import pandas as pd

TIME = 't'


def measure_frames(
    labels: Any,
    image: Any = None,
    *,
    scale: Sequence[float] | None = None,
    units: str | None = None,
    channels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure objects in each frame.

    Parameters
    ----------
    labels : array
        (T, H, W) or (T, planes, H, W) integers, 0 is background.
    image : array, optional
        Intensities, with the shape of the labels, optionally with channels
        last.
    scale : sequence of float, optional
        Pixel size along each axis but time.
    units, channels, progress
        As for `measure_objects`.

    Returns
    -------
    DataFrame
        One row per object and frame, with ``label``, ``t``, the number of the
        frame, and the columns of `measure_objects`, for volumes if there are
        planes.

    Raises
    ------
    MeasurementError
        See `measure_objects`.
    """
    import pandas as pd

    count = int(labels.shape[0])
    tables = []
    for time in range(count):
        measured = measure_objects(
            _at(labels, time),
            None if image is None else _at(image, time),
            scale=scale,
            units=units,
            channels=channels,
            # a single plane is no volume
            volumes=len(labels.shape) > 3 and labels.shape[1] > 1,
            progress=part_of_progress(progress, time, count),
        )
        measured.insert(1, TIME, time)
        tables.append(measured)
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(filled, ignore_index=True)


def _at(array: Any, time: int) -> Reordered:
    return Reordered(array, range(1, len(array.shape)), {0: time})


def means_over_time(table: pd.DataFrame) -> pd.DataFrame:
    """Average the measurements of each object over its frames.

    Parameters
    ----------
    table : DataFrame
        Rows from `measure_frames`.

    Returns
    -------
    DataFrame
        One row per object, with means over the frames in which it exists; of
        intensity_min and the first pixels of the box the minimum, of
        intensity_max and the ends of the box the maximum. ``times`` is the
        number of these frames, ``t0`` the first, and ``t1`` the last plus one.
    """
    groups = table.groupby('label')
    names = [name for name in table.columns if name not in ('label', TIME)]
    found = groups[names].agg({name: _summary_of(name) for name in names})
    found.insert(0, TIMES, groups.size())
    found.insert(1, f'{TIME}0', groups[TIME].min())
    found.insert(2, f'{TIME}1', groups[TIME].max() + 1)
    return found.reset_index()


def _summary_of(name: str) -> str:
    """Return how to summarize a column: ``'min'``, ``'max'`` or ``'mean'``."""
    if name.startswith('intensity_min') or name in ('z0', 'row0', 'column0'):
        return 'min'
    if name.startswith('intensity_max') or name in ('z1', 'row1', 'column1'):
        return 'max'
    return 'mean'
