"""Find similar: find everything in an image that resembles a few examples.

An object resembles an example if the embedding features within both point in
the same direction, intensities inside and around them are about equal, and
they have about the same size. Features are compared as differences from those
of the whole image, in units of their spread, so that what the whole image
shares does not count.

The image is searched as by *segment everything* at the scale of the examples,
but only points whose embedding is not too dissimilar are prompted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from napari_mobilesam.argument_checks import check_model, check_number
from napari_mobilesam.segmentation.candidates import Candidates, Selection
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.label_masks import (
    equivalent_diameter,
    masks_of_labels,
    typical_diameter,
)
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.object_features import (
    block_of,
    intensities,
    pooled_features,
)
from napari_mobilesam.segmentation.parameters import (
    checked_parameters,
    thresholds_for,
)
from napari_mobilesam.segmentation.scope import Scope, checked_scope
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    ModelRecord,
    Progress,
    PromptError,
    slices_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

# Default minimum similarity of an object; without the intensities, F1 on
# validation images was lower for any other value.
SIMILARITY = 0.1
# Similarity lost per factor of two between the diameters.
SIZE_WEIGHT = 0.5
# Mean intensity difference, in gray levels, that costs a similarity of 1. The
# embedding alone hardly distinguishes bright objects from dark ones: it was
# trained to outline both alike.
GRAY_LEVELS = 64.0
# Candidates are kept down to this far below the minimum similarity, so that it
# can be lowered later.
SIMILARITY_FLOOR = 0.3
# A mask that resembles an example need not be as confident as any other: on
# validation images, thresholds of predicted IoU and stability lowered by this
# find more objects at the same precision.
RELAXED = (0.15, 0.3)
# Only cells whose features have at least this similarity to an example are
# prompted; on validation images that skipped half of the pixels and no object.
CELL_LEAST = 0.2


@dataclass(frozen=True, eq=False)
class Examples:
    """Appearance and size of example objects.

    Attributes
    ----------
    directions : ndarray
        (N, C) float32 features of each example, of unit length.
    diameters : ndarray
        (N,) equivalent diameters in data pixels.
    intensities : ndarray
        (N, 9) see `intensities`.
    mean, spread : ndarray
        (C,) mean and standard deviation of the features of the image.
    """

    directions: NDArray[np.float32]
    diameters: NDArray[np.float64]
    intensities: NDArray[np.float64]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        image: ImageEmbedding,
        rgb: NDArray[np.uint8],
        masks: Sequence[Mask],
    ) -> Examples:
        """Describe example objects.

        Parameters
        ----------
        image : ImageEmbedding
            Image of the examples.
        rgb : ndarray
            (H, W, 3) uint8, its pixels.
        masks : sequence of Mask
            The examples.

        Raises
        ------
        PromptError
            There is no example.
        """
        masks = _not_empty(masks)
        pitch = image.grid.pitch_for(typical_diameter(masks))
        features = pooled_features(image, masks, pitch)
        cells = np.concatenate(
            [
                image.block(key).float().flatten(1).T.cpu().numpy()
                for key in sorted({block_of(image, m, pitch) for m in masks})
            ]
        )
        mean, spread = cells.mean(axis=0), cells.std(axis=0)
        return cls(
            _directions(features, mean, spread),
            np.array([equivalent_diameter(mask) for mask in masks]),
            np.array([intensities(rgb, mask) for mask in masks]),
            mean,
            spread,
        )

    @property
    def diameter(self) -> float:
        """Geometric mean of the diameters, in data pixels."""
        return float(np.exp(np.log(np.maximum(self.diameters, 1)).mean()))

    def similarities(
        self,
        image: ImageEmbedding,
        rgb: NDArray[np.uint8],
        masks: Sequence[Mask],
    ) -> NDArray[np.float64]:
        """Return the similarity of each mask to its most similar example.

        Parameters
        ----------
        image : ImageEmbedding
            Image of the masks.
        rgb : ndarray
            (H, W, 3) uint8, its pixels.
        masks : sequence of Mask
            None of them empty.

        Returns
        -------
        ndarray
            (N,) cosine of the features, minus `SIZE_WEIGHT` per factor of two
            between the diameters, minus the mean intensity difference in units
            of `GRAY_LEVELS`; at most 1.
        """
        if not masks:
            return np.zeros(0)
        pitch = image.grid.pitch_for(self.diameter)
        features = pooled_features(image, masks, pitch)
        found = _directions(features, self.mean, self.spread)
        sizes = np.array([equivalent_diameter(mask) for mask in masks])
        octaves = np.abs(np.log2(sizes[:, None] / self.diameters))
        seen = np.array([intensities(rgb, mask) for mask in masks])
        levels = np.abs(seen[:, None] - self.intensities).mean(axis=2)
        similarity = (
            found @ self.directions.T
            - SIZE_WEIGHT * octaves
            - levels / GRAY_LEVELS
        )
        return np.asarray(similarity.max(axis=1))

    def scored(
        self,
        image: ImageEmbedding,
        rgb: NDArray[np.uint8],
        masks: Sequence[Mask],
        least: float,
    ) -> list[Mask]:
        """Return masks that are similar enough, with their similarity."""
        scores = self.similarities(image, rgb, masks).tolist()
        return [
            replace(mask, similarity=score)
            for mask, score in zip(masks, scores, strict=True)
            if score >= least
        ]

    def likely_pixels(
        self,
        image: ImageEmbedding,
        least: float,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> NDArray[np.bool_]:
        """Return pixels on and beside cells that resemble an example.

        Parameters
        ----------
        image : ImageEmbedding
            Embedding of the image; all of it is embedded at the scale of the
            examples.
        least : float
            Minimum cosine of the features.
        cancelled : callable
            Called between blocks; if True, the search ends and the remaining
            pixels are left out.

        Returns
        -------
        ndarray
            (H, W) bool.
        """
        pitch = image.grid.pitch_for(self.diameter)
        height, width = image.image_shape
        cells = np.full(image.grid.shape(pitch), -1.0, np.float32)
        for key in image.grid.large_blocks((0, 0, height, width), pitch):
            if cancelled():
                break
            block = image.block(key).float().cpu().numpy()
            shape = block.shape[1:]
            directions = _directions(
                block.reshape(block.shape[0], -1).T, self.mean, self.spread
            )
            alike = (directions @ self.directions.T).max(axis=1)
            part = cells[
                key.row : key.row + shape[0],
                key.column : key.column + shape[1],
            ]
            seen = alike.reshape(shape)[: part.shape[0], : part.shape[1]]
            np.maximum(part, seen, out=part)
        likely = maximum_filter(cells, 3) >= least
        grown = likely.repeat(pitch, axis=0).repeat(pitch, axis=1)
        return np.asarray(grown[:height, :width])


def _directions(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    spread: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return (N, C) features of unit length, in units of their spread."""
    scaled = (features - mean) / (spread + 1e-6)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.maximum(length, 1e-6), np.float32)


