"""The assembled model: image encoder, prompt encoder, mask decoder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.batches import batch_size
from napari_mobilesam.model.fast_encoder import FastTinyViT
from napari_mobilesam.model.image_decoder import FoldedDecoder, ImageDecoder
from napari_mobilesam.model.image_encoder_vit import (
    VIT_CONFIGS,
    ImageEncoderViT,
)
from napari_mobilesam.model.instance_head import InstanceHead
from napari_mobilesam.model.mask_decoder import MaskDecoder, mask_slice
from napari_mobilesam.model.precision import half_precision, products_in
from napari_mobilesam.model.prompt_encoder import PromptEncoder
from napari_mobilesam.model.threads import ThreadChoice, ThreadTeam
from napari_mobilesam.model.tiny_vit import TinyViT
from napari_mobilesam.model.versions import LatestOnly, version_of
from napari_mobilesam.types import STRIDE, Architecture, ModelRecord

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
# Images whose shared part of the decoder is cached, 11 MB each at full size.
EMBEDDINGS_KEPT = 4


class Sam(nn.Module):
    """MobileSAM or SAM (Kirillov et al. 2023, Zhang et al. 2023).

    Parameters
    ----------
    image_encoder : nn.Module
        Encoder from (B, 3, S, S) to (B, 256, S/16, S/16).
    record : ModelRecord
        Record of the weights; its ``input_size`` is S.

    Attributes
    ----------
    instance_head : InstanceHead or None
        Decoder of all instances, if the weights have one.
    """

    mask_threshold = 0.0
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, image_encoder: nn.Module, record: ModelRecord) -> None:
        super().__init__()
        self.record = record
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(input_size=record.input_size)
        self.mask_decoder = MaskDecoder()
        self.instance_head = InstanceHead() if record.instance_head else None
        self._key = LatestOnly[str]()
        self._fast_encoder = LatestOnly[FastTinyViT]()
        self._half_overflows = False
        self._between: Callable[[], None] | None = None
        self._folded_decoder = LatestOnly[FoldedDecoder]()
        self._image_decoders = LatestOnly[ImageDecoder](EMBEDDINGS_KEPT)
        for name, value in (('mean', PIXEL_MEAN), ('std', PIXEL_STD)):
            self.register_buffer(
                f'pixel_{name}',
                torch.tensor(value)[:, None, None],
                persistent=False,
            )

    def __getstate__(self) -> dict[str, Any]:
        # thread measurements are specific to this machine and not copied
        measured = {'_thread_choice', '_worker_choice'}
        kept = {k: v for k, v in self.__dict__.items() if k not in measured}
        return kept | {'_between': None}

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.record.input_size

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding."""
        return self.input_size // STRIDE

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.pixel_mean.device

    @property
    def batch_size(self) -> int:
        """Number of prompts to decode at once, larger on a GPU."""
        return batch_size(self.device, self.embedding_size**2)

    @property
    def key(self) -> str:
        """Hash of weights and input size, for caches and checks.

        Computed from a sample of every tensor, and again after a change of
        weights.
        """
        return self._key.get(version_of(self), self._digest)

    def _digest(self) -> str:
        digest = hashlib.sha256(str(self.input_size).encode())
        for name, tensor in self.state_dict().items():
            values = tensor.detach().flatten()
            sample = values[:: max(1, len(values) // 64)]
            digest.update(name.encode())
            digest.update(sample.double().cpu().numpy().tobytes())
        return f'{self.record.name}-{digest.hexdigest()[:16]}'

    def threads(self, long: bool = False) -> AbstractContextManager[None]:
        """Return a context in which torch uses the fastest number of threads.

        Parameters
        ----------
        long : bool
            Choose for the image encoder, whose layers gain more from threads
            than those of the decoder.
        """
        if self.device.type != 'cpu':
            return nullcontext()
        return self._thread_choice.apply(long)

    def workers(self) -> ThreadTeam:
        """Return a thread pool for batches of prompts.

        Its size is the fastest on this machine, and 1 on a GPU. Results do
        not depend on it.

        Examples
        --------
        >>> for masks in sam.workers().map(propose, batches):  # doctest: +SKIP
        ...     found += masks
        """
        if self.device.type != 'cpu':
            return ThreadTeam(1, nullcontext)
        return self._worker_choice.workers()

    @cached_property
    def _thread_choice(self) -> ThreadChoice:
        return ThreadChoice(self._answer(1))

    @cached_property
    def _worker_choice(self) -> ThreadChoice:
        return ThreadChoice(self._answer(max(1, self.batch_size // 4)))

    def _answer(self, prompts: int) -> Callable[[], object]:
        """Return a benchmark that decodes prompts on an empty embedding."""
        side, device = self.embedding_size, self.device
        channels = self.mask_decoder.iou_token.embedding_dim
        decoder = self.image_decoder(torch.zeros(1, channels, side, side))
        boxes = torch.zeros(prompts, 4, device=device)
        return lambda: decoder.predict_iou(decoder.attend(boxes=boxes))

    def preprocess(
        self, rgb: Tensor, canvas: tuple[int, int] | None = None
    ) -> Tensor:
        """Normalise (B, 3, h, w) values of 0 … 255 and pad with zeros.

        Parameters
        ----------
        rgb : Tensor
            (B, 3, h, w) RGB values.
        canvas : tuple of int, optional
            (H, W) to pad to, multiples of 16; (S, S) by default.
        """
        x = (rgb - self.pixel_mean) / self.pixel_std
        height, width = canvas or (self.input_size, self.input_size)
        pad_bottom = height - x.shape[-2]
        pad_right = width - x.shape[-1]
        return functional.pad(x, (0, pad_right, 0, pad_bottom))

    def encode(self, x: Tensor) -> Tensor:
        """Embed preprocessed images: (B, 3, S, S) to (B, 256, s, s).

        TinyViT accepts any height and width that are multiples of 16.

        In inference mode without gradients, an equivalent but faster encoder
        is used on a CPU, if there is one, and half precision on a GPU.
        """
        if torch.is_grad_enabled() or self.image_encoder.training:
            return self.image_encoder(x)
        half = None if self._half_overflows else half_precision(x.device)
        with products_in(half, x.device):
            embedding = self._encoder(x.device)(x).float()
        if half is not None and not embedding.isfinite().all():
            self._half_overflows = True
            embedding = self._encoder(x.device)(x)
        return embedding

    def _encoder(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        encoder = self.image_encoder
        if device.type != 'cpu' or not isinstance(encoder, TinyViT):
            return encoder
        fast = self._fast_encoder.get(
            version_of(encoder), lambda: FastTinyViT(encoder)
        )
        return partial(fast, between=self._between)

    @contextmanager
    def giving_way(self, between: Callable[[], None]) -> Iterator[None]:
        """Enter a context in which `encode` can be interrupted.

        Parameters
        ----------
        between : callable
            Called before each layer of the image encoder, on the thread that
            entered the context; may raise to interrupt.
        """
        here = threading.get_ident()

        def check(*_: object) -> None:
            if threading.get_ident() == here:
                between()

        hooks = [
            module.register_forward_pre_hook(check)
            for module in self.image_encoder.modules()
        ]
        self._between = check
        try:
            yield
        finally:
            self._between = None
            for hook in hooks:
                hook.remove()

    def add_instance_head(self) -> InstanceHead:
        """Add an untrained instance head and return it."""
        self.instance_head = InstanceHead().to(self.device)
        self.record = replace(self.record, instance_head=True)
        return self.instance_head

    def remove_instance_head(self) -> None:
        """Remove the instance head, which fits only one image encoder."""
        self.instance_head = None
        self.record = replace(self.record, instance_head=False)

    @torch.no_grad()
    def instance_maps(self, features: Tensor) -> Tensor:
        """Return the maps of all instances, see `InstanceHead.forward`.

        Parameters
        ----------
        features : Tensor
            (B, 256, h, w) image embedding.

        Returns
        -------
        Tensor
            (B, 3, 4h, 4w) float32 from 0 to 1.

        Raises
        ------
        ValueError
            If the model has no instance head.
        """
        if self.instance_head is None:
            raise ValueError(f'{self.record.name} has no instance head')
        with products_in(half_precision(features.device), features.device):
            logits = self.instance_head(features)
        return logits.float().sigmoid()

    def embed_prompts(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed prompts, sparse and dense, see `PromptEncoder.forward`."""
        sparse, dense = self.prompt_encoder(points, labels, boxes, masks)
        return sparse, dense

    def image_decoder(self, features: Tensor) -> ImageDecoder:
        """Return a decoder of prompts on one embedded image, for inference.

        It gives the same results as `decode`, several times as fast. The last
        few are cached, and recomputed after a weight has changed.

        Parameters
        ----------
        features : Tensor
            (1, 256, s, s) image embedding.
        """
        version, folded = self._folded()
        return self._image_decoders.get(
            (version, version_of(features), id(features)),
            lambda: ImageDecoder(
                folded, features, half_precision(features.device)
            ),
        )

    @torch.no_grad()
    def answer(
        self, features: Tensor, prompts: dict[str, Tensor], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode the prompts of one object on each of B images.

        Used for clicks: same results as `decode`, without waiting for Python's
        lock between the steps.

        Parameters
        ----------
        features : Tensor
            (B, 256, s, s) image embeddings, of one object in B windows.
        prompts : dict of str to Tensor
            Some of the parameters of `embed_prompts`, for each image.
        multimask : bool
            Return three masks per image, else one.

        Returns
        -------
        logits : Tensor
            (B, M, S/4, S/4) low-res logits.
        iou : Tensor
            (B, M) predicted IoU.
        """
        _, folded = self._folded()
        logits, iou = folded.answer(
            features,
            prompts,
            mask_slice(multimask),
            half_precision(features.device),
        )
        return logits, iou

    def _folded(self) -> tuple[Hashable, FoldedDecoder]:
        """Return the decoder for inference, and the version of its weights."""
        version = version_of(self.prompt_encoder, self.mask_decoder)
        return version, self._folded_decoder.get(
            version,
            lambda: FoldedDecoder(self.mask_decoder, self.prompt_encoder),
        )

    def attend(
        self,
        features: Tensor,
        sparse: Tensor,
        dense: Tensor,
        image_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return tokens and image tokens, see `MaskDecoder.attend`."""
        return self.mask_decoder.attend(
            features,
            self.prompt_encoder.dense_positions(),
            sparse,
            dense,
            image_index,
        )

    def decode(
        self,
        features: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask: bool,
        image_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts on K embedded images.

        Parameters
        ----------
        features : Tensor
            (K, 256, s, s) image embeddings.
        sparse, dense : Tensor
            Prompt embeddings from `embed_prompts`.
        multimask : bool
            Return three masks per prompt, else one.
        image_index : Tensor, optional
            (B,) int64 image of each prompt; required if K > 1.

        Returns
        -------
        logits : Tensor
            (B, M, S/4, S/4) low-res logits.
        iou : Tensor
            (B, M) predicted IoU.
        """
        tokens, image = self.attend(features, sparse, dense, image_index)
        masks = mask_slice(multimask)
        return (
            self.mask_decoder.draw(tokens, image, masks),
            self.mask_decoder.predict_iou(tokens)[:, masks],
        )


def build_sam(
    architecture: Architecture = 'vit_t',
    input_size: int | None = None,
    record: ModelRecord | None = None,
) -> Sam:
    """Build a model with untrained weights, in training mode.

    Parameters
    ----------
    architecture : {'vit_t', 'vit_b', 'vit_l', 'vit_h'}
        Image encoder; ignored if ``record`` is given.
    input_size : int, optional
        Side of the input, a multiple of 16; by default the record's or 1024.
    record : ModelRecord, optional
        Record to build for.

    Raises
    ------
    ValueError
        If the architecture is unknown, or the input size is below 32 or not a
        multiple of 16.
    """
    if record is None:
        record = ModelRecord('untrained', architecture)
    if input_size is not None:
        record = replace(record, input_size=input_size)
    size = record.input_size
    if size % STRIDE or size < 2 * STRIDE:
        raise ValueError(
            f'input_size is {size}; it has to be a multiple of {STRIDE} and '
            f'at least {2 * STRIDE}'
        )
    if record.architecture == 'vit_t':
        return Sam(TinyViT(), record)
    if record.architecture in VIT_CONFIGS:
        config = VIT_CONFIGS[record.architecture]
        return Sam(ImageEncoderViT(config, size), record)
    raise ValueError(
        f'unknown architecture {record.architecture!r}; choose one of '
        f'{", ".join(get_args(Architecture))}'
    )
