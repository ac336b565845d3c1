"""``measure`` for a folder of label images: one table of all objects."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_mobilesam.cli.exit_codes import (
    ExitCode,
    InputError,
    UsageError,
)
from napari_mobilesam.cli.image_files import output_file
from napari_mobilesam.cli.measure_file import measured
from napari_mobilesam.cli.measure_planes import PLANE, TIME
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.series_tables import list_failed
from napari_mobilesam.large.io.tables import read_table, write_table
from napari_mobilesam.readers.label_names import (
    ENDINGS,
    OTHER_RESULTS,
    image_of,
    label_names,
    stem_of,
    without_image,
)
from napari_mobilesam.series.series_files import (
    RECORDS,
    SEEN,
    SUFFIX,
    SeriesImage,
    distinct_names,
    file_state,
    image_files,
    is_image_folder,
    is_written,
    numbered,
    output_name,
    path_key,
    place_key,
    records_in,
    resolved,
)
from napari_mobilesam.text import as_utf8, counted, explain, first_few
from napari_mobilesam.types import ImageError

if TYPE_CHECKING:
    import pandas as pd

LABEL_SUFFIXES = ('.tif', '.tiff', '.png')
# labels only if named as such, as Cellpose's _seg.npy
NPY = '.npy'
# key of a record: the image and the options of labels
MADE_OF = 'made_of'
MEAN, AREA = 'intensity_mean', 'area '


class Pair(NamedTuple):
    """A label image and its image, one of which may be missing."""

    labels: Path | None
    image: Path | None = None


def measure_folder_command(options: argparse.Namespace) -> int:
    """Measure the label images of a folder, and list failures.

    Returns
    -------
    int
        `ExitCode.PARTIAL` if one could not be measured; the table has the
        others.
    """
    _refuse_for_folder(options)
    pairs = _pairs(options)
    inputs = [path for pair in pairs for path in pair if path is not None]
    parts: list[pd.DataFrame] = []
    failed: list[tuple[Path, str]] = []
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        for number, pair in enumerate(pairs):
            name = pair.labels or pair.image
            assert name is not None
            progress(number, len(pairs), f'Measuring {name.name}')
            try:
                parts.append(_measured(options, pair))
            # a problem with one file must not stop the others
            except Exception as error:  # noqa: BLE001
                failed.append((name, _told(error)))
        if not parts:
            list_failed(failed)
            raise InputError(f'nothing in {options.labels} can be measured')
        table = _joined(parts)
        commit(lambda path: write_table(table, path))
    print(
        f'{options.output}: {counted(len(table), "object")} of '
        f'{counted(len(parts), "label image")}'
    )
    _tell_columns(parts)
    list_failed(failed)
    return ExitCode.PARTIAL if failed else ExitCode.OK


def _refuse_for_folder(options: argparse.Namespace) -> None:
    """Refuse options for one label image."""
    for name in ('table', 'shape'):
        if getattr(options, name) is not None:
            raise UsageError(
                f'--{name} is only for one label image: leave it out'
            )
    if options.image is not None and not is_image_folder(options.image):
        if not options.image.exists():
            raise InputError(f'There is no folder {options.image}.')
        raise UsageError(
            f'--image {options.image} is a file: give the folder with the '
            f'images of {options.labels}'
        )
    if options.names is not None and options.image is None:
        raise UsageError('--names needs the folder of the images: --image')


def _pairs(options: argparse.Namespace) -> list[Pair]:
    """Return the label images, each with its image if there are images."""
    folder = options.labels
    files = _label_files(folder)
    if not files:
        raise InputError(
            f'{folder} has no label image ({", ".join(LABEL_SUFFIXES)} or '
            '_seg.npy)'
        )
    if options.image is None:
        return [Pair(file) for file in _without_images(files)]
    images, left_out = image_files([options.image])
    # what is named as labels is an image if labels of it were saved
    images += _noted(left_out, files, folder)
    found = _labels_of(images, files, folder, options.names)
    taken = set(found.values())
    at_images = {
        image: files.get(place_key(place))
        for image, place in resolved(images).items()
    }
    pairs = [Pair(found[image], image) for image in images if image in found]
    pairs += [
        Pair(None, image)
        for image in images
        if image not in found and at_images[image] not in taken
    ]
    others = taken.union(at_images.values())
    # of the labels of an image, the first are measured
    stems = {stem_of(image) for image in images}
    second = {name for image in found for name in label_names(image, stems)}
    pairs += [
        Pair(file, None)
        for file in files.values()
        if file not in others and stem_of(file) not in second
    ]
    return pairs


def _label_files(folder: Path) -> dict[str, Path]:
    """Return files that may be label images, by their `path_key`."""
    files = {
        place_key(place): file
        for file, place in resolved(sorted(folder.iterdir())).items()
        if _may_be_labels(file)
    }
    # beside images or labels, these are neither
    names = {_name_of(file) for file in files.values()}
    names |= {stem_of(file) for file in files.values()}
    return {
        key: file
        for key, file in files.items()
        if not image_of(stem_of(file), names, OTHER_RESULTS)
    }


def _may_be_labels(file: Path) -> bool:
    suffix = file.suffix.lower()
    known = suffix in LABEL_SUFFIXES or (
        suffix == NPY and file.stem.endswith(ENDINGS)
    )
    return known and not file.name.startswith('.') and not file.is_dir()


def _without_images(files: dict[str, Path]) -> list[Path]:
    """Return label images, but no images beside them."""
    stems = {stem_of(file) for file in files.values()}
    labels = [
        file
        for file in files.values()
        if stems.isdisjoint(label_names(file, stems))
    ]
    # Cellpose saves its masks in _seg.npy, too
    others = {_name_of(file) for file in labels if file.suffix.lower() != NPY}
    return [
        file
        for file in labels
        if file.suffix.lower() != NPY or _name_of(file) not in others
    ]


def _name_of(labels: Path) -> str:
    """Return the name of the image of labels."""
    stem = stem_of(labels)
    ending = next((end for end in ENDINGS if stem.endswith(end)), '')
    return without_image(stem.removesuffix(ending))


def _labels_of(
    images: list[Path],
    files: dict[str, Path],
    folder: Path,
    pattern: str | None,
) -> dict[Path, Path]:
    """Return the label image of each image that has one."""
    noted = {} if pattern else _noted(images, files, folder)
    found = dict(noted)
    image_of = {labels: image for image, labels in noted.items()}
    others, by_name = set(noted.values()), _by_name(files)
    stems = {stem_of(image) for image in images}
    for number, image in numbered(folder, pattern or '', images):
        if image in noted:
            continue
        names = [
            name + suffix
            for name in (*label_names(image, stems), image.stem)
            for suffix in (*LABEL_SUFFIXES, NPY)
        ]
        if pattern is not None:
            name = output_name(pattern, image, number)
            # a series appends the suffix
            names = [name, name + SUFFIX]
        keys = [name.casefold() for name in names]
        drawn = [by_name[key] for key in keys if key in by_name]
        labels = next(
            (file for file in drawn if file != image and file not in others),
            None,
        )
        if labels is None:
            continue
        if labels in image_of:
            raise UsageError(
                f'{labels} has the name of the labels of {image_of[labels]} '
                f'and of {image}: give --names, for example '
                f'{distinct_names(image, image_of[labels], ".tif")}'
            )
        image_of[labels] = image
        found[image] = labels
    return found


def _by_name(files: dict[str, Path]) -> dict[str, Path]:
    """Return label images by their names, ignoring case."""
    return {file.name.casefold(): file for file in files.values()}


def _noted(
    images: list[Path], files: dict[str, Path], folder: Path
) -> dict[Path, Path]:
    """Return labels of images as `segment` and a series have noted them."""
    image_of = {
        place_key(place): path for path, place in resolved(images).items()
    }
    by_name = _by_name(files)
    found: dict[Path, Path] = {}
    for made_for, known in records_in(folder):
        name = str(known.get('file') or made_for)
        labels = by_name.get(name.casefold())
        made_of = known.get(MADE_OF)
        if labels is None or not isinstance(made_of, dict):
            continue
        places = [made_of.get('image'), made_of.get(SEEN)]
        keys = [path_key(folder / str(place)) for place in places if place]
        image = next((image_of[key] for key in keys if key in image_of), None)
        if image is not None and image != labels:
            found[image] = labels
    return found


def _measured(options: argparse.Namespace, pair: Pair) -> pd.DataFrame:
    """Measure the objects of a label image, with the names of its files."""
    if pair.labels is None:
        raise InputError(f'there are no labels of it in {options.labels}')
    if options.image is not None and pair.image is None:
        raise InputError(f'there is no image of it in {options.image}')
    # labels saved beside those of another program have a number
    name = re.sub(r'\.\d+(\.tiff?)$', r'\1', pair.labels.name)
    record = options.labels / RECORDS / f'{name}.json'
    saved = SeriesImage(options.labels, pair.labels, record, {})
    known = None
    # labels changed by another program may have other objects
    if is_written(saved.known(), file_state(pair.labels)):
        with contextlib.suppress(ImageError):
            known = read_table(saved.table)
    table = measured(options, pair.labels, pair.image, known)
    table.insert(0, 'labels', as_utf8(pair.labels))
    if pair.image is not None:
        table.insert(0, 'image', as_utf8(pair.image))
    return table


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one table; columns that a part lacks are empty in its rows."""
    import pandas as pd

    table = pd.concat(parts, ignore_index=True)
    for name in (PLANE, TIME):
        if name in table:
            # whole numbers, also if other images have no planes
            column = table.pop(name).astype('Int64')
            table.insert(list(table).index('label') + 1, name, column)
    return table


def _tell_columns(parts: list[pd.DataFrame]) -> None:
    """Say if intensities or sizes of images are in different columns."""
    for what, start in (('Intensities', MEAN), ('Sizes', AREA)):
        columns = Counter(
            tuple(name for name in map(str, part) if name.startswith(start))
            for part in parts
        )
        if len(columns) > 1:
            told = '; '.join(
                f'{first_few(names) or "none"} ({counted(count, "image")})'
                for names, count in columns.most_common()
            )
            print(f'{what} are in different columns: {told}')


def _told(error: Exception) -> str:
    own = isinstance(error, InputError | UsageError)
    return as_utf8(' '.join((str(error) if own else explain(error)).split()))
