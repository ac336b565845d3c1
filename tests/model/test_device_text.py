"""Tests of the text about the device."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.model.device_text import (
    NO_GPU_BUILD,
    describe_device,
    why_no_gpu,
)


@pytest.fixture
def no_gpu(monkeypatch):
    """A torch that was built for CUDA and finds no GPU."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_built', lambda: False)
    monkeypatch.setattr(torch.backends.cuda, 'is_built', lambda: True)
    return monkeypatch


def test_threads_of_the_cpu():
    assert describe_device(torch.device('cpu'), 1) == 'CPU, 1 thread'
    assert describe_device(torch.device('cpu'), 8) == 'CPU, 8 threads'


def test_name_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'H100')
    assert describe_device(torch.device('cuda'), 8) == 'H100 (cuda)'


def test_build_without_gpu_support(no_gpu):
    no_gpu.setattr(torch.backends.cuda, 'is_built', lambda: False)
    assert why_no_gpu() == NO_GPU_BUILD


def test_missing_driver(no_gpu):
    def init():
        raise RuntimeError(
            'Found no NVIDIA driver on your system. Please check that you '
            'have an NVIDIA GPU and installed a driver from …'
        )

    no_gpu.setattr(torch.cuda, 'init', init)
    assert why_no_gpu() == 'found no NVIDIA driver on your system'


def test_a_gpu_needs_no_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert why_no_gpu() == ''
