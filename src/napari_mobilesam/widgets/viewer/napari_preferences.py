"""Settings that napari 0.9 and newer show in the Preferences."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from napari_mobilesam.settings import (
    APP_NAME,
    Settings,
    load_settings,
    save_settings,
)

# keys of `configurations` in the manifest, and fields of `Settings`
NAMES = ('device', 'threads', 'cache_mb')


def find_preferences() -> Any | None:
    """Return napari's evented model of the plugin's settings.

    Returns
    -------
    napari.utils.events.EventedModel or None
        Model with the fields `NAMES`; None if napari is older than 0.9 or does
        not know the manifest.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return get_plugin_settings(APP_NAME).computing
    except (AttributeError, KeyError):
        return None


def read_settings() -> Settings:
    """Read the user's settings.

    Settings that napari stores are read from there. Values that an older
    napari left in the settings file are moved to it.
    """
    settings = load_settings()
    preferences = find_preferences()
    if preferences is None:
        return settings
    if without_preferences(settings) != settings:
        write_preferences(preferences, settings)
        with contextlib.suppress(OSError):
            save_settings(without_preferences(settings))
    return replace(settings, **values_of(preferences))


def values_of(preferences: Any) -> dict[str, Any]:
    """Return the values of the plugin's settings in napari."""
    return {name: getattr(preferences, name) for name in NAMES}


def write_preferences(preferences: Any, settings: Settings) -> None:
    """Set the plugin's settings in napari, which saves them."""
    for name in NAMES:
        value = getattr(settings, name)
        if getattr(preferences, name) != value:
            # a value that the manifest does not allow stays unchanged
            with contextlib.suppress(ValueError):
                setattr(preferences, name, value)


def without_preferences(settings: Settings) -> Settings:
    """Return settings with defaults for everything napari stores."""
    standard = Settings()
    return replace(
        settings, **{name: getattr(standard, name) for name in NAMES}
    )