def _not_empty(examples: Sequence[Mask]) -> list[Mask]:
    """Return examples with pixels; raise `PromptError` if there are none."""
    masks = [mask for mask in examples if mask.area]
    if not masks:
        raise PromptError(
            'There is no example: label or accept at least one object, then '
            'find what is similar.'
        )
    return masks


def parameters_for_examples(
    parameters: EverythingParameters,
    masks: Sequence[Mask],
    record: ModelRecord,
) -> EverythingParameters:
    """Return the parameters of a run at the scale of examples.

    Thresholds that are not given are lower than the defaults of the model.

    Raises
    ------
    PromptError
        There is no example.
    """
    usual = thresholds_for(parameters, record)
    if parameters.predicted_iou is None:
        least = max(0.0, usual.predicted_iou - RELAXED[0])
        parameters = replace(parameters, predicted_iou=least)
    if parameters.stability is None:
        least = max(0.0, usual.stability - RELAXED[1])
        parameters = replace(parameters, stability=least)
    return replace(
        parameters,
        diameter=typical_diameter(_not_empty(masks)),
        crop_layers=0,
        whole_image=False,
    )


def similar_candidates(
    image: Any,
    model: Sam,
    *,
    examples: Examples,
    similarity: float = SIMILARITY,
    region: Any = None,
    skip: Any = None,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **options: Any,
) -> Candidates:
    """Find candidates that resemble examples.

    See `parameters_for_examples` for the parameters.

    Parameters
    ----------
    image, model, region, skip, parameters, embedding, on_masks, cancelled, \
**options
        As `generate_candidates`.
    examples : Examples
        Examples from this or another image.
    similarity : float
        Minimum similarity of the objects; masks down to `SIMILARITY_FLOOR`
        below it are kept.

    Returns
    -------
    Candidates
        Masks with their similarity, which `Selection.similarity` filters.

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_candidates`.
    """
    check_number('similarity', similarity, -10, 1)
    shown = {
        name: options.pop(name)
        for name in ('channels', 'contrast_limits', 'gamma')
        if name in options
    }
    rgb = as_rgb_plane(image, **shown)
    shape = rgb.shape[0], rgb.shape[1]
    known = embedding_of(model, rgb, embedding)
    scope = checked_scope(shape, region, skip)
    least = similarity - SIMILARITY_FLOOR
    stop = cancelled or (lambda: False)
    likely = examples.likely_pixels(known, min(CELL_LEAST, similarity), stop)
    if scope.region is not None:
        likely &= _as_plane(scope, shape)
    chosen = parameters or EverythingParameters()
    if not likely.any():
        return Candidates(
            (),
            shape,
            model.record,
            complete=not stop(),
            prompts=0,
            parameters=chosen,
            scope=scope,
            image=image,
            channels=shown.get('channels'),
        )

    def tell(masks: list[Mask]) -> None:
        alike = examples.scored(known, rgb, masks, least)
        if alike and on_masks is not None:
            on_masks(alike)

    found = generate_candidates(
        rgb,
        model,
        region=likely,
        skip=skip,
        parameters=chosen,
        embedding=known,
        on_masks=None if on_masks is None else tell,
        cancelled=cancelled,
        **options,
    )
    return replace(
        found,
        masks=tuple(examples.scored(known, rgb, found.masks, least)),
        scope=scope,
        image=image,
        channels=shown.get('channels'),
    )


