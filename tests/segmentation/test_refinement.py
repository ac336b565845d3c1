"""Refinement of labels, with a model that is always right."""

from __future__ import annotations

import numpy as np
import pytest
from viewer.oracle import OracleSam

from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.segmentation.refinement import (
    Refinement,
    RefineParameters,
    judge,
    refine_labels,
    repaint,
)
from napari_mobilesam.types import ImageError, Mask, SegmentationError


def image_of_squares() -> np.ndarray:
    """Two bright squares: (16 … 40, 20 … 44) and (56 … 80, 72 … 104)."""
    image = np.full((96, 128), 10, np.uint8)
    image[16:40, 20:44] = 200
    image[56:80, 72:104] = 200
    return image


def rough() -> np.ndarray:
    """Labels 3 and 7 around the squares, three pixels too large."""
    labels = np.zeros((96, 128), np.uint16)
    labels[13:43, 17:47] = 3
    labels[53:83, 69:107] = 7
    return labels


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def square(row: int, column: int, side: int, score: float = 0.9) -> Mask:
    box = (row, column, row + side, column + side)
    return Mask(np.ones((side, side), bool), box, score)


def test_rough_labels_become_the_objects() -> None:
    image, labels = image_of_squares(), rough()
    refined, table = refine_labels(image, labels, OracleSam())
    for label in (3, 7):
        true = (image > 100) & (labels == label)
        before = iou(labels == label, true)
        assert iou(refined == label, true) > before + 0.15
    assert refined.dtype == np.uint16
    assert table['label'].tolist() == [3, 7]
    assert table['refined'].all()
    assert table['area'].tolist() == [(refined == n).sum() for n in (3, 7)]
    assert table['area_before'].tolist() == [900, 30 * 38]
    assert table['overlap'].tolist() == pytest.approx(
        [iou(refined == n, labels == n) for n in (3, 7)]
    )


def test_areas_are_those_of_objects_that_touch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each answer reaches into the other object, which keeps its pixels."""
    wide = Mask(np.ones((24, 50), bool), (16, 20, 40, 70), 0.9)
    monkeypatch.setattr(
        'napari_mobilesam.segmentation.refinement.judge',
        lambda label, before, *_: Refinement(label, before, wide, True, 0.8),
    )
    labels = np.zeros((96, 128), np.uint16)
    labels[16:40, 20:44], labels[16:40, 44:70] = 3, 7
    refined, table = refine_labels(image_of_squares(), labels, OracleSam())
    assert np.array_equal(refined, labels)
    assert table['area'].tolist() == [24 * 24, 24 * 26]


def test_another_object_and_nothing_stay_as_they_were() -> None:
    labels = np.zeros((96, 128), np.int32)
    # most of it is background, and only a corner is bright
    labels[30:70, 34:68] = 1
    labels[0:8, 100:120] = 2
    refined, table = refine_labels(image_of_squares(), labels, OracleSam())
    assert np.array_equal(refined, labels)
    assert not table['refined'].any()
    assert 'a different object' in table['reason'][0]
    assert table['reason'][1] == 'the model found nothing'


def test_known_scores_and_thresholds() -> None:
    image, labels = image_of_squares(), rough()
    model = OracleSam()
    refined, table = refine_labels(image, labels, model, scores={3: 0.99})
    assert table['refined'].tolist() == [False, True]
    assert 'better predicted IoU, 0.99' in table['reason'][0]
    assert table['score'].tolist() == pytest.approx([0.99, 0.97])
    assert (refined == 3).sum() == 900
    _, table = refine_labels(image, labels, model, least_score=0.98)
    assert not table['refined'].any()
    _, table = refine_labels(image, labels, model, least_overlap=0.8)
    assert not table['refined'].any()


@pytest.mark.parametrize(
    'name, value', [('least_overlap', 0.0), ('least_score', 1.5)]
)
def test_thresholds_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(SegmentationError, match=f'{name} is {value}'):
        RefineParameters(**{name: value})


def test_cancelling_keeps_what_is_done() -> None:
    said: list[str] = []
    refined, table = refine_labels(
        image_of_squares(),
        rough(),
        OracleSam(),
        progress=lambda done, total, text: said.append(text),
        cancelled=lambda: len(said) == 1,
    )
    assert said == ['Object 1 of 2']
    assert len(table) == 1
    assert 0 < (refined == 3).sum() < 700
    assert (refined == 7).sum() == 30 * 38


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ImageError, match='48 × 64 pixels, the image has 96'):
        refine_labels(image_of_squares(), rough()[::2, ::2], OracleSam())


def test_labels_without_objects() -> None:
    labels = np.zeros((96, 128), int)
    refined, table = refine_labels(image_of_squares(), labels, OracleSam())
    assert not refined.any()
    assert len(table) == 0


# painting


def paint(*given: tuple[int, Mask, Mask]) -> np.ndarray:
    """Repaint objects that are all refined."""
    labels = np.zeros((20, 20), np.int32)
    for label, before, _ in given:
        row0, column0, row1, column1 = before.box
        labels[row0:row1, column0:column1][before.data] = label
    return repaint(
        labels, [Refinement(n, b, a, True, 0.6) for n, b, a in given]
    )


def test_no_object_takes_what_another_keeps() -> None:
    one, other = square(2, 2, 6), square(2, 8, 6)
    # the better one wants all of its neighbour
    wide = Mask(np.ones((6, 12), bool), (2, 2, 8, 14), 0.99)
    painted = paint((1, one, wide), (2, other, square(2, 8, 6, 0.5)))
    assert (painted == 2).sum() == 36
    assert (painted == 1).sum() == 36


def test_pixels_given_up_go_to_the_better_object() -> None:
    # both want the columns that object 2 gives up
    one, other = square(2, 2, 6), square(2, 8, 6)
    small = Mask(np.ones((6, 3), bool), (2, 11, 8, 14), 0.5)
    wide = Mask(np.ones((6, 9), bool), (2, 2, 8, 11), 0.9)
    painted = paint((1, one, wide), (2, other, small))
    assert (painted == 1).sum() == 54
    assert (painted == 2).sum() == 18


def test_the_order_does_not_matter() -> None:
    given = [
        (n, square(4 * n, 2, 4), square(4 * n - 1, 1, 6, 0.5 + n / 10))
        for n in range(1, 4)
    ]
    assert np.array_equal(paint(*given), paint(*given[::-1]))


def test_objects_that_stay_keep_every_pixel() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[2:8, 8:14] = 1, 2
    wide = Mask(np.ones((6, 12), bool), (2, 2, 8, 14), 0.99)
    painted = repaint(
        labels,
        [
            Refinement(1, square(2, 2, 6), wide, True, 0.6),
            Refinement(2, square(2, 8, 6), None, False, 0.0, 'why'),
        ],
    )
    assert np.array_equal(painted, labels)


def test_iou() -> None:
    assert mask_iou(square(0, 0, 4), square(0, 2, 4)) == pytest.approx(8 / 24)
    assert mask_iou(square(0, 0, 4), square(9, 9, 4)) == 0


def test_an_empty_answer_is_none() -> None:
    empty = Mask(np.zeros((0, 0), bool), (0, 0, 0, 0), 0.9)
    record = OracleSam().record
    found = judge(1, square(0, 0, 4), empty, RefineParameters(), record)
    assert (found.refined, found.after) == (False, None)
