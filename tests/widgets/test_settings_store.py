"""Settings that two windows save into one file."""

from __future__ import annotations

import pytest

from napari_mobilesam.settings import load_settings
from napari_mobilesam.widgets.parts import settings_store
from napari_mobilesam.widgets.parts.settings_store import SettingsStore


@pytest.fixture
def two_windows(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CONFIG', str(tmp_path))
    # napari's own settings are another file
    monkeypatch.setattr(settings_store, 'find_preferences', lambda: None)
    return SettingsStore(), SettingsStore()


def test_windows_keep_each_others_settings(two_windows):
    first, second = two_windows
    first.save(None, min_area=7)
    second.save(None, policy='keep')
    stored = load_settings()
    assert (stored.min_area, stored.policy) == (7, 'keep')
    assert second.current.min_area == 0


def test_classes_of_another_window_are_kept(two_windows):
    first, second = two_windows
    for window, name, color in (
        (first, 'delta', '#111111'),
        (second, 'epsilon', '#222222'),
    ):
        window.save(None, classes=[name], class_colors={name: color})
    stored = load_settings()
    assert stored.classes == ['epsilon', 'delta']
    assert stored.class_colors == {'delta': '#111111', 'epsilon': '#222222'}
    # a class that a window removes is gone
    second.save(None, classes=[], class_colors={})
    assert load_settings().classes == ['delta']
