"""The declared dependencies are the imported ones."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from imported_names import imported_names

import napari_mobilesam

PACKAGE = Path(napari_mobilesam.__file__).parent
NAME = 'napari_mobilesam'
PROJECT = tomllib.loads(
    (Path(__file__).parents[1] / 'pyproject.toml').read_text('utf-8')
)['project']
# used without an import, and by what
NOT_IMPORTED = {
    'dask': 'distributed, and images given as dask arrays',
    'npe2': 'napari, to read the manifest',
}


def names_of(requirements: list[str]) -> set[str]:
    """``['napari[pyqt6]>=0.7']`` → ``{'napari'}``."""
    found = (re.match(r'[\w.-]+', each) for each in requirements)
    names = {match[0].lower() for match in found if match}
    return names - {PROJECT['name']}


# reads the files of every installed distribution
owners_of_modules = cache(packages_distributions)


def modules_used() -> tuple[set[str], set[str]]:
    """Top-level modules that are imported, and those given to `need`."""
    imported: set[str] = set()
    given_to_need: set[str] = set()
    for path in PACKAGE.rglob('*.py'):
        names = imported_names(path, annotations=True)
        imported |= {name.split('.')[0] for name in names}
        given = re.findall(r"\bneed\(\s*'(\w+)", path.read_text('utf-8'))
        given_to_need |= set(given)
    return imported, given_to_need


def imported_distributions(*, needed: bool) -> set[str]:
    """Distributions that the package imports, lazily or not.

    Parameters
    ----------
    needed : bool
        Include modules given to `need`, which says what to install where
        they are missing.
    """
    imported, given_to_need = modules_used()
    tops = imported | given_to_need if needed else imported
    owners = owners_of_modules()
    # type checkers have stubs of their own in _typeshed
    foreign = tops - sys.stdlib_module_names - {NAME, '_typeshed'}
    return {
        owner.lower() for top in foreign for owner in owners.get(top, [top])
    }


def test_every_dependency_is_imported() -> None:
    declared = names_of(PROJECT['dependencies'])
    for extra in ('export', 'large', 'all'):
        declared |= names_of(PROJECT['optional-dependencies'][extra])
    used = imported_distributions(needed=True) | set(NOT_IMPORTED)
    assert declared - used == set()


def test_every_import_is_declared() -> None:
    declared = names_of(PROJECT['dependencies'])
    for extra in ('large', 'all'):
        declared |= names_of(PROJECT['optional-dependencies'][extra])
    assert imported_distributions(needed=False) - declared == set()
