"""Labels that could not be saved before the viewer was closed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import platformdirs

from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.export.label_images import write_tiff
from napari_mobilesam.files import (
    atomic_path,
    read_json_object,
    write_text_atomic,
)
from napari_mobilesam.large.io.tables import read_table
from napari_mobilesam.series.series_images import SavedLabels
from napari_mobilesam.settings import APP_NAME
from napari_mobilesam.types import ImageError, SegmentationError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FOLDER = 'rescued'


class RescuedFiles(NamedTuple):
    """Files of one image's labels, outside the folder of the series.

    Attributes
    ----------
    labels, table, session : Path
        Label image, table of objects, and their prompts.
    origin : Path
        File that records their image, and what they may replace.
    """

    labels: Path
    table: Path
    session: Path
    origin: Path

    @property
    def replaceable(self) -> list[int] | None:
        """State of the label image that they may replace, if any."""
        return read_json_object(self.origin).get('replaceable')

    def copy_session(self, path: Path) -> None:
        """Copy the prompts to their proper place, if known."""
        if path != self.session:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self.session, path)

    def remove(self) -> None:
        """Remove the files once the labels are saved in their proper place."""
        for path in self:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def rescue_folders() -> list[Path]:
    """Return folders for rescued labels, in order of preference.

    ``NAPARI_MOBILESAM_SESSIONS`` overrides the first one.
    """
    override = os.environ.get('NAPARI_MOBILESAM_SESSIONS')
    data = Path(override or platformdirs.user_data_dir(APP_NAME, False))
    return [
        data / FOLDER,
        Path(tempfile.gettempdir()) / f'{APP_NAME}-{FOLDER}',
    ]


def rescue(
    image: Path,
    labels: NDArray[Any],
    table: pd.DataFrame | None,
    replaceable: list[int] | None,
    write_session: Callable[[Path], None] | None,
) -> RescuedFiles:
    """Write labels of an image to the first usable folder.

    Files of an earlier viewer, which these labels include by now, are removed.

    Parameters
    ----------
    image : Path
        Image file of the series.
    labels : ndarray
        Labels.
    table : DataFrame or None
        A row per object.
    replaceable : list or None
        State of the label image they may replace; see `SeriesEntry`.
    write_session : callable or None
        ``write_session(path)`` writes the prompts, if there are any.

    Raises
    ------
    OSError
        No folder is writable.
    """
    problem: OSError | None = None
    folders = rescue_folders()
    for folder in folders:
        files = _files(folder, image)
        origin = {'image': str(image.resolve()), 'replaceable': replaceable}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(files.labels, keep_suffix=True) as temporary:
                write_tiff(LabelsWithTable(labels), temporary)
            if table is None:
                files.table.unlink(missing_ok=True)
            else:
                with atomic_path(files.table) as temporary:
                    table.to_csv(temporary, index=False)
            write_text_atomic(files.origin, json.dumps(origin))
        except OSError as error:
            problem = error
            continue
        _write_session(files.session, write_session)
        for other in folders:
            if other != folder:
                _files(other, image).remove()
        return files
    assert problem is not None
    raise problem


def _write_session(path: Path, write: Callable[[Path], None] | None) -> None:
    """Write prompts if possible, and remove those of other labels."""
    with contextlib.suppress(OSError, SegmentationError):
        if write is not None:
            write(path)
            return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def rescued_of(
    images: Sequence[Path],
) -> Iterator[tuple[int, SavedLabels, RescuedFiles]]:
    """Yield the number of each image with rescued labels, and the labels."""
    for folder in rescue_folders():
        if not folder.is_dir():
            continue
        for number, image in enumerate(images):
            files = _files(folder, image)
            if not files.origin.exists():
                continue
            with contextlib.suppress(OSError, SegmentationError):
                labels = read_labels(files.labels).labels[...]
                table = None
                with contextlib.suppress(ImageError):
                    table = read_table(files.table)
                yield number, SavedLabels(labels, table), files


def rescued_tracks(path: Path) -> list[Path]:
    """Return files for tracks that cannot be saved to their own file.

    Parameters
    ----------
    path : Path
        Their own file.
    """
    name = f'{_unique_stem(path)}{path.suffix}'
    return [folder / name for folder in rescue_folders()]


def _unique_stem(path: Path) -> str:
    """Return a stem that two files differ in, even if they share a name."""
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f'{path.stem}-{place}'


def _files(folder: Path, image: Path) -> RescuedFiles:
    """Return the file names of an image."""
    stem = _unique_stem(image)
    return RescuedFiles(
        folder / f'{stem}.tif',
        folder / f'{stem}.csv',
        folder / f'{stem}.session',
        folder / f'{stem}.json',
    )
