"""Networks that draw boxes around objects named by a text.

Grounding DINO (Liu et al. 2023, arXiv 2303.05499) answers with boxes. CLIPSeg
(Lüddecke and Ecker 2022, arXiv 2112.10003) answers with a heat map, and each
connected part gets a box. Both were trained on photographs, not on microscopy.
Their weights are downloaded on request only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.extra import need
from napari_mobilesam.model.registry import (
    cache_folder,
    download_file,
    download_problem,
)
from napari_mobilesam.types import Progress, SegmentationError

if TYPE_CHECKING:
    from torch import Tensor

Boxes = tuple[NDArray[np.float64], NDArray[np.float64]]

# Mean and standard deviation of the training images of both.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOT_MICROSCOPY = 'trained on photographs, not on microscopy'


class DetectorError(SegmentationError):
    """A detector cannot be used or has failed; the message says why."""


@dataclass(frozen=True)
class DetectorRecord:
    """A detector that can be downloaded.

    Attributes
    ----------
    name : str
        Name in commands.
    repository : str
        Repository on huggingface.co.
    licence : str
        Licence of the weights.
    size_bytes : int
        Approximate size of the download.
    purpose : str
        Short description for users.
    files : tuple of str
        Files to download from the repository.
    """

    name: str
    repository: str
    licence: str
    size_bytes: int
    purpose: str
    files: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the downloaded files, which may not exist yet."""
        return cache_folder().parent / 'detectors' / self.name

    @property
    def here(self) -> bool:
        """True if all files are on this computer."""
        return all((self.folder / name).is_file() for name in self.files)

    @property
    def text(self) -> str:
        """Size, licence and purpose on one line."""
        size = f'{self.size_bytes / 1e6:.0f} MB'
        return f'about {size}, {self.licence}, {self.purpose}'


# Sizes are those of the parameters of the architectures in transformers, in
# float32. The files have not been downloaded during development, so their
# hashes are unknown.
RECORDS = {
    record.name: record
    for record in (
        DetectorRecord(
            'grounding_dino_tiny',
            'IDEA-Research/grounding-dino-tiny',
            'Apache-2.0',
            689_000_000,
            f'boxes around objects named by a text; {NOT_MICROSCOPY}',
            (
                'config.json',
                'tokenizer_config.json',
                'tokenizer.json',
                'vocab.txt',
                'model.safetensors',
            ),
        ),
        DetectorRecord(
            'clipseg',
            'CIDAS/clipseg-rd64-refined',
            'Apache-2.0',
            610_000_000,
            f'regions named by a text; {NOT_MICROSCOPY}',
            (
                'config.json',
                'tokenizer_config.json',
                'vocab.json',
                'merges.txt',
                'model.safetensors',
            ),
        ),
    )
}


def download_detector(name: str, progress: Progress | None = None) -> Path:
    """Download the weights of a detector, once.

    Parameters
    ----------
    name : str
        ``'grounding_dino_tiny'`` or ``'clipseg'``.
    progress : callable, optional
        ``progress(done_bytes, total_bytes, message)``; an exception that it
        raises stops the download.

    Returns
    -------
    Path
        Folder of the files.

    Raises
    ------
    DetectorError
        If the name is unknown or the download fails.
    """
    record = RECORDS.get(name)
    if record is None:
        raise DetectorError(
            f'no detector named {name!r} can be downloaded; choose from '
            f'{", ".join(RECORDS)}'
        )
    for file in record.files:
        if (record.folder / file).is_file():
            continue
        url = f'https://huggingface.co/{record.repository}/resolve/main/{file}'
        try:
            path = record.folder / file
            download_file(url, path, None, f'{name} {file}', progress)
        except (OSError, ValueError) as error:
            raise DetectorError(
                f'{name} could not be downloaded from {url}: '
                f'{download_problem(error, url)}. Check the network and the '
                f'free disk space, or put the files of {record.repository} '
                f'into {record.folder}.'
            ) from error
    return record.folder


def load_downloaded(name: str, device: str = 'cpu') -> Any:
    """Load a detector whose weights are on this machine.

    Raises
    ------
    DetectorError
        If they are missing or cannot be read; the message says how to get
        them.
    MissingExtraError
        If transformers is not installed.
    """
    record = RECORDS[name]
    need('transformers', 'text')
    if not record.here:
        raise DetectorError(
            f'The weights of {name} are not on this computer: download them '
            f'({record.text}) with `napari-mobilesam detectors download '
            f'{name}`.'
        )
    make = GroundingDino if name == 'grounding_dino_tiny' else ClipSeg
    try:
        return make(record.folder, device)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        # imported here, as listing detectors does not need torch
        from napari_mobilesam.model.batches import ran_out_of_memory

        if isinstance(error, RuntimeError) and ran_out_of_memory(error):
            # of a GPU: the files are sound
            raise
        raise DetectorError(
            f'{name} in {record.folder} cannot be loaded: {error}. Delete the '
            'folder and download it again.'
        ) from error


