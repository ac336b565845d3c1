"""Settings that napari 0.9 and newer show in their Preferences."""

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
    """Return the plugin's settings in napari, an evented model.

    Returns
    -------
    napari.utils.events.EventedModel or None
        With the fields `NAMES`; None where napari is older than 0.9, or does
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
    """Read the settings of the user.

    Those that napari has are read from there. Values that an older napari
    left in the file of settings are moved to it.
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
    """Return the values of napari's settings of the plugin."""
    return {name: getattr(preferences, name) for name in NAMES}


def write_preferences(preferences: Any, settings: Settings) -> None:
    """Set napari's settings of the plugin; napari saves them."""
    for name in NAMES:
        value = getattr(settings, name)
        if getattr(preferences, name) != value:
            # a value that the manifest does not allow stays as it is
            with contextlib.suppress(ValueError):
                setattr(preferences, name, value)


def without_preferences(settings: Settings) -> Settings:
    """Return settings with the defaults of all that napari keeps."""
    standard = Settings()
    return replace(
        settings, **{name: getattr(standard, name) for name in NAMES}
    )
