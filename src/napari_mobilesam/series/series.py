"""A series of images: states, saved labels and the next image to do."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_number, quoted
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.export.label_images import write_tiff
from napari_mobilesam.files import atomic_path
from napari_mobilesam.large.io.tables import read_table
from napari_mobilesam.series.saved_tables import (
    check_table,
    complete_table,
    known_scores,
)
from napari_mobilesam.series.series_entry import (
    STATUSES,
    SeriesEntry,
    Status,
    UncertainObject,
)
from napari_mobilesam.series.series_files import (
    EDITED,
    PATTERN,
    RECORDS,
    SUFFIX,
    TRACKED,
    SeriesError,
    SeriesImage,
    distinct_names,
    file_state,
    image_files,
    image_identity,
    is_read_only,
    is_written,
    numbered,
    output_name,
    place_key,
    resolved,
)
from napari_mobilesam.series.series_images import (
    ImageArray,
    SavedLabels,
    out_of_file,
    read_image_array,
)
from napari_mobilesam.text import FULL, counted
from napari_mobilesam.types import ImageError, Progress, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

# Default folder of the label images, beside the images.
FOLDER = 'labels'


class Series:
    """A series of images whose labels are saved one by one.

    Only the records are kept in memory. Not thread-safe for the same image:
    read and save it on one thread.

    Parameters
    ----------
    entries : sequence of SeriesEntry
        Images, in order.
    folder : Path
        Folder of the label images.
    left_out : sequence of Path
        Files beside the images that are named as their labels.

    Attributes
    ----------
    entries : list of SeriesEntry
        Images, in order.
    folder : Path
        Folder of the label images.
    left_out : list of Path
        Files beside the images that are named as their labels.
    """

    def __init__(
        self,
        entries: Sequence[SeriesEntry],
        folder: Path,
        left_out: Sequence[Path] = (),
    ) -> None:
        self.entries = list(entries)
        self.left_out = list(left_out)
        # image: state of the table file when it was read, and its scores
        self._known_scores: dict[
            int, tuple[list[int] | None, list[tuple[float, int, float]]]
        ] = {}
        self.folder = folder

    @classmethod
    def open(
        cls,
        images: Sequence[str | Path] | str | Path,
        output: str | Path | None = None,
        names: str = PATTERN,
        progress: Progress | None = None,
    ) -> Series:
        """Open a series, continuing an earlier one.

        Parameters
        ----------
        images : path or sequence of path
            Image files and folders of them.
        output : path, optional
            Folder of the label images; by default ``labels`` in the folder of
            the first image. It is created when the first labels are saved.
        names : str
            Pattern of the names of label images, see `output_name`.
        progress : callable, optional
            ``progress(done, total, text)`` is called before each image.

        Raises
        ------
        SeriesError
            If there is no image, two would be saved to one file, existing
            labels belong to other images, or the output is a file.
        """
        given = [images] if isinstance(images, str | Path) else images
        if not isinstance(given, Iterable):
            raise SeriesError(
                f'images is {quoted(images)}: give files, or a folder.'
            )
        paths = [Path(path) for path in given]
        for path in paths:
            if not path.exists():
                raise SeriesError(f'There is no file or folder {path}.')
        files, named = image_files(paths)
        if not files:
            raise SeriesError('There is no image: give files, or a folder.')
        folder = files[0].parent / FOLDER if output is None else Path(output)
        if folder.exists() and not folder.is_dir():
            raise SeriesError(
                f'{folder} is a file: give a folder for the labels.'
            )
        entries: list[SeriesEntry] = []
        for each in _series_images(files, folder, names):
            if progress is not None:
                progress(len(entries), len(files), 'Opening')
            known = each.known()
            each.check_image(known)
            entries.append(SeriesEntry(each, known))
        return cls(entries, folder, named)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[SeriesEntry]:
        return iter(self.entries)

    def __getitem__(self, number: int) -> SeriesEntry:
        last = len(self.entries) - 1
        check_number('number', number, 0, last, whole=True)
        return self.entries[number]

    @property
    def text(self) -> str:
        """A summary for the user."""
        count = {
            status: sum(each.status == status for each in self)
            for status in STATUSES
        }
        labels = ''
        if self.left_out:
            files = counted(len(self.left_out), 'file')
            labels = f' ({files} named as labels left out)'
        return (
            f'{counted(len(self), "image")}{labels}: {count["done"]:,} done, '
            f'{count["to do"]:,} to do, {count["flagged"]:,} flagged'
        )

    def first_to_do(self) -> int:
        """Return the number of the first image to do; 0 if all are done."""
        return next(
            (n for n, each in enumerate(self) if each.status == 'to do'), 0
        )

    def mark(self, number: int, status: Status) -> None:
        """Set the status of an image.

        Parameters
        ----------
        number : int
            Number of the image, from 0.
        status : {'to do', 'done', 'flagged'}
            Status to set.

        Raises
        ------
        SeriesError
            If there is no such status, or it cannot be saved.
        """
        if status not in STATUSES:
            raise SeriesError(
                f'There is no status {status!r}: choose {", ".join(STATUSES)}.'
            )
        self._note(number, status=status)

    def review(self, number: int, labels: Collection[int]) -> None:
        """Record that a person has reviewed objects.

        Parameters
        ----------
        number : int
            Number of the image, from 0.
        labels : collection of int
            Labels of the objects.
        """
        known = self[number].reviewed | {int(label) for label in labels}
        self._note(number, reviewed=sorted(known))

    def note_tracks(self, number: int) -> None:
        """Record that tracks of the labels read or saved here are saved.

        Parameters
        ----------
        number : int
            Number of the image, from 0.

        Raises
        ------
        SeriesError
            If it cannot be saved.
        """
        entry = self[number]
        if entry.newest_record.get(TRACKED, ()) != entry.labels_state:
            self._note(number, **{TRACKED: entry.labels_state})

    def _note(self, number: int, **values: Any) -> None:
        """Add values to the record of an image."""
        entry = self[number]
        known = entry.newest_record
        if entry.tracked_in(known):
            # tracks follow the changes of their labels
            values[TRACKED] = values.get('written', entry.labels_state)
        changed = {
            **known,
            'made_of': {
                **known.get('made_of', {}),
                **entry.files.made_of,
                'file': entry.image_state,
            },
            EDITED: True,
            **values,
        }
        record = entry.files.record
        _write_into(
            record.parent, record, lambda: entry.files.write_record(changed)
        )
        entry.record = changed

    # images and labels

    def refresh(self, number: int) -> None:
        """Read changes by another program to the record of an image."""
        entry = self[number]
        entry.record = entry.newest_record
        self._known_scores.pop(number, None)

    def read_image(self, number: int) -> ImageArray:
        """Read an image.

        Parameters
        ----------
        number : int
            Number of the image, from 0.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        entry = self[number]
        state = file_state(entry.files.image)
        image = read_image_array(entry.files.image)
        entry.image_state = state
        return image

    def read_labels(
        self, number: int, shape: Sequence[int]
    ) -> SavedLabels | None:
        """Read the labels of an image.

        Parameters
        ----------
        number : int
            Number of the image.
        shape : sequence of int
            Required shape.

        Returns
        -------
        SavedLabels or None
            None if there are no labels.

        Raises
        ------
        SegmentationError
            If they cannot be read, or their shape is not that of the image:
            labels are then saved to another file. Also if ``shape`` is not
            that of the image, which changes nothing.
        """
        entry, shape = self[number], tuple(shape)
        known, entry.replaceable = entry.replaceable, None
        known_state, entry.labels_state = entry.labels_state, None
        self.refresh(number)
        path = entry.labels
        state = file_state(path)
        if state is None:
            return None
        found = read_labels(path)
        labels = out_of_file(np.asarray(found.labels[...]))
        if labels.shape != shape:
            try:
                self._check_shape(number, shape)
            except SeriesError:
                entry.replaceable = known
                entry.labels_state = known_state
                raise
            raise SeriesError(
                f'{path} has the shape {labels.shape}, but the image '
                f'{entry.name} has {shape}: the file is kept, and new labels '
                'are saved next to it.'
            )
        # never replace labels of other programs, even to continue them
        if 'written' in entry.record or is_written(entry.record, state):
            entry.replaceable = state
        entry.labels_state = state
        return SavedLabels(labels, self._table(entry))

    def _check_shape(self, number: int, shape: tuple[int, ...]) -> None:
        """Refuse a shape that differs from the image's, if readable."""
        with suppress(ImageError, OSError):
            found = self.read_image(number).label_shape
            if found != shape:
                raise SeriesError(
                    f'The shape is {shape}, but the image '
                    f'{self[number].name} has {found}: give the shape of '
                    'the image without channels.'
                )

    def _table(self, entry: SeriesEntry) -> pd.DataFrame | None:
        try:
            table = read_table(entry.files.table)
        except ImageError:
            return None
        return table if 'label' in table else None

    def save_labels(
        self,
        number: int,
        labels: NDArray[Any],
        table: pd.DataFrame | None = None,
        image: ImageArray | None = None,
    ) -> Path:
        """Save the labels of an image, either completely or not at all.

        A file that does not belong to this series, or that another program has
        changed since it was read, is never replaced; the labels are then saved
        under another name.

        Parameters
        ----------
        number : int
            Number of the image.
        labels : ndarray
            Integers, 0 is background.
        table : DataFrame, optional
            One row per object, with its label in a column ``label``.
        image : ImageArray, optional
            The image, for the pixel sizes in the file; read if None.

        Returns
        -------
        Path
            File that was written.

        Raises
        ------
        SeriesError
            If the labels differ in shape from the image, or cannot be written;
            an earlier file is kept.
        """
        entry = self[number]
        if image is None:
            # labels can be saved even if the image is gone
            with suppress(SegmentationError, OSError):
                image = self.read_image(number)
        if image is not None and labels.shape != image.label_shape:
            raise SeriesError(
                f'The labels have the shape {labels.shape}, but the image '
                f'{entry.name} has {image.label_shape}: give its labels.'
            )
        path = self._target(entry)
        used = np.unique(labels)
        # forget labels of deleted objects, as new objects may get them
        reviewed = entry.reviewed_of(used.tolist())
        if not entry.labelled:
            # perhaps deleted: tracks are not of these labels
            entry.labels_state = None
        check_table(table)
        given = LabelsWithTable(
            labels,
            axes=image.label_axes if image else '',
            scale=image.of_label_axes(image.scale) if image else (),
            units=image.of_label_axes(image.units) if image else (),
        )

        def write() -> None:
            with atomic_path(path, keep_suffix=True) as temporary:
                write_tiff(given, temporary)
                entry.files.expect(
                    temporary, {**entry.newest_record, 'file': path.name}
                )
            entry.replaceable = file_state(path)
            with atomic_path(entry.files.table) as temporary:
                complete_table(table, used).to_csv(temporary, index=False)

        _write_into(entry.files.record.parent, path, write)
        self._note(
            number,
            file=path.name,
            written=entry.replaceable,
            objects=int(np.count_nonzero(used)),
            reviewed=reviewed,
        )
        entry.labels_state = entry.replaceable
        self._known_scores.pop(number, None)
        return path

    def kept(self, number: int) -> tuple[Path, Path] | None:
        """Return a foreign file that is kept, and the file used instead.

        Parameters
        ----------
        number : int
            Number of the image.

        Returns
        -------
        (Path, Path) or None
            None if the labels are saved under the intended name.
        """
        entry = self[number]
        target = self._target(entry)
        if target == entry.files.labels:
            return None
        known = entry.labels
        theirs = known if target != known else entry.files.labels
        return (theirs, target) if theirs.exists() else None

    def _target(self, entry: SeriesEntry) -> Path:
        """Return the file to which the labels of an image may be written."""
        path, state = entry.labels, file_state(entry.labels)
        ours = state == entry.replaceable and not is_read_only(path)
        if state is None or ours:
            return path
        number = 2
        while True:
            free = path.with_name(
                f'{entry.files.labels.stem}.{number}{path.suffix}'
            )
            if not free.exists():
                return free
            number += 1

    # review

    def uncertain(
        self,
        check: bool = True,
        between: Callable[[], None] | None = None,
    ) -> list[UncertainObject]:
        """Return the objects not yet reviewed, least certain first.

        Reads the tables saved with the labels.

        Parameters
        ----------
        check : bool
            Whether to look for changes by other programs, too, which takes
            time for thousands of images on a slow disk.
        between : callable, optional
            Called before each image; an error that it raises ends the listing.

        Returns
        -------
        list of UncertainObject
            Score, number of the image, label and stability score.
        """
        found: list[UncertainObject] = []
        for number, entry in enumerate(self):
            if between is not None:
                between()
            if not entry.objects:
                continue
            reviewed = entry.reviewed
            found += [
                UncertainObject(score, number, label, stability)
                for score, label, stability in self._certainties(number, check)
                if label not in reviewed
            ]
        return sorted(found)

    def _certainties(
        self, number: int, check: bool
    ) -> list[tuple[float, int, float]]:
        """Return score, label and stability of each object.

        Unknown values are infinite. Tables that have not changed are not read
        again.
        """
        entry = self[number]
        known = self._known_scores.get(number)
        if known is not None and not check:
            return known[1]
        state = file_state(entry.files.table)
        if known is not None and known[0] == state:
            return known[1]
        table = self._table(entry)
        scores = [] if table is None else known_scores(table)
        self._known_scores[number] = state, scores
        return scores


