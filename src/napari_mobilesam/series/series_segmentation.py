"""*Segment everything* on all images of a series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_instance
from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import series_lock
from napari_mobilesam.series.series_images import ImageArray
from napari_mobilesam.text import counted, explain
from napari_mobilesam.types import (
    BlankImageError,
    EverythingParameters,
    Progress,
    part_of_progress,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

# Steps of the progress of one image.
STEPS = 1000
Write = Callable[[int, NDArray[Any], 'pd.DataFrame', ImageArray], bool]


@dataclass
class SeriesResult:
    """Outcome of *segment everything* on a series.

    Attributes
    ----------
    done : list of int
        Numbers of the images that were segmented.
    objects : int
        Number of objects found in them.
    skipped : list of int
        Numbers of the images that have labels, or are done or flagged.
    failed : dict of int to str
        Reason for each image that could not be segmented.
    complete : bool
        False if the run was cancelled.
    channel : int
        Channel that was segmented in images with several.
    with_channels : list of int
        Numbers of the images in `done` with several channels.
    """

    done: list[int] = field(default_factory=list)
    objects: int = 0
    skipped: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    complete: bool = True
    channel: int = 0
    with_channels: list[int] = field(default_factory=list)

    def add(self, number: int, objects: int, several_channels: bool) -> None:
        """Count an image as segmented."""
        self.done.append(number)
        if several_channels:
            self.with_channels.append(number)
        self.objects += objects

    def leave_out(self, number: int, objects: int, problem: str = '') -> None:
        """Count an image as skipped or failed: it has no new labels."""
        self.done.remove(number)
        if number in self.with_channels:
            self.with_channels.remove(number)
        self.objects -= objects
        if problem:
            self.failed[number] = problem
        else:
            self.skipped.append(number)

    @property
    def text(self) -> str:
        """A summary for the user."""
        stopped = '' if self.complete else 'Stopped. '
        text = (
            f'{stopped}{counted(self.objects, "object")} in '
            f'{counted(len(self.done), "image")}.'
        )
        if self.with_channels:
            count = counted(len(self.with_channels), 'image')
            text += (
                f' Channel {self.channel} was segmented in {count} with '
                'several channels.'
            )
        if self.skipped:
            count = counted(len(self.skipped), 'image')
            text += f' {count} skipped: labelled, done or flagged.'
        if self.failed:
            reason = next(iter(self.failed.values()))
            text += f' {counted(len(self.failed), "image")} failed: {reason}'
        return text


def segment_series(
    series: Series,
    model: Sam,
    parameters: EverythingParameters | None = None,
    *,
    channel: int = 0,
    write: Write | None = None,
    on_image: Callable[[int], None] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SeriesResult:
    """Segment all images of a series that have no labels yet.

    Images that are done or flagged are skipped. An image that fails is
    reported and does not stop the others.

    Parameters
    ----------
    series : Series
        Series of images; their labels are saved one by one.
    model : Sam
        Model from `load_model`.
    parameters : EverythingParameters, optional
        Parameters for all images.
    channel : int
        Channel to segment in images with several, from 0.
    write : callable, optional
        ``write(number, labels, table, image)``, called instead of
        `Series.save_labels`; returns whether the labels were accepted.
    on_image : callable, optional
        Called with the number of each image that is finished or failed.
    progress : callable, optional
        Called with steps done, total steps and a message.
    cancelled : callable, optional
        Called between the steps of an image; returning True ends the run and
        drops the current image.

    Returns
    -------
    SeriesResult
        What was segmented, and what failed.

    Raises
    ------
    OutputInUseError
        If another run writes to the same folder.
    SeriesError
        If nothing can be written there.

    Examples
    --------
    >>> import napari_mobilesam as nm
    >>> series = nm.Series.open('images')  # doctest: +SKIP
    >>> nm.segment_series(series, nm.load_model()).text  # doctest: +SKIP
    """
    check_instance('series', series, Series, optional=False)
    result = SeriesResult(channel=channel)
    cancelled = cancelled or (lambda: False)
    with series_lock(series.folder):
        for number in range(len(series)):
            if cancelled():
                result.complete = False
                break
            # another window may have saved, flagged or finished it
            series.refresh(number)
            entry = series[number]
            if entry.status != 'to do' or entry.labelled:
                result.skipped.append(number)
                continue
            tell = _progress_of(series, number, progress)
            try:
                image = series.read_image(number)
                labels, table = segment_image(
                    image, model, parameters, tell, cancelled, channel
                )
                if cancelled():
                    result.complete = False
                    break
                given = number, labels, table, image
                taken = write(*given) if write else series.save_labels(*given)
            # an error in one image must not stop the others
            except Exception as error:  # noqa: BLE001
                result.failed[number] = explain(error)
            else:
                if taken:
                    result.add(number, len(table), image.several_channels)
                else:
                    result.skipped.append(number)
            if on_image is not None:
                on_image(number)
    return result


def _progress_of(
    series: Series, number: int, progress: Progress | None
) -> Progress:
    """Return the progress of one image as a part of the series."""
    count, name = len(series), series[number].name

    def tell(done: int, total: int, text: str) -> None:
        if progress is not None:
            part = int(STEPS * done / total) if total else 0
            progress(
                STEPS * number + part,
                STEPS * count,
                f'Image {number + 1} of {count}, {name}: {text}',
            )

    tell(0, 1, 'reading')
    return tell


def segment_image(
    image: ImageArray,
    model: Sam,
    parameters: EverythingParameters | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    channel: int = 0,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Find all objects of an image, plane by plane.

    Parameters
    ----------
    image : ImageArray
        The image.
    model : Sam
        Model from `load_model`.
    parameters : EverythingParameters, optional
        Parameters for all planes.
    progress, cancelled : callable, optional
        See `segment_series`.
    channel : int
        Channel to segment in an image with several.

    Returns
    -------
    labels : ndarray
        Integers in the shape of the image without channels and samples.
    table : DataFrame
        Rows from `segment_everything`; for stacks with a column ``plane``.

    Raises
    ------
    BlankImageError
        If no plane has a finite pixel.
    """
    # lazily: torch and pandas take seconds to import
    import pandas as pd

    from napari_mobilesam.segmentation.everything import segment_everything

    pixels = image.channel(channel)
    leading = image.label_shape[:-2]
    labels = np.zeros(image.label_shape, np.int32)
    tables: list[pd.DataFrame] = []
    count = int(np.prod(leading))
    highest = 0
    for number, index in enumerate(np.ndindex(*leading)):
        try:
            found, table = segment_everything(
                pixels[index],
                model,
                parameters=parameters,
                progress=part_of_progress(progress, number, count),
                cancelled=cancelled,
            )
        except BlankImageError:
            if number == count - 1 and not tables:
                raise
            # a blank plane has no objects
            continue
        numbers = found.astype(np.int32) + highest
        labels[index] = np.where(found > 0, numbers, 0)
        table = table.assign(label=table['label'] + highest)
        if leading:
            table.insert(1, 'plane', number)
        highest = int(max(highest, labels[index].max(initial=0)))
        tables.append(table)
    filled = [table for table in tables if len(table)] or tables[:1]
    if highest <= np.iinfo(np.uint16).max:
        labels = labels.astype(np.uint16)
    return labels, pd.concat(filled, ignore_index=True)
