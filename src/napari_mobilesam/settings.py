"""User settings, kept between sessions in JSON files.

The file of the forms holds only values that differ from the defaults.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from napari_mobilesam.files import read_json_object, write_text_atomic

APP_NAME = 'napari-mobilesam'
FILE = 'settings.json'


@dataclass(frozen=True)
class Settings:
    """Settings of the forms.

    Attributes
    ----------
    hover : bool
        Show the mask under the cursor before the click.
    min_area : int
        Holes and islands of fewer pixels are removed from masks; 0 keeps
        them all (Segment Anything, appendix B).
    smooth : bool
        Round off corners smaller than a pixel or two.
    doubtful : str
        Treatment of masks that the model is not certain of: ``'twice'``,
        *Accept* has to be pressed twice; ``'never'``, they are not accepted;
        ``'accept'``, they are treated like others.
    islands : bool
        Keep islands of a mask that are separate from the prompted part.
    policy : str
        Treatment of existing labels: ``'overwrite'`` or ``'keep'``.
    numbers : str
        ``'instance'``: a new label for each object; ``'semantic'``: one for
        each class.
    classes : sequence of str
        Names of classes; the first one has the label 1.
    class_colors : mapping of str to str
        Class to colour, ``'#rrggbb'``.
    color_by_class : bool
        Show objects in the colour of their class.
    autosave : bool
        Save the objects of an image as they change.
    device : str
        ``'auto'``, ``'cpu'``, ``'cuda'`` or ``'mps'``.
    threads : int
        Threads that torch may use; 0 leaves the choice to torch.
    cache_mb : int
        Size of the disk cache of embeddings; 0 turns it off.
    keys : mapping of str to str
        Action to key, for changed keys; an empty string means no key.
    sections : mapping of str to bool
        Sections of the forms that were expanded (True) or collapsed.
    """

    hover: bool = False
    min_area: int = 0
    smooth: bool = False
    doubtful: str = 'twice'
    islands: bool = False
    policy: str = 'overwrite'
    numbers: str = 'instance'
    classes: Sequence[str] = field(default_factory=list)
    class_colors: Mapping[str, str] = field(default_factory=dict)
    color_by_class: bool = False
    autosave: bool = False
    device: str = 'auto'
    threads: int = 0
    cache_mb: int = 2048
    keys: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, bool] = field(default_factory=dict)


def settings_path(name: str = FILE) -> Path:
    """Return the path of a settings file.

    The environment variable ``NAPARI_MOBILESAM_CONFIG`` overrides the folder.
    """
    override = os.environ.get('NAPARI_MOBILESAM_CONFIG')
    folder = override or platformdirs.user_config_dir(APP_NAME, False)
    return Path(folder) / name


def read_config(name: str) -> dict[str, Any]:
    """Read a settings file; return {} if it is missing or invalid."""
    return read_json_object(settings_path(name))


def write_config(name: str, content: Mapping[str, Any]) -> None:
    """Write a settings file atomically.

    Raises
    ------
    OSError
        If the folder is not writable.
    """
    path = settings_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path, json.dumps(content, indent=2))


def load_settings() -> Settings:
    """Read the settings; missing and invalid values become the defaults."""
    standard = asdict(Settings())
    usable: dict[str, Any] = {
        name: value
        for name, value in read_config(FILE).items()
        if name in standard and type(value) is type(standard[name])
    }
    for name, kind in (
        ('keys', str),
        ('class_colors', str),
        ('sections', bool),
    ):
        usable[name] = {
            key: value
            for key, value in usable.get(name, {}).items()
            if isinstance(value, kind)
        }
    usable['classes'] = [str(name) for name in usable.get('classes', [])]
    return Settings(**usable)


def save_settings(settings: Settings) -> None:
    """Write the values that differ from the defaults atomically.

    Raises
    ------
    OSError
        If the folder is not writable.
    """
    standard = Settings()
    changed = {
        each.name: value
        for each in fields(settings)
        if (value := getattr(settings, each.name))
        != getattr(standard, each.name)
    }
    write_config(FILE, changed)
