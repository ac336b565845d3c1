"""Deterministic pseudo-random weights for every key of a state dict.

Each tensor is filled from its own legacy ``RandomState`` (a stream that NumPy
keeps frozen), seeded by the SHA-256 of its key, so that the result depends on
neither order, platform nor library version. Nothing is trained; the scales
keep activations near one, attention neither flat nor saturated, and make
masks blobs that depend on the prompt and the image. Every number here is part
of the golden outputs: change none.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

SALT = 6
# Subtracted from the logits of the four mask tokens.
MASK_OFFSETS = (44.0, 98.0, 70.0, 58.0)
# Seeds a direction shared by prompted tokens and the pixels they light up.
PROMPTED = 'direction/u'
# Norm layers whose key does not say so.
NORMS = (
    'image_encoder.norm_head',
    'image_encoder.neck.1',
    'image_encoder.neck.3',
)

Array = NDArray[np.float32]
Shape = list[int]


def make_state_dict(
    manifest: str | Path, salt: int = SALT
) -> dict[str, torch.Tensor]:
    """Fill every key of a manifest.

    Parameters
    ----------
    manifest : path
        JSON file: key → ``{'shape': [...], 'dtype': ...}``.
    salt : int
        Changes all tensors; the golden outputs were made with the default.

    Returns
    -------
    dict of str to torch.Tensor
        float32, batch counters int64.
    """
    entries = json.loads(Path(manifest).read_text())
    state = {}
    for key, entry in entries.items():
        shape = list(entry['shape'])
        if entry['dtype'] == 'int64':
            state[key] = torch.tensor(1000, dtype=torch.int64).reshape(shape)
            continue
        values = np.ascontiguousarray(_fill(key, shape, salt), np.float32)
        if list(values.shape) != shape:
            raise ValueError(f'{key}: filled {values.shape}, wanted {shape}')
        state[key] = torch.from_numpy(values)
    return state


def state_dict_sha256(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over the sorted keys, each followed by its tensor's bytes."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].numpy().tobytes())
    return digest.hexdigest()


def _random(tag: str) -> np.random.RandomState:
    seed = hashlib.sha256(tag.encode()).digest()[:4]
    return np.random.RandomState(int.from_bytes(seed, 'little'))


def _normal(salt: int, tag: str, shape: Shape, std: float = 1.0) -> Array:
    values = _random(f'{salt}:{tag}').standard_normal(size=tuple(shape))
    return (values * std).astype(np.float32)


def _uniform(
    salt: int, tag: str, shape: Shape, low: float, high: float
) -> Array:
    values = _random(f'{salt}:{tag}').uniform(low, high, size=tuple(shape))
    return values.astype(np.float32)


def _fill(key: str, shape: Shape, salt: int) -> Array:
    for fill in (_fill_norm, _fill_token, _fill_head, _fill_attention):
        values = fill(key, shape, salt)
        if values is not None:
            return values
    return _fill_layer(key, shape, salt)


def _fill_norm(key: str, shape: Shape, salt: int) -> Array | None:
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'running_mean':
        return _normal(salt, key, shape, 0.1)
    if leaf == 'running_var':
        return _uniform(salt, key, shape, 0.5, 1.5)
    if leaf == 'attention_biases':
        return _normal(salt, key, shape, 0.5)
    if leaf == 'positional_encoding_gaussian_matrix':
        return _normal(salt, key, shape, 1.0)
    is_norm = (
        '.bn.' in key
        or '.norm' in key
        or key.startswith(NORMS)
        or (len(shape) == 1 and leaf == 'weight')
    )
    if leaf not in ('weight', 'bias') or not is_norm:
        return None
    if leaf == 'bias':
        return _normal(salt, key, shape, 0.1)
    # The norm that closes a residual branch is smaller, as in trained nets.
    gain = 0.5 if '.conv3.bn.' in key and '.blocks.' in key else 1.0
    return _uniform(salt, key, shape, 0.8 * gain, 1.2 * gain)


def _fill_token(key: str, shape: Shape, salt: int) -> Array | None:
    if key.startswith('prompt_encoder.point_embeddings'):
        # 0 negative, 1 positive, 2 and 3 box corners.
        gain = (0.3, 1.2, 0.9, 0.9)[int(key.split('.')[2])]
        shared = gain * _normal(salt, PROMPTED, shape)
        return (shared + _normal(salt, key, shape, 0.4)).astype(np.float32)
    scales = {
        'prompt_encoder.not_a_point_embed.weight': 0.5,
        'prompt_encoder.no_mask_embed.weight': 0.2,
        'mask_decoder.iou_token.weight': 0.7,
        'mask_decoder.mask_tokens.weight': 0.7,
    }
    if key in scales:
        return _normal(salt, key, shape, scales[key])
    return None


def _fill_head(key: str, shape: Shape, salt: int) -> Array | None:
    leaf = key.rsplit('.', 1)[-1]
    if key.startswith('mask_decoder.iou_prediction_head.layers.2.'):
        if leaf == 'weight':
            return _normal(salt, key, shape, 0.03)
        return np.full(shape, 0.8, np.float32)
    if '.output_hypernetworks_mlps.' in key and '.layers.2.' in key:
        if leaf == 'weight':
            weight = _normal(salt, key, shape, 6.0 / math.sqrt(shape[-1]))
            weight[31] = 0
            return weight
        bias = _normal(salt, key, shape, 0.2)
        bias[:8] += np.float32(0.8)
        bias[8:] -= np.float32(0.6)
        bias *= np.float32(12.0)
        bias[31] = -MASK_OFFSETS[int(key.split('.')[2])] / 4.0
        return bias
    if key.startswith('mask_decoder.output_upscaling') and len(shape) == 4:
        return _fill_upscaling(key, shape, salt)
    if key == 'mask_decoder.output_upscaling.3.bias':
        bias = _normal(salt, key, shape, 0.05)
        bias[31] = 4.0
        return bias
    return None


def _fill_upscaling(key: str, shape: Shape, salt: int) -> Array:
    # The four sub-pixel kernels share a base: masks are blobs, not chequers.
    base = _normal(salt, key + '/base', [*shape[:2], 1, 1])
    noise = _normal(salt, key, shape, 0.12)
    gain = np.float32(math.sqrt(2.0 / shape[0]))
    weight: Array = ((base + noise) * gain).astype(np.float32)
    if shape[0] == 256:
        # 16 channels listen to the prompted direction …
        shared = _normal(salt, PROMPTED, [256, 1, 1, 1])
        # NumPy leaves a norm to BLAS, whose last bit depends on the CPU. The
        # outputs were made with sums in 16 lanes, one after the other.
        squares = (shared * shared).reshape(-1, 16)
        lanes = np.cumsum(squares, axis=0, dtype=np.float32)[-1]
        norm = np.sqrt(np.cumsum(lanes, dtype=np.float32)[-1])
        weight[:, :16] += np.float32(1.0) * shared / norm
    else:
        # … and feed 8 of the 32 last; channel 31 is a constant offset.
        weight[:16, :8] += np.float32(0.15)
        weight[:, 31] = 0
    return weight


def _fill_attention(key: str, shape: Shape, salt: int) -> Array | None:
    leaf = key.rsplit('.', 1)[-1]
    in_decoder = 'mask_decoder.transformer' in key and leaf == 'weight'
    if in_decoder and ('.q_proj.' in key or '.k_proj.' in key):
        # A shared base lets tokens attend to pixels of the same position.
        stem = key.replace('.q_proj.', '.qk.').replace('.k_proj.', '.qk.')
        gain = 1.0
        if 'image_to_token' in key:
            gain = 2.3
        elif 'token_to_image' in key:
            gain = 1.6
        mixed = 0.9 * _normal(salt, stem, shape)
        mixed = mixed + 0.45 * _normal(salt, key, shape)
        return np.asarray(mixed * np.float32(gain / math.sqrt(shape[1])))
    if leaf == 'bias':
        return _normal(salt, key, shape, 0.05)
    carries_tokens = 'image_to_token' in key or 'layers.0.self_attn' in key
    if not ('mask_decoder.transformer' in key and carries_tokens):
        return None
    if '.v_proj.' in key:
        return _normal(salt, key, shape, 1.0 / 16)
    if '.out_proj.' in key:
        # Close to the transposed v_proj: token content reaches the pixels.
        gain_out = np.float32(4.0 if 'image_to_token' in key else 0.9)
        twin = key.replace('out_proj', 'v_proj')
        value = _normal(salt, twin, shape[::-1], 1.0 / 16)
        noise = _normal(salt, key, shape, 0.4 / math.sqrt(shape[1]))
        return (gain_out * value.T + noise).astype(np.float32)
    return None


def _fill_layer(key: str, shape: Shape, salt: int) -> Array:
    if key == 'prompt_encoder.mask_downscaling.6.weight':
        return _normal(salt, key, shape, 0.1 / math.sqrt(shape[1]))
    if len(shape) == 4 and shape[1] == 1 and shape[2] == 3:
        # Depthwise: low-pass base plus noise.
        blur = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16
        sign = _uniform(salt, key + '/gain', [shape[0], 1, 1, 1], 0.6, 1.1)
        noise = _normal(salt, key, shape, 0.08)
        return (sign * blur + noise).astype(np.float32)
    if len(shape) == 4:
        fan_in = shape[1] * shape[2] * shape[3]
        gain = 1.4 if 'patch_embed' in key else 1.2
        return _normal(salt, key, shape, gain / math.sqrt(fan_in))
    if len(shape) == 2:
        layer = key.split('.')[-2]
        gain = {'fc2': 0.4, 'proj': 0.6, 'lin2': 0.5}.get(layer, 1.2)
        return _normal(salt, key, shape, gain / math.sqrt(shape[1]))
    raise KeyError(key)
