"""Settings in the Preferences of napari 0.9 and newer, and in the dock."""

from __future__ import annotations

import json

import pytest

from napari_mobilesam import get_session
from napari_mobilesam.settings import (
    Settings,
    load_settings,
    save_settings,
    settings_path,
)
from napari_mobilesam.widgets.viewer import napari_preferences

settings = pytest.importorskip('napari.settings')
pytestmark = pytest.mark.skipif(
    not hasattr(settings, 'get_plugin_settings'), reason='napari before 0.9'
)


def preferences():
    found = napari_preferences.find_preferences()
    assert found is not None
    return found


def test_manifest_offers_what_the_settings_have():
    standard = Settings()
    assert napari_preferences.values_of(preferences()) == {
        name: getattr(standard, name) for name in napari_preferences.NAMES
    }


def test_preferences_reach_the_dock(desk, blobs):
    d = desk(blobs)
    box = d.widget.panel.settings_box
    preferences().cache_mb = 100
    preferences().device = 'cpu'
    assert box.cache_spin.value() == 100
    assert box.device_combo.currentData() == 'cpu'
    assert d.widget.panel.settings.current.cache_mb == 100
    # a dock that is closed hears nothing
    d.viewer.window.remove_dock_widget(d.dock)
    preferences().cache_mb = 50
    assert box.cache_spin.value() == 100


@pytest.mark.slow
def test_dock_reaches_the_preferences(desk, blobs, tmp_path):
    d = desk(blobs)
    box = d.widget.panel.settings_box
    box.cache_spin.setValue(300)
    box.smooth_box.setChecked(True)
    assert preferences().cache_mb == 300
    (file,) = (tmp_path / 'napari').glob('*.yaml')
    assert 'cache_mb: 300' in file.read_text()
    # each value has one place
    assert json.loads(settings_path().read_text()) == {'smooth': True}


def test_values_of_an_older_napari_are_taken_over_once(desk, blobs):
    save_settings(Settings(threads=1, cache_mb=70, min_area=5))
    d = desk(blobs)
    assert d.widget.panel.settings.current == Settings(
        threads=1, cache_mb=70, min_area=5
    )
    assert preferences().threads == 1
    assert load_settings() == Settings(min_area=5)
    # so that the default can be chosen again
    preferences().cache_mb = 2048
    assert napari_preferences.read_settings().cache_mb == 2048


def test_without_them_the_file_of_settings_has_all(desk, blobs, monkeypatch):
    monkeypatch.delattr(settings, 'get_plugin_settings')
    save_settings(Settings(cache_mb=70))
    d = desk(blobs)
    assert d.widget.panel.settings.current.cache_mb == 70
    d.widget.panel.settings_box.cache_spin.setValue(80)
    assert load_settings().cache_mb == 80
    assert get_session(d.viewer) is d.session


@pytest.mark.slow
def test_values_that_the_manifest_refuses_are_left(desk, blobs):
    save_settings(Settings(device='abacus'))
    d = desk(blobs)
    assert preferences().device == 'auto'
    assert d.widget.panel.settings.current.device == 'auto'
