"""Training of the instance head alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.model.checkpoints import load_model, save_checkpoint
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.instances import (
    find_instances,
)
from napari_mobilesam.training.head_job import HeadJob
from napari_mobilesam.training.head_targets import (
    HeadCropSource,
    validation_crops,
)
from napari_mobilesam.training.head_training import instance_f1
from napari_mobilesam.training.instance_maps import object_maps
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    labelled_image,
)
from napari_mobilesam.training.losses import head_loss
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.training.training_parameters import (
    TrainConfig,
    ZoomRange,
)
from napari_mobilesam.types import SegmentationError
from training.helpers import discs


def rod_and_crescent() -> np.ndarray:
    """A rod, a crescent around it, and a disc cut off by the edge."""
    rows, columns = np.indices((60, 80))
    labels = np.zeros((60, 80), np.int32)
    far = np.hypot(rows - 30, columns - 25)
    labels[(far > 14) & (far < 22) & (columns < 30)] = 1
    labels[25:31, 20:60] = 2
    labels[np.hypot(rows - 50, columns - 80) < 12] = 3
    return labels


def test_maps_are_normalised_for_each_object():
    labels = rod_and_crescent()
    (foreground, centre, boundary), known = object_maps(labels)
    assert np.array_equal(foreground > 0, labels > 0)
    assert known.all()
    for label in (1, 2, 3):
        inside = labels == label
        assert centre[inside].max() > 0.95
        assert boundary[inside].max() == 1
        assert 0 <= centre[inside].min() < 0.1
        assert boundary[inside].min() < 0.3
        # the centre is deep inside, not in the hollow or at the end
        row, column = np.argwhere(inside)[centre[inside].argmax()]
        assert boundary[row, column] >= 0.7
    assert not centre[labels == 0].any()
    # an object goes on beyond the edge of the image
    assert boundary[50, 79] > 0.8


def test_where_not_all_is_labelled_only_background_nearby_is_known():
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 20:40] = 1
    known = object_maps(labels, complete=False).known
    assert known[labels > 0].all()
    assert known[19, 30] and known[30, 41]
    assert not known[5, 30] and not known[30, 55]


def test_seeds_and_watershed_give_the_objects_of_their_maps():
    _, labels = discs()
    maps = object_maps(labels).values
    seeds, heights, found = find_instances(maps)
    assert (np.diff(heights) <= 0).all()
    assert heights.min() > 0.7 and heights.max() <= 1
    assert sorted(labels[tuple(seeds.T)]) == list(range(1, labels.max() + 1))
    assert np.array_equal(found > 0, labels > 0)
    for seed, place in enumerate(seeds, start=1):
        assert np.array_equal(found == seed, labels == labels[tuple(place)])


def test_empty_maps_have_no_seeds():
    maps = np.zeros((3, 8, 8), np.float32)
    found = find_instances(maps)
    assert found.seeds.shape == (0, 2)
    assert not found.labels.any()


def test_crops_are_reproducible_and_their_maps_fit(disc_images):
    source = HeadCropSource(disc_images, 192, ZoomRange(best=32), seed=3)
    one, again = source[4], source[4]
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.maps, again.maps)
    assert one.maps.shape == (4, 48, 48)
    foreground, known = one.maps[0] > 127, one.maps[3] > 127
    assert (foreground == (one.ids > 0)).mean() > 0.97
    rows, columns = one.image.shape[:2]
    assert known.sum() == round(rows / 4) * round(columns / 4)
    other = source[5]
    assert not np.array_equal(one.maps, other.maps)


def test_true_maps_score_one_and_unknown_objects_are_not_judged(disc_images):
    source = HeadCropSource(disc_images, 192, ZoomRange(best=32))
    (crop,) = validation_crops(source, 32, 1)
    maps = crop.maps[:3].astype(np.float32) / 255
    assert instance_f1(maps, crop) == 1
    assert instance_f1(np.zeros_like(maps), crop) == 0
    unknown = crop.maps.copy()
    unknown[3, crop.ids == crop.ids.max()] = 0
    ids = np.where(crop.ids == crop.ids.max(), 0, crop.ids)
    assert instance_f1(maps, replace(crop, maps=unknown, ids=ids)) == 1


def test_unknown_pixels_teach_nothing():
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    maps = torch.rand(1, 4, 8, 8)
    maps[:, 3] = 1
    maps[:, 3, :4] = 0
    head_loss(logits, maps).backward()
    assert logits.grad is not None
    assert not logits.grad[..., :4, :].any()
    assert logits.grad[..., 4:, :].all()


@pytest.fixture
def base(tiny: Sam, tmp_path: Path) -> Path:
    path = tmp_path / 'base.safetensors'
    save_checkpoint(tiny, path, tiny.record)
    return path


def job(folder: Path, base: Path, tmp_path: Path, **more: object) -> HeadJob:
    config = TrainConfig(steps=2, batch_size=2, validation_steps=1)
    return HeadJob(
        folder,
        tmp_path / 'run',
        tmp_path / 'with_head.safetensors',
        base,
        crops=3,
        config=config,
        validation_crops=2,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_only_the_head_is_trained(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    seen: list[str] = []
    path = job(disc_folder, base, tmp_path).run(
        lambda done, total, message: seen.append(message)
    )
    before, after = load_model(base), load_model(path)
    assert before.instance_head is None
    assert after.instance_head is not None
    assert after.record.instance_head
    assert after.record.object_diameter == before.record.object_diameter
    theirs = after.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(theirs[name], value), name
    trained = after.record.training['instance_head']
    assert trained['steps'] == 2
    assert 'score' in trained['curve'][-1]
    assert seen[0] == 'embedded crops'
    assert 'loss' in seen[-1] and 'IoU' not in seen[-1]


@pytest.mark.slow
def test_a_cancelled_run_goes_on_with_the_crops_it_has(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    with pytest.raises(TrainingError, match='continues from there'):
        job(disc_folder, base, tmp_path).run(
            lambda done, total, message: seen.append(done),
            lambda: len(seen) > 1,
        )
    again = job(disc_folder, base, tmp_path)
    assert again.run().is_file()
    other = replace(again, incomplete=('',))
    with pytest.raises(SegmentationError, match='of other crops'):
        other.run()


def test_a_folder_of_another_run_is_told_before_crops_are_embedded(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'run.pt').write_bytes(b'of another run')
    seen: list[str] = []
    with pytest.raises(TrainingError, match=r'run\.pt cannot be read'):
        job(disc_folder, base, tmp_path).run(
            lambda done, total, message: seen.append(message)
        )
    assert not seen


@pytest.mark.slow
def test_a_head_learns_discs(tiny: Sam, disc_images: list[LabelledImage]):
    """The encoder is random, and still tells bright from dark."""
    from napari_mobilesam.training.head_training import HeadScore, embed_crop

    tiny.eval()
    head = tiny.add_instance_head().train()
    source = HeadCropSource(disc_images[:1], 128, ZoomRange(best=32))
    crops = validation_crops(source, 24, 2)
    features = torch.stack([embed_crop(tiny, crop) for crop in crops])
    maps = torch.stack([torch.from_numpy(c.maps).float() / 255 for c in crops])
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        loss = head_loss(head(features), maps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    score = HeadScore(tiny, crops)(tiny)
    assert set(score) == {'discs F1', 'score'}


def test_labels_of_an_image_of_one_object():
    labels = labelled_image(np.zeros((9, 9)), np.ones((9, 9), int)).labels[0]
    maps = object_maps(labels).values
    assert np.isfinite(maps).all()
    assert maps[1, 4, 4] > 0.8
