"""Replay code of runs of segment everything, and of their filters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
    EverythingResult,
)
from napari_mobilesam.session.objects.mask_text import MOST_BYTES, mask_text
from napari_mobilesam.session.objects.replay_code import PlaneCode, ReplayCode
from napari_mobilesam.types import Mask

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection


def run_code(
    result: EverythingResult,
    plane_code: PlaneCode,
    overwrite: bool,
    semantic: bool,
) -> ReplayCode | None:
    """Return the code that repeats a run.

    None if the run was cancelled or ended early, or if no command can repeat
    it: similar objects or text on several planes, a detector given as an
    object, or regions of more than 64 million pixels.
    """
    request = result.request
    if not result.complete:
        return None
    if request.examples is None and request.query is None:
        options = {
            'linked': request.linked,
            'overwrite': overwrite,
            'semantic': semantic,
        }
        lines = _everything_lines(request, plane_code, options)
    elif overwrite or semantic:
        return None
    else:
        lines = _search_lines(request, plane_code)
    if lines is None:
        return None
    model = f'session.use_model({request.model_name!r})'
    return ReplayCode(lines, {'model': model})


def filter_code(selection: Selection) -> ReplayCode:
    """Return the code that filters the objects of the last run again.

    A later filter makes it unnecessary; see `ReplayCode.passing`.
    """
    line = f'session.filter_everything({code_of(selection)})'
    return ReplayCode((line,), passing=1)


def code_of(value: Any) -> str:
    """Return the expression for a value; of dataclasses, changed fields."""
    if is_dataclass(value):
        arguments = ', '.join(
            f'{each.name}={code_of(getattr(value, each.name))}'
            for each in fields(value)
            if getattr(value, each.name) != _default(each)
        )
        return f'{type(value).__name__}({arguments})'
    if isinstance(value, tuple | list):
        return f'[{", ".join(map(code_of, value))}]'
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        # its repr is an undefined name
        return f'float({str(value)!r})'
    return repr(value)


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _search_lines(
    request: EverythingRequest, plane_code: PlaneCode
) -> tuple[str, ...] | None:
    parameters = code_of(request.parameters)
    examples, query = request.examples, request.query
    (task, *others), plane = request.tasks, request.plane
    if others or task.region is not None:
        return None
    show = f'scene.show({plane_code(plane)})'
    if query is not None:
        if not isinstance(query.detector, str):
            return None
        found = f'{query.text!r}, {query.detector!r}, {query.score!r}'
        return show, f'session.segment_text({found}, {parameters})'
    assert examples is not None
    if examples.plane.place != plane.place:
        return None
    labels, least = code_of(examples.labels), code_of(examples.similarity)
    return show, f'session.find_similar({labels}, {least}, {parameters})'


def _everything_lines(
    request: EverythingRequest,
    plane_code: PlaneCode,
    options: Mapping[str, bool],
) -> tuple[str, ...] | None:
    regions = [task.region for task in request.tasks]
    if any(r is not None and r.size > MOST_BYTES for r in regions):
        return None
    parameters = code_of(request.parameters)
    given = ''.join(f', {name}=True' for name, on in options.items() if on)
    return (
        'session.segment_everything(',
        '    [',
        *(f'        {plane_code(task.plane)},' for task in request.tasks),
        '    ],',
        f'    {parameters}{_regions(regions)}{given}',
        ')',
    )


def _regions(regions: Sequence[NDArray[np.bool_] | None]) -> str:
    if all(region is None for region in regions):
        return ''
    texts = [
        'None'
        if region is None
        else f'mask_from({mask_text(_as_mask(region))!r})'
        for region in regions
    ]
    return f', regions=[{", ".join(texts)}]'


def _as_mask(region: NDArray[np.bool_]) -> Mask:
    data, box = crop_to_mask(region, (0, 0))
    return Mask(data, box, float('nan'))
