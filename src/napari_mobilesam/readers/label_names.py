"""Names of label images beside their images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

# What this and other programs append to the name of an image.
ENDINGS = ('_labels', '_cp_masks', '_masks', '_mask', '_seg')
# What Cellpose and Omnipose write beside their masks.
OTHER_RESULTS = (
    '_flows',
    '_cp_output',
    '_outlines',
    '_dP',
    '_cp_ncolor_masks',
)
# End of the name of an image that its labels may lack, such as Cellpose's
# ``a_img.tif`` with ``a_masks.tif``.
IMAGE_ENDINGS = ('_image', '_img')
# Part before the actual suffix, as in ``cells.ome.tif``.
OME = '.ome'


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffixes."""
    stem = path.stem
    return stem[: -len(OME)] if stem.lower().endswith(OME) else stem


def without_image(stem: str) -> str:
    """Return a name without ``_image`` or ``_img`` at its end."""
    for ending in IMAGE_ENDINGS:
        if stem.endswith(ending):
            return stem.removesuffix(ending)
    return stem


def image_of(
    stem: str,
    images: Collection[str],
    endings: Sequence[str] = ENDINGS,
) -> tuple[str, int] | None:
    """Return the image that a label image is named after.

    Parameters
    ----------
    stem : str
        Name of the label image, see `stem_of`.
    images : collection of str
        Names of images.
    endings : sequence of str
        What is appended to the name of an image.

    Returns
    -------
    image : str
        One of ``images``.
    rank : int
        Index of the ending; of several label images, the first counts.
    """
    for rank, ending in enumerate(endings):
        if not stem.endswith(ending):
            continue
        # some programs append to all but the last suffix
        name = stem.removesuffix(ending).removesuffix(OME)
        for image in (*(name + end for end in IMAGE_ENDINGS), name):
            if image in images:
                return image, rank
    return None


def label_names(image: Path, images: Collection[str]) -> list[str]:
    """Return the names that labels of an image may have, the best first.

    Parameters
    ----------
    image : Path
        File of the image.
    images : collection of str
        Names of all images, see `stem_of`. Labels that are named after
        another one are not of this image.

    Returns
    -------
    list of str
        Names without suffix.
    """
    stem = stem_of(image)
    base = without_image(stem)
    names = [image.stem, stem, *([] if base in images else [base])]
    return [name + end for end in ENDINGS for name in dict.fromkeys(names)]


def results_of(files: Sequence[Path]) -> list[Path]:
    """Return the files that are named as results of another of the files.

    Parameters
    ----------
    files : sequence of Path
        Files of one folder.

    Returns
    -------
    list of Path
        Such as ``a_cp_masks.png`` if there is an ``a.tif``.
    """
    stems = {stem_of(file) for file in files}
    endings = ENDINGS + OTHER_RESULTS
    return [file for file in files if image_of(stem_of(file), stems, endings)]
