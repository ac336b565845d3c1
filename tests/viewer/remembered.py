"""Costly functions of napari and vispy, and what tests need of them.

They run thousands of times, for each viewer and each layer. Those that depend
on their arguments alone are computed once.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from types import SimpleNamespace

import pytest
from napari._qt.widgets.qt_viewer_buttons import QtViewerPushButton
from napari._vispy import canvas
from napari.components import Dims
from napari.settings import NapariSettings
from napari.utils.events import EventedModel, EventEmitter
from vispy.gloo import glir
from vispy.gloo.program import Program
from vispy.visuals.shaders.function import Function


def remember(patch: pytest.MonkeyPatch) -> None:
    """Replace the functions until `patch` is undone."""
    patch.setattr(
        glir,
        '_convert_desktop_shader',
        lru_cache(None)(glir._convert_desktop_shader),
    )
    clean = lru_cache(None)(lambda code: _CLEAN_CODE(None, code))
    patch.setattr(Function, '_clean_code', lambda self, code: clean(code))
    patch.setattr(EventEmitter, '_check_signature', staticmethod(_takes_event))
    patch.setattr(Program, '_parse_variables_from_code', _parse)
    # settings are written to disk after each change
    patch.setattr(NapariSettings, '_maybe_save', lambda self: None)
    # for OpenGL drivers on Windows, after each layer that is removed
    patch.setattr(canvas, 'gc', SimpleNamespace(collect=lambda: 0))
    patch.setattr(
        QtViewerPushButton, '_change_selection_state', _change_if_other
    )
    patch.setattr(EventedModel, 'events', property(_events))
    patch.setattr(Dims, '__setattr__', _set_if_other)


_CLEAN_CODE = Function._clean_code
_CHECK_SIGNATURE = EventEmitter._check_signature
_PARSE_VARIABLES = Program._parse_variables_from_code
_CHANGE_STATE = QtViewerPushButton._change_selection_state
_SET = Dims.__setattr__
_takes: dict[object, bool] = {}
_variables: dict[str, dict] = {}


def _change_if_other(button, state) -> None:
    """Style a button anew only if its state is another."""
    if button.property('creation_state') != getattr(state, 'value', state):
        _CHANGE_STATE(button, state)


def _events(model):
    """Events of a model, without asking pydantic where they are."""
    private = model.__pydantic_private__
    if private is None or '_events' not in private:
        raise AttributeError('events')
    return private['_events']


def _set_if_other(dims, name, value) -> None:
    """Set a field unless it has the value: each change checks them all."""
    old = dims.__dict__.get(name)
    if (
        type(old) is type(value)
        and isinstance(value, tuple | int | float | str)
        and old == value
    ):
        return
    _SET(dims, name, value)


def _takes_event(callback) -> bool:
    """Return whether a listener takes the event, by its code."""
    if isinstance(callback, EventEmitter):
        # each layer passes some sixty events on to its emitters
        callback = type(callback).__call__.__get__(callback)
    if not inspect.ismethod(callback) and not inspect.isfunction(callback):
        return _CHECK_SIGNATURE(callback)
    key = (callback.__code__, inspect.ismethod(callback))
    if getattr(callback, '__wrapped__', None) is not None:
        return _CHECK_SIGNATURE(callback)
    if key not in _takes:
        _takes[key] = _CHECK_SIGNATURE(callback)
    return _takes[key]


def _parse(self, update_variables=True) -> None:
    """Find the variables of a program, by the code of its shaders."""
    code = '\n\n'.join([shader.code for shader in self._shaders])
    if code in _variables:
        self._code_variables = dict(_variables[code])
        if update_variables:
            self._process_pending_variables()
    else:
        _PARSE_VARIABLES(self, update_variables)
        _variables[code] = dict(self._code_variables)