def _series_images(
    files: Sequence[Path], folder: Path, names: str
) -> Iterator[SeriesImage]:
    """Yield the images with the paths of their output files."""
    taken: dict[str, Path] = {}
    places, there = resolved(files), folder.resolve()
    inputs = {place_key(place) for place in places.values()}
    for number, image in numbered(folder, names, files):
        name = output_name(names, image, number)
        if Path(name).suffix.lower() not in ('.tif', '.tiff'):
            name += SUFFIX
        labels = folder / name
        key = place_key(there / name)
        if key in taken:
            other = distinct_names(image, taken[key], '_labels')
            raise SeriesError(
                f'The labels of {image} and {taken[key]} would both be saved '
                f'to {labels}: give other names, for example {other}.'
            )
        if key in inputs:
            raise SeriesError(
                f'{labels} is an image of the series: choose another folder '
                'for the labels.'
            )
        taken[key] = image
        made_of = image_identity(places[image], there)
        record = folder / RECORDS / f'{name}.json'
        yield SeriesImage(image, labels, record, made_of)


def _write_into(folder: Path, path: Path, write: Callable[[], None]) -> None:
    """Write into a folder that an ending run may remove while it is empty.

    The folder is then created again.

    Raises
    ------
    SeriesError
        If ``path`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write()
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            write()
    except OSError as error:
        text = error.strerror or str(error)
        room = 'free disk space, or ' if error.errno in FULL else ''
        raise SeriesError(
            f'{path} cannot be written ({text}): {room}choose another folder.'
        ) from error
