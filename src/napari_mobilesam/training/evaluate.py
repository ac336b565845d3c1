"""Evaluation as in the application: zoomed windows, default parameters.

The measures are those of Segment Anything, section 7 and appendix D (mIoU by
point, oracle of three, clicks), MobileSAM, table 7 (agreement with the
teacher), and those usual for instance segmentation in microscopy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_instance,
    check_model,
)
from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.everything import segment_everything
from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.metrics import (
    THRESHOLDS,
    boundary_f,
    iou,
    iou_matrix,
    match,
)
from napari_mobilesam.training.simulated_prompts import (
    box_of,
    correction_point,
    random_point,
)
from napari_mobilesam.training.training_parameters import EvaluationOptions
from napari_mobilesam.types import Progress, Prompts, slices_of

if TYPE_CHECKING:
    import pandas as pd

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Results, one row of numbers per image.

    Attributes
    ----------
    rows : list of dict
        name, dataset, modality, objects, and the measures, averaged over the
        objects of the image.
    model : str
        Name of the model.
    options : EvaluationOptions
        Options of the evaluation.
    """

    rows: list[dict[str, Any]]
    model: str
    options: EvaluationOptions

    def table(self) -> pd.DataFrame:
        """Return means over images, per dataset and modality and overall."""
        import pandas as pd

        if not self.rows:
            return pd.DataFrame()
        keys = ['dataset', 'modality']
        frame = pd.DataFrame(self.rows).drop(columns='name')
        records = []
        for names, members in [
            *frame.groupby(keys, sort=False),
            (('all', ''), frame),
        ]:
            means = members.drop(columns=keys).mean()
            record = dict(zip(keys, names, strict=True))
            records.append(record | {'images': len(members)} | dict(means))
        return pd.DataFrame(records)

    def to_json(self, path: Path) -> None:
        """Write rows, table and options."""
        content = {
            'model': self.model,
            'options': asdict(self.options),
            'table': json.loads(self.table().to_json(orient='records')),
            'images': self.rows,
        }
        write_text_atomic(path, json.dumps(content, indent=1))


class Asker:
    """Predictor of one image, used like the prompt widget uses it."""

    def __init__(self, model: Sam, image: LabelledImage) -> None:
        self.model, self.image = model, image
        self.predictor = Predictor(model)
        self.embedding = self.predictor.embed(image.image)
        self.shape = self.embedding.image_shape

    def ask(
        self,
        points: Sequence[tuple[int, int]] = (),
        labels: Sequence[int] = (),
        box: NDArray[np.float64] | None = None,
        previous: Prediction | None = None,
    ) -> Prediction:
        """Predict; with ``previous``, its best mask is fed back."""
        prompts = Prompts(
            np.asarray(points, dtype=float).reshape(-1, 2),
            np.asarray(labels, dtype=np.int64),
            box,
        )
        return self.predictor.predict_at_scale(
            self.embedding, prompts, previous=previous
        )


class Target(NamedTuple):
    """An object, its labels, and its cropped mask.

    Attributes
    ----------
    layer : ndarray
        (H, W) labels that contain it.
    label : int
        Its label.
    truth : ndarray
        (h, w) bool of its box.
    offset : tuple of int
        (row, column) of the box.
    """

    layer: NDArray[np.int32]
    label: int
    truth: Bool
    offset: tuple[int, int]

    def score(self, prediction: Prediction, index: int) -> float:
        """Return the IoU of a mask with the object, with pixels outside."""
        mask = prediction.mask(index)
        if not mask.data.size:
            return 0.0
        hit = self.layer[slices_of(mask.box)] == self.label
        shared = int(np.count_nonzero(hit & mask.data))
        union = int(self.truth.sum()) + mask.area - shared
        return shared / union


def _targets(
    image: LabelledImage, count: int, rng: np.random.Generator
) -> Iterator[Target]:
    chosen = np.arange(len(image.objects))
    if len(chosen) > count:
        chosen = np.sort(rng.choice(chosen, count, replace=False))
    for index, label, *corners in image.objects[chosen].tolist():
        row0, column0, row1, column1 = corners
        layer = image.labels[index]
        truth = layer[row0:row1, column0:column1] == label
        yield Target(layer, label, truth, (row0, column0))


def _shift(
    position: tuple[int, int], offset: tuple[int, int]
) -> tuple[int, int]:
    return position[0] + offset[0], position[1] + offset[1]


def _prompt_scores(
    asker: Asker, target: Target, rng: np.random.Generator
) -> dict[str, float]:
    centre = _shift(innermost_pixel(target.truth), target.offset)
    anywhere = _shift(random_point(target.truth, rng), target.offset)
    corner = np.tile(np.asarray(target.offset, dtype=float), 2)
    box = box_of(target.truth) + corner
    by_centre = asker.ask([centre], [1])
    by_random = asker.ask([anywhere], [1])
    by_box = asker.ask(box=box)
    all_three = [target.score(by_centre, i) for i in range(3)]
    best = by_centre.best
    mask = by_centre.masks[best]
    return {
        'point': all_three[best],
        'oracle': max(all_three),
        'random_point': target.score(by_random, by_random.best),
        'box': target.score(by_box, by_box.best),
        'iou_error': abs(float(by_centre.scores[best]) - all_three[best]),
        'boundary_f': boundary_f(target.layer == target.label, mask),
    }


