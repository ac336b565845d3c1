"""Batches suit the device, and shrink where memory runs out."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.model import batches
from napari_mobilesam.model.batches import batch_size, in_batches

GIB = 2**30


class Device:
    """A GPU with room for so many prompts."""

    def __init__(self, room, error=torch.cuda.OutOfMemoryError):
        self.room = room
        self.error = error
        self.asked = []

    def work(self, part):
        self.asked.append(part.stop - part.start)
        if self.asked[-1] > self.room:
            raise self.error('out of memory: tried to allocate a lot')
        return list(range(part.start, part.stop))


@pytest.mark.parametrize('count', [0, 1, 7, 64])
@pytest.mark.parametrize('room', [1, 3, 16])
@pytest.mark.parametrize('error', [torch.cuda.OutOfMemoryError, RuntimeError])
def test_batches_are_halved_until_they_fit(count, room, error):
    device = Device(room, error)
    found = list(in_batches(device.work, count, 16))
    assert sum(found, []) == list(range(count))
    assert max(map(len, found), default=0) <= room


def test_the_smaller_size_is_kept():
    device = Device(4)
    list(in_batches(device.work, 40, 16))
    assert device.asked == [16, 8] + [4] * 10


def test_no_room_for_one_is_an_error():
    with pytest.raises(RuntimeError, match='out of memory'):
        list(in_batches(Device(0).work, 5, 4))


def test_other_errors_are_not_tried_again():
    calls = []

    def work(part):
        calls.append(part)
        raise RuntimeError('shapes do not match')

    with pytest.raises(RuntimeError, match='shapes'):
        list(in_batches(work, 5, 4))
    assert calls == [slice(0, 4)]


@pytest.mark.parametrize(
    ('device', 'free', 'side', 'expected'),
    [
        ('cpu', None, 64, 4),
        ('cpu', None, 16, 64),
        ('cuda', 80 * GIB, 64, 64),
        ('cuda', GIB, 64, 10),
        ('mps', 0, 64, 1),
    ],
)
def test_size_suits_device_and_memory(
    monkeypatch, device, free, side, expected
):
    monkeypatch.setattr(batches, 'free_memory', lambda device: free)
    assert batch_size(torch.device(device), side**2) == expected


def test_memory_that_torch_keeps_is_free(monkeypatch):
    for name, value in (
        ('mem_get_info', (3 * GIB, 8 * GIB)),
        ('memory_reserved', 4 * GIB),
        ('memory_allocated', GIB),
    ):
        monkeypatch.setattr(
            torch.cuda, name, lambda device, value=value: value
        )
    assert batches.free_memory(torch.device('cuda')) == 6 * GIB
