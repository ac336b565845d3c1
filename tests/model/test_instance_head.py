"""The instance head as a part of the model and of its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_mobilesam.model.checkpoints import load_model, save_checkpoint
from napari_mobilesam.model.instance_head import PREFIX, InstanceHead
from napari_mobilesam.model.registry import list_models, user_models_folder
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.types import CheckpointError, ModelRecord

# Cells around a cell that its maps depend on.
REACH = 4


@pytest.fixture
def small() -> Sam:
    torch.manual_seed(2)
    sam = build_sam(record=ModelRecord('small', input_size=64))
    return sam.eval().requires_grad_(False)


def test_maps_move_with_the_embedding():
    torch.manual_seed(1)
    head = InstanceHead(16, 8).eval()
    features = torch.randn(1, 16, 20, 24)
    with torch.no_grad():
        whole = head(features)
        part = head(features[..., 3:18, 5:22])
    assert whole.shape == (1, 3, 80, 96)
    inner = slice(4 * REACH, -4 * REACH)
    assert torch.allclose(
        part[..., inner, inner],
        whole[..., 12:72, 20:88][..., inner, inner],
        atol=1e-5,
    )


def test_a_head_is_kept_in_the_checkpoint(small: Sam, tmp_path: Path):
    key = small.key
    small.add_instance_head().requires_grad_(False)
    assert small.record.instance_head
    assert small.key != key
    path = tmp_path / 'with.safetensors'
    save_checkpoint(small, path, small.record)
    loaded = load_model(path)
    assert loaded.record.instance_head
    features = torch.randn(1, 256, 4, 5)
    assert torch.allclose(
        loaded.instance_maps(features),
        small.instance_maps(features),
        atol=1e-2,
    )
    loaded.remove_instance_head()
    assert not any(name.startswith(PREFIX) for name in loaded.state_dict())
    assert not loaded.record.instance_head
    with pytest.raises(ValueError, match='with has no instance head'):
        loaded.instance_maps(features)


def test_a_file_without_a_head_has_none_whatever_its_record_says(
    small: Sam, tmp_path: Path
):
    path = tmp_path / 'plain.pt'
    torch.save(small.state_dict(), path)
    assert load_model(path).instance_head is None
    small.add_instance_head()
    torch.save(
        {k: v for k, v in small.state_dict().items() if 'layers.0' not in k}
        | {'instance_head.layers.0.weight': torch.zeros(1)},
        path,
    )
    with pytest.raises(CheckpointError, match='instance_head|missing'):
        load_model(path)


@pytest.mark.slow
def test_the_list_of_models_says_who_has_a_head(small: Sam, capsys):
    from napari_mobilesam.cli import main

    small.add_instance_head()
    folder = user_models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(small, folder / 'seeing.safetensors', small.record)
    heads = {r.name: r.instance_head for r in list_models()}
    assert heads['seeing']
    assert not heads['mobile_sam']
    assert main(['models']) == 0
    (line,) = [
        x for x in capsys.readouterr().out.splitlines() if 'seeing' in x
    ]
    assert line.endswith('[instance head]')
