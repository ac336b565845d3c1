"""Propose classes of objects from a few examples of each class.

An object is described by the mean image embedding within its mask, and by its
size, shape and intensities inside and around it. A logistic regression trained
on objects of known class gives class probabilities for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from napari_mobilesam.argument_checks import check_model, quoted
from napari_mobilesam.extra import need
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.label_masks import (
    masks_of_labels,
    typical_diameter,
)
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.object_features import (
    intensities,
    pooled_features,
)
from napari_mobilesam.types import Mask, Progress, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

# Inverse regularisation strength of scikit-learn; 1 and 100 were no better on
# a mosaic of training images.
STRENGTH = 10.0
# Number of objects described between two progress reports.
AT_ONCE = 50


class ClassesError(SegmentationError):
    """Classes cannot be proposed; the message says why."""


@dataclass(frozen=True, eq=False)
class ClassProposals:
    """Classes proposed for objects.

    Attributes
    ----------
    labels : ndarray
        (N,) labels of the objects without a class, the least certain first.
    classes : tuple of str
        The classes.
    probabilities : ndarray
        (N, K) probability of each class.
    """

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @property
    def proposed(self) -> dict[int, str]:
        """The most likely class of each label, least certain first."""
        best = self.probabilities.argmax(axis=1)
        return {
            int(label): self.classes[number]
            for label, number in zip(self.labels, best, strict=True)
        }

    def table(self) -> pd.DataFrame:
        """Return one row per object: label, class, class probability."""
        import pandas as pd

        return pd.DataFrame(
            {
                'label': self.labels,
                'class': list(self.proposed.values()),
                'probability': self.probabilities.max(axis=1, initial=0.0),
            }
        )


def propose_classes(
    image: Any,
    model: Sam,
    labels: Any,
    known: Mapping[int, str],
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ClassProposals:
    """Propose classes for labelled objects from a few known ones.

    Needs scikit-learn: ``pip install "napari-mobilesam[classify]"``.

    Parameters
    ----------
    image, model, channels, contrast_limits, gamma, embedding, cancelled
        As `generate_candidates`; a cancelled call raises `ClassesError`.
    labels : array
        (H, W) labels of the objects.
    known : mapping of int to str
        Class of some labels; empty, NaN or NA for none. Five of each class are
        a good start.
    progress : callable, optional
        ``progress(done, total, message)``, counted in objects.

    Returns
    -------
    ClassProposals
        Proposals for all other labels.

    Raises
    ------
    ClassesError
        Fewer than two classes are known, or a label does not exist.
    ImageError, SegmentationError
        As `generate_candidates`; also if the labels do not belong to this
        image.
    MissingExtraError
        scikit-learn is not installed.
    """
    check_model(model)
    need('sklearn', 'classify')
    rgb = as_rgb_plane(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    masks = masks_of_labels(labels, (rgb.shape[0], rgb.shape[1]))
    return propose_for_masks(
        embedding_of(model, rgb, embedding),
        rgb,
        masks,
        known,
        progress,
        cancelled,
    )


def propose_for_masks(
    image: ImageEmbedding,
    rgb: NDArray[np.uint8],
    masks: Mapping[int, Mask],
    known: Mapping[int, str],
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ClassProposals:
    """Propose classes for masks by label; see `propose_classes`."""
    given = _checked(known, masks)
    names = tuple(sorted(set(given.values())))
    others = [label for label in masks if label not in given]
    if not others:
        return ClassProposals(
            np.zeros(0, np.int64), names, np.zeros((0, len(names)))
        )
    order = [*given, *others]
    features = described(
        image, rgb, [masks[n] for n in order], progress, cancelled
    )
    names, probabilities = classify(
        features[: len(given)], list(given.values()), features[len(given) :]
    )
    ranked = np.argsort(probabilities.max(axis=1), kind='stable')
    return ClassProposals(
        np.array(others, np.int64)[ranked], names, probabilities[ranked]
    )


def classify(
    known: NDArray[np.float64],
    classes: Sequence[str],
    others: NDArray[np.float64],
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return class probabilities from a logistic regression.

    Parameters
    ----------
    known : ndarray
        (M, F) features of objects of known class, from `described`.
    classes : sequence of str
        Their M classes.
    others : ndarray
        (N, F) features of the other objects.

    Returns
    -------
    names : tuple of str
        The K classes, in alphabetical order.
    probabilities : ndarray
        (N, K).
    """
    linear_model = need('sklearn.linear_model', 'classify')
    classifier = linear_model.LogisticRegression(
        C=STRENGTH, class_weight='balanced', max_iter=1000
    )
    classifier.fit(known, list(classes))
    names = tuple(str(name) for name in classifier.classes_)
    return names, np.asarray(classifier.predict_proba(others))


def _checked(
    known: Mapping[int, str], masks: Mapping[int, Mask]
) -> dict[int, str]:
    import pandas as pd

    try:
        given = {
            int(label): str(name)
            for label, name in dict(known).items()
            # in a table, NaN or NA stands for no class
            if not pd.isna(name) and name
        }
    except (TypeError, ValueError):
        raise ClassesError(
            f'known is {quoted(known)}; give a mapping of labels to classes.'
        ) from None
    missing = [str(label) for label in given if label not in masks]
    if missing:
        raise ClassesError(
            f'There is no object {", ".join(missing[:5])} in the labels: give '
            'classes of objects that are there.'
        )
    classes = sorted(set(given.values()))
    if len(classes) < 2:
        there = f'only “{classes[0]}”' if classes else 'none'
        raise ClassesError(
            'Classes are proposed from examples of at least two classes; '
            f'there is {there}. Give a few objects of each a class.'
        )
    return given


def described(
    image: ImageEmbedding,
    rgb: NDArray[np.uint8],
    masks: Sequence[Mask],
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[np.float64]:
    """Describe objects by features that a classifier can compare.

    Parameters
    ----------
    image : ImageEmbedding
        The image.
    rgb : ndarray
        (H, W, 3) uint8, its pixels.
    masks : sequence of Mask
        The objects.
    progress, cancelled
        As `propose_classes`.

    Returns
    -------
    ndarray
        (N, F): features of the embedding, then measurements; all with mean 0,
        and both groups with equal variance.

    Raises
    ------
    ClassesError
        The call was cancelled.
    """
    pitch = image.grid.pitch_for(typical_diameter(masks))
    total = 2 * len(masks)

    def tell(done: int) -> None:
        if cancelled is not None and cancelled():
            raise ClassesError('Stopped: no class was proposed.')
        if progress is not None:
            progress(done, total, 'Describing objects')

    tell(0)
    pooled = pooled_features(image, masks, pitch, tell)
    rows = []
    for number, mask in enumerate(masks):
        rows.append(_measures(rgb, mask))
        if number % AT_ONCE == 0:
            tell(len(masks) + number)
    tell(total)
    return np.hstack([_balanced(pooled), _balanced(np.array(rows))])


def _balanced(values: NDArray[Any]) -> NDArray[np.float64]:
    """Centre columns, and scale them so that their variances sum to 1."""
    centred = values - values.mean(axis=0)
    scaled = centred / np.maximum(values.std(axis=0), 1e-6)
    return np.asarray(scaled / math.sqrt(values.shape[1]), np.float64)


def _measures(rgb: NDArray[np.uint8], mask: Mask) -> list[float]:
    """Measure size, shape, and intensities inside and around a mask."""
    (shape,) = regionprops(mask.data.astype(np.uint8))
    return [
        math.log(mask.area),
        shape.eccentricity,
        shape.solidity,
        *intensities(rgb, mask),
    ]