class GroundingDino:
    """Boxes from Grounding DINO.

    Parameters
    ----------
    folder : path
        Folder of a transformers model.
    device : str
        Torch device.
    least : float
        Minimum score of a box.
    sides : tuple of int
        Shorter side of the model's input, and the maximum of the longer one.
    """

    def __init__(
        self,
        folder: str | Path,
        device: str = 'cpu',
        least: float = 0.1,
        sides: tuple[int, int] = (800, 1333),
    ) -> None:
        self._tokenizer, self._model = _loaded(
            'GroundingDinoForObjectDetection', folder, device
        )
        self._device, self._least, self._sides = device, least, sides

    def boxes(self, image: NDArray[np.uint8], text: str) -> Boxes:
        """Find boxes around objects named by a text; see `BoxDetector.boxes`.

        Separate several names by dots: ``'nucleus. debris.'``
        """
        # imported here, as listing detectors does not need torch
        import torch

        prompt = text.strip().lower()
        prompt = prompt if prompt.endswith('.') else f'{prompt}.'
        tokens = self._tokenizer(
            [prompt], return_tensors='pt', return_token_type_ids=True
        ).to(self._device)
        height, width = image.shape[:2]
        short, long = self._sides
        factor = min(short / min(height, width), long / max(height, width))
        shape = (
            max(1, round(height * factor)),
            max(1, round(width * factor)),
        )
        pixels = normalised(image, shape).to(self._device)
        with torch.no_grad():
            answer = self._model(
                pixel_values=pixels,
                pixel_mask=torch.ones(
                    (1, *shape), dtype=torch.long, device=self._device
                ),
                input_ids=tokens['input_ids'],
                attention_mask=tokens['attention_mask'],
                token_type_ids=tokens['token_type_ids'],
            )
        scores = answer.logits[0].sigmoid().amax(dim=-1).cpu().numpy()
        middle_x, middle_y, across, down = (
            answer.pred_boxes[0].cpu().numpy().astype(np.float64).T
        )
        boxes = np.stack(
            [
                (middle_y - down / 2) * height,
                (middle_x - across / 2) * width,
                (middle_y + down / 2) * height,
                (middle_x + across / 2) * width,
            ],
            axis=1,
        )
        good = scores >= self._least
        return boxes[good], scores[good].astype(np.float64)


class ClipSeg:
    """Boxes around the parts of a heat map from CLIPSeg.

    Parameters
    ----------
    folder : path
        Folder of a transformers model.
    device : str
        Torch device.
    least : float
        Minimum probability of the pixels of a component.
    """

    def __init__(
        self, folder: str | Path, device: str = 'cpu', least: float = 0.3
    ) -> None:
        self._tokenizer, self._model = _loaded(
            'CLIPSegForImageSegmentation', folder, device
        )
        self._side = int(self._model.config.vision_config.image_size)
        self._device, self._least = device, least

    def boxes(self, image: NDArray[np.uint8], text: str) -> Boxes:
        """Find boxes around objects named by a text; see `BoxDetector.boxes`.

        Separate several names by dots: ``'coin. leaf.'`` The score is the
        mean probability of the component.
        """
        from scipy.ndimage import find_objects, label

        pixels = normalised(image, (self._side, self._side)).to(self._device)
        boxes, scores = [], []
        for thing in filter(None, map(str.strip, text.split('.'))):
            chances = self._chances(pixels, thing)
            parts, _ = label(chances >= self._least)
            factors = np.array(image.shape[:2]) / chances.shape
            for number, (rows, columns) in enumerate(find_objects(parts), 1):
                boxes.append(
                    [
                        rows.start * factors[0],
                        columns.start * factors[1],
                        rows.stop * factors[0],
                        columns.stop * factors[1],
                    ]
                )
                scores.append(float(chances[parts == number].mean()))
        return (
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(scores, np.float64),
        )

    def _chances(self, pixels: Tensor, thing: str) -> NDArray[np.float32]:
        """Return the (h, w) probability that a pixel belongs to an object."""
        import torch

        tokens = self._tokenizer([thing], return_tensors='pt').to(self._device)
        with torch.no_grad():
            answer = self._model(
                pixel_values=pixels,
                input_ids=tokens['input_ids'],
                attention_mask=tokens['attention_mask'],
            )
        heat = answer.logits.reshape(answer.logits.shape[-2:]).sigmoid()
        return heat.cpu().numpy()


def _loaded(kind: str, folder: str | Path, device: str) -> tuple[Any, Any]:
    """Load tokenizer and model of a class of transformers, for inference."""
    library = need('transformers', 'text')
    tokenizer, model = (
        getattr(library, name).from_pretrained(folder, local_files_only=True)
        for name in ('AutoTokenizer', kind)
    )
    return tokenizer, model.to(device).eval()


def normalised(image: NDArray[np.uint8], shape: tuple[int, int]) -> Tensor:
    """Resize and normalise (H, W, 3) uint8 to (1, 3, h, w) float32."""
    import torch
    from torch.nn import functional

    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    resized = functional.interpolate(
        pixels[None].float() / 255,
        shape,
        mode='bilinear',
        antialias=True,
        align_corners=False,
    )
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(DEVIATION).view(1, 3, 1, 1)
    return (resized - mean) / deviation
