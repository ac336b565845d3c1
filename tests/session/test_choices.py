"""Saved choices of the form of segment everything."""

from __future__ import annotations

import json

import pytest

from napari_mobilesam.session.everything.choices import (
    FILE,
    EverythingChoices,
    load_choices,
    save_choices,
)
from napari_mobilesam.settings import settings_path
from napari_mobilesam.types import EverythingParameters


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CONFIG', str(tmp_path / 'new'))


def test_nothing_is_remembered_at_first():
    assert load_choices() == EverythingChoices()


def test_choices_come_back():
    chosen = EverythingChoices(
        EverythingParameters(points_per_side=7, min_area=30),
        'outlines',
        False,
    )
    save_choices(chosen)
    assert load_choices() == chosen
    stored = json.loads(settings_path(FILE).read_text())
    assert stored['parameters'] == {'points_per_side': 7, 'min_area': 30}
    assert [path.name for path in settings_path(FILE).parent.iterdir()] == [
        settings_path(FILE).name
    ]


def test_diameter_belongs_to_an_image_and_is_not_kept():
    save_choices(EverythingChoices(EverythingParameters(diameter=30.0)))
    assert load_choices() == EverythingChoices()
    settings_path(FILE).write_text('{"parameters": {"diameter": 30.0}}')
    assert load_choices() == EverythingChoices()


@pytest.mark.parametrize(
    'text',
    [
        '{',
        '[]',
        '{"parameters": []}',
        '{"parameters": {"points_per_side": -3}}',
        '{"parameters": {"points_per_side": "many"}}',
        '{"parameters": {"unheard_of": 1}}',
    ],
)
def test_what_cannot_be_used_is_the_default(text):
    settings_path(FILE).parent.mkdir()
    settings_path(FILE).write_text(text)
    assert load_choices() == EverythingChoices()