def _clicks(asker: Asker, target: Target, most: int) -> tuple[int, int]:
    """Return clicks to IoU 0.8 and 0.9; ``most`` if not reached."""
    truth = target.layer == target.label
    points = [_shift(innermost_pixel(target.truth), target.offset)]
    labels = [1]
    reached = {0.8: most, 0.9: most}
    previous: Prediction | None = None
    for count in range(1, most + 1):
        previous = asker.ask(points, labels, previous=previous)
        mask = previous.masks[previous.best]
        value = iou(mask, truth)
        for level in reached:
            if value >= level:
                reached[level] = min(reached[level], count)
        if value >= max(reached):
            break
        row, column, label = correction_point(mask, truth)
        points.append((row, column))
        labels.append(label)
    return reached[0.8], reached[0.9]


def label_scores(
    truth: NDArray[np.integer], labels: NDArray[np.integer]
) -> dict[str, float]:
    """Compare two label images of the same shape.

    Returns
    -------
    dict
        ap50, ap50_95, recall, f1, best_iou.
    """
    matrix = iou_matrix(truth, labels)
    matches = [match(matrix, threshold) for threshold in THRESHOLDS]
    precisions = [found.average_precision for found in matches]
    return {
        'ap50': precisions[0],
        'ap50_95': float(np.mean(precisions)),
        'recall': float(np.mean([found.recall for found in matches])),
        'f1': matches[0].f1,
        'best_iou': float(matrix.max(1, initial=0).mean()),
    }


def _agreement(
    asker: Asker, teacher: Asker, target: Target, distance: float, turn: float
) -> float:
    """Return the student-teacher IoU for a click and a nearby negative one."""
    row, column = _shift(innermost_pixel(target.truth), target.offset)
    beside = (
        int(np.clip(row + distance * np.sin(turn), 0, asker.shape[0] - 1)),
        int(np.clip(column + distance * np.cos(turn), 0, asker.shape[1] - 1)),
    )
    masks = []
    for one in (asker, teacher):
        answer = one.ask([(row, column), beside], [1, 0])
        masks.append(answer.masks[answer.best])
    return iou(*masks)


def evaluate_image(
    model: Sam,
    image: LabelledImage,
    options: EvaluationOptions,
    teacher: Sam | None = None,
) -> dict[str, Any]:
    """Measure one image; see `evaluate` for the columns."""
    rng = np.random.default_rng(options.seed)
    asker = Asker(model, image)
    targets = list(_targets(image, options.objects, rng))
    scores = [_prompt_scores(asker, target, rng) for target in targets]
    row: dict[str, Any] = {
        'name': image.name,
        'dataset': image.dataset,
        'modality': image.modality,
        'objects': len(image.objects),
    }
    if scores:
        row |= {k: float(np.mean([s[k] for s in scores])) for k in scores[0]}
    if options.clicks and options.click_objects and targets:
        step = -(-len(targets) // options.click_objects)
        pairs = [
            _clicks(asker, target, options.clicks)
            for target in targets[::step]
        ]
        row['clicks_80'], row['clicks_90'] = np.mean(pairs, axis=0).tolist()
    if options.everything:
        parameters = options.everything_parameters
        labels, _ = segment_everything(image.image, model, **parameters)
        row |= label_scores(image.labels[0], labels)
    if teacher is not None:
        other = Asker(teacher, image)
        for distance in options.distances:
            values = [
                _agreement(
                    asker, other, target, distance, rng.uniform(0, 2 * np.pi)
                )
                for target in targets
            ]
            row[f'agreement_{distance:g}'] = float(np.mean(values))
    return row


def evaluate(
    model: Sam,
    images: Sequence[LabelledImage],
    options: EvaluationOptions | None = None,
    *,
    teacher: Sam | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Evaluation:
    """Measure a model on labelled images.

    Parameters
    ----------
    model : Sam
        In inference mode.
    images : sequence of LabelledImage
        Ground truth.
    options : EvaluationOptions, optional
        Options of the evaluation.
    teacher : Sam, optional
        Model to compare with (MobileSAM, table 7).
    progress : callable, optional
        ``progress(done, total, name)`` per image.
    cancelled : callable, optional
        Returns True to end the evaluation with the images done so far.

    Returns
    -------
    Evaluation
        Columns: point, random_point, box (mean IoU of the preferred mask),
        oracle (best of three), iou_error (of the predicted IoU), boundary_f;
        clicks_80, clicks_90; ap50, ap50_95, recall, f1, best_iou (segment
        everything); agreement_<distance>.
    """
    check_model(model)
    check_instance('images', images, Sequence, optional=False)
    for image in images:
        check_instance('an image', image, LabelledImage, optional=False)
    check_instance('options', options, EvaluationOptions)
    options = options or EvaluationOptions()
    rows = []
    for number, image in enumerate(images):
        if cancelled is not None and cancelled():
            break
        if progress is not None:
            progress(number, len(images), f'evaluating {image.name}')
        rows.append(evaluate_image(model, image, options, teacher))
    return Evaluation(rows, model.record.name, options)
