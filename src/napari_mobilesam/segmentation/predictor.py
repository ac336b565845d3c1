"""Predict masks from prompts: embed an image once, then prompt it.

A `Predictor` holds only a model; what it knows about an image is in the
`ImageEmbedding` it returns. Embeddings can thus be kept, shared between
threads and prompted in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    check_model,
    check_number,
    quoted,
)
from napari_mobilesam.segmentation.image import (
    ContrastLimits,
    as_rgb_plane,
    resize,
)
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    encode_canvas,
)
from napari_mobilesam.segmentation.layout import Channels, plane_shape
from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.segmentation.prompt_checks import (
    checked_prompts,
    warn_beyond,
)
from napari_mobilesam.segmentation.scale_choice import answer_at_scale
from napari_mobilesam.segmentation.shapes import low_res_logits
from napari_mobilesam.types import (
    Embedding,
    Frame,
    PromptError,
    Prompts,
    SegmentationError,
)

# Maximum diameter of an object in data pixels.
MOST_DIAMETER = 1e6

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache


class Predictor:
    """Embed images and predict masks from prompts with one model.

    Parameters
    ----------
    model : Sam
        Model, see `napari_mobilesam.load_model`.
    cache : EmbeddingCache, optional
        Cache of embeddings on disk; by default none.
    """

    def __init__(
        self, model: Sam, cache: EmbeddingCache | None = None
    ) -> None:
        check_model(model)
        if cache is not None and not hasattr(cache, 'features'):
            raise SegmentationError(
                f'cache is {quoted(cache)}; it has to be an EmbeddingCache, '
                'or None.'
            )
        self.model = model
        self.cache = cache

    def embed(
        self,
        image: Any,
        *,
        channels: Channels | None = None,
        contrast_limits: ContrastLimits | None = None,
        gamma: float = 1.0,
    ) -> ImageEmbedding:
        """Embed an image at all scales, lazily.

        Nothing is computed yet: `predict` embeds what the prompts need, at the
        scales that suit their objects, and keeps it for later prompts.

        Parameters
        ----------
        image : array
            (H, W), (H, W, 3 or 4), or with ``channels`` (C, H, W) or
            (H, W, C); NumPy, dask or zarr of bool, integer or real numbers.
        channels : int or sequence of int, optional
            One to three channels, shown gray (one) or as red, green, blue.
        contrast_limits : (low, high) or one such pair per channel, optional
            Values shown as black and white; if None, chosen from the pixels
            of the whole image, see `contrast_limits_of`.
        gamma : float
            Exponent applied after the contrast limits.

        Returns
        -------
        ImageEmbedding
            For `predict`.

        Raises
        ------
        ImageError
            If the image cannot be used; the message says why.
        """
        rgb = as_rgb_plane(
            image,
            channels=channels,
            contrast_limits=contrast_limits,
            gamma=gamma,
        )
        return ImageEmbedding.of_rgb(self.model, rgb, self.cache)

    def embed_window(
        self,
        image: Any,
        *,
        channels: Channels | None = None,
        contrast_limits: ContrastLimits | None = None,
        gamma: float = 1.0,
        window: tuple[int, int, int, int] | None = None,
    ) -> Embedding:
        """Embed an image, or a window of it, as one model input.

        This is the procedure of the papers (Segment Anything, appendix A);
        objects must have a suitable size in the whole image.

        Parameters
        ----------
        image, channels, contrast_limits, gamma
            As `embed`.
        window : tuple of int, optional
            (row0, column0, row1, column1), half open; the whole image if
            None.

        Returns
        -------
        Embedding
            Features on the model's device, with their position in the image.

        Raises
        ------
        ImageError
            If the image cannot be used; the message says why.
        """
        shape = plane_shape(image, channels)
        rgb = as_rgb_plane(
            image,
            channels=channels,
            contrast_limits=contrast_limits,
            gamma=gamma,
            window=window,
        )
        if window is None:
            window = (0, 0, *shape)
        frame = Frame.of(shape, window, self.model.input_size)
        resized = resize(rgb, frame.input_shape)
        key, size = self.model.key, self.model.input_size

        def encode() -> torch.Tensor:
            return encode_canvas(self.model, resized, (size, size))

        if self.cache is None:
            features = encode()
        else:
            # blocks of an `ImageEmbedding` are kept in half precision
            features = self.cache.features(
                resized, frame, f'{key} float32', encode
            )
        return Embedding(features.to(self.model.device), frame, key)

    def predict(
        self,
        embedding: Embedding | ImageEmbedding,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask: bool | None = None,
        *,
        diameter: float | None = None,
        previous: Prediction | None = None,
    ) -> Prediction:
        """Predict masks of one object.

        Parameters
        ----------
        embedding : ImageEmbedding or Embedding
            From `embed`, which gives the masks of the widget, or from
            `embed_window`, with the same model.
        points : array-like, optional
            (N, 2) (row, column) in data pixels.
        labels : array-like, optional
            (N,) 1 positive, 0 negative; all positive if None.
        box : array-like, optional
            (row0, column0, row1, column1) in data pixels, cut to the image.
        mask_input : array-like, optional
            (s, s) or (1, s, s) low-res logits of an earlier prediction on
            the same `Embedding`.
        multimask : bool, optional
            If True, return three masks, for prompts that may mean whole, part
            or subpart; if False, one, which is better for several points or a
            box with points. If None, three for a single point, else one.
        diameter : float, optional
            Diameter of the object in data pixels, if known; otherwise it is
            taken from box or mask, or several scales are tried. Only for an
            `ImageEmbedding`.
        previous : Prediction, optional
            Prediction that these prompts correct; its best mask is fed back.
            Only for an `ImageEmbedding`.

        Returns
        -------
        Prediction
            Masks, scores and low-res logits.

        Raises
        ------
        PromptError
            If there is no prompt, or a prompt is malformed, outside the image
            or the window, or a box without area.
        SegmentationError
            If another model made the embedding.
        """
        self.check(embedding)
        if multimask is not None:
            check_flag('multimask', multimask)
        if diameter is not None:
            check_number('diameter', diameter, 1, MOST_DIAMETER)
        check_instance('previous', previous, Prediction)
        if isinstance(embedding, Embedding):
            frame = embedding.frame
            prompts = checked_prompts(frame, points, labels, box, mask_input)
            warn_beyond('box', box, frame.image_shape)
            if multimask is None:
                multimask = prompts.ambiguous
            return self._decode([embedding], [prompts], multimask)[0]
        if mask_input is not None:
            raise PromptError(
                'Low-res logits belong to one window: give the prediction '
                'that is to be corrected as previous=… instead.'
            )
        shape = embedding.image_shape
        if previous is not None and previous.frame.image_shape != shape:
            raise PromptError(
                'previous is of an image of the shape '
                f'{previous.frame.image_shape}, the embedding of one of '
                f'{shape}: give an answer on this image.'
            )
        frame = Frame.of(shape, (0, 0, *shape), self.model.input_size)
        prompts = checked_prompts(frame, points, labels, box)
        warn_beyond('box', box, shape)
        return self.predict_at_scale(
            embedding,
            prompts,
            previous=previous,
            diameter=diameter,
            multimask=multimask,
        )

    def predict_at_scale(
        self,
        image: ImageEmbedding,
        prompts: Prompts,
        *,
        previous: Prediction | None = None,
        diameter: float | None = None,
        scales: Sequence[int] | None = None,
        multimask: bool | None = None,
    ) -> Prediction:
        """Predict one object as the widgets do; see `answer_at_scale`."""
        return answer_at_scale(
            partial(self.predict_in_windows, multimask=multimask),
            image,
            prompts,
            previous=previous,
            diameter=diameter,
            scales=scales,
        )

    def predict_in_windows(
        self,
        embeddings: Sequence[Embedding],
        prompts: Prompts,
        multimask: bool | None = None,
    ) -> list[Prediction]:
        """Predict one object in each of several windows; see `predict`.

        A region becomes the mask input of each window.
        """
        asked = []
        for embedding in embeddings:
            self.check(embedding)
            asked.append(_in_window(prompts, embedding.frame))
        if multimask is None:
            multimask = prompts.ambiguous
        return self._decode(embeddings, asked, multimask)

    @torch.no_grad()
    def _decode(
        self,
        embeddings: Sequence[Embedding],
        prompts: Sequence[Prompts],
        multimask: bool,
    ) -> list[Prediction]:
        """Decode checked prompts of one kind, one per window."""
        with self.model.threads():
            features = torch.cat([each.features for each in embeddings])
            answer = self.model.answer(
                features,
                self._to_input(prompts, [e.frame for e in embeddings]),
                multimask,
            )
            logits, scores = (x.float().cpu().numpy() for x in answer)
        return [
            Prediction(
                scores[i],
                logits[i],
                embeddings[i].frame,
                prompts[i],
                self.model.mask_threshold,
                self.model.record.ranking,
            )
            for i in range(len(embeddings))
        ]

    def check(self, embedding: Embedding | ImageEmbedding) -> None:
        """Raise an error if another model made the embedding."""
        if not isinstance(embedding, Embedding | ImageEmbedding):
            raise SegmentationError(
                f'embedding is {quoted(embedding)}; give what '
                'Predictor.embed or Predictor.embed_window returns.'
            )
        if embedding.model_key != self.model.key:
            raise SegmentationError(
                f'The embedding was made by model {embedding.model_key}, this '
                f'is {self.model.key}; embed the image with this model.'
            )

    def _to_input(
        self, prompts: Sequence[Prompts], frames: Sequence[Frame]
    ) -> dict[str, torch.Tensor]:
        """Return prompts as tensors in x-y pixels of the model's input."""
        arrays: dict[str, list[NDArray[Any]]] = {}
        for each, frame in zip(prompts, frames, strict=True):
            if len(each.points):
                points = frame.to_input_xy(each.points)
                arrays.setdefault('points', []).append(points)
                arrays.setdefault('labels', []).append(each.labels)
            if each.box is not None:
                corners = frame.to_input_xy(each.box.reshape(2, 2))
                arrays.setdefault('boxes', []).append(corners.reshape(4))
            if each.mask_input is not None:
                arrays.setdefault('masks', []).append(each.mask_input[None])
        return {
            kind: torch.from_numpy(np.stack(given).astype(np.float32)).to(
                self.model.device
            )
            for kind, given in arrays.items()
        }


def _in_window(prompts: Prompts, frame: Frame) -> Prompts:
    """Check the prompts of a window, with a region as its mask input."""
    pointed = len(prompts.points) > 0
    mask_input, box = prompts.mask_input, prompts.box
    if mask_input is None and prompts.region is not None:
        mask_input = low_res_logits(prompts.region, frame)
        if box is None and not pointed:
            # models are trained to correct a mask with points or a box
            box = np.asarray(prompts.region.box, dtype=np.float64)
    return checked_prompts(
        frame,
        prompts.points if pointed else None,
        prompts.labels if pointed else None,
        box,
        mask_input,
    )