def _as_plane(scope: Scope, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(scope.region, np.ndarray):
        return scope.region
    assert scope.region is not None
    plane = np.zeros(shape, bool)
    plane[slices_of(scope.region)] = True
    return plane


def find_similar(
    image: Any,
    model: Sam,
    examples: Any,
    *,
    numbers: Sequence[int] | None = None,
    similarity: float = SIMILARITY,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    region: Any = None,
    skip: Any = None,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **overrides: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Label everything in an image that resembles one or a few examples.

    Parameters
    ----------
    image, model, channels, contrast_limits, gamma, region, skip, parameters, \
embedding, progress, cancelled, **overrides
        As `generate_candidates`; the diameter is that of the examples.
    examples : array
        (H, W) labels of the examples; also pass them as ``skip`` to find only
        others.
    numbers : sequence of int, optional
        Labels that are examples; by default all.
    similarity : float
        Minimum similarity; 1 means identical to an example.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or int32 if there are more than 65535 labels.
    table : pandas.DataFrame
        As `segment_everything`, with the similarity of each label.

    Raises
    ------
    PromptError
        There is no example.
    ImageError, SegmentationError, TypeError
        As `generate_candidates`; also if the examples are not labels of this
        image.
    """
    shown: Mapping[str, Any] = {
        'channels': channels,
        'contrast_limits': contrast_limits,
        'gamma': gamma,
    }
    check_model(model)
    rgb = as_rgb_plane(image, **shown)
    masks = masks_of_labels(
        examples, (rgb.shape[0], rgb.shape[1]), numbers, 'examples'
    )
    chosen = parameters_for_examples(
        checked_parameters(parameters, overrides),
        list(masks.values()),
        model.record,
    )
    known = embedding_of(model, rgb, embedding)
    candidates = similar_candidates(
        rgb,
        model,
        examples=Examples.of(known, rgb, list(masks.values())),
        similarity=similarity,
        region=region,
        skip=skip,
        parameters=chosen,
        embedding=known,
        progress=progress,
        cancelled=cancelled,
    )
    return candidates.label(
        replace(Selection.of(chosen), similarity=similarity)
    )
