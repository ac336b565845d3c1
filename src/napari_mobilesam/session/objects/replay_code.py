"""Replay code: a script that makes the same labels again.

Every step of the history stores the equivalent session commands. The script is
the code of all steps that are not undone, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.mask_text import mask_text
from napari_mobilesam.session.objects.records import (
    ObjectRecord,
    ObjectView,
    PromptStep,
)
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.types import Prompts

# ImagePlane → the expression that finds it
PlaneCode = Callable[[ImagePlane], str]


@dataclass(frozen=True)
class ReplayCode:
    """Python code that repeats a step.

    Attributes
    ----------
    lines : tuple of str
        Lines of Python.
    settings : mapping of str to str
        Lines that set the parameters of the step, by parameter.
    passing : int
        Number of last lines that become unnecessary when the step is merged
        with a later one, such as a slider position.
    """

    lines: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    passing: int = 0

    def then(self, later: ReplayCode) -> ReplayCode:
        """Return the code of this step merged with a later one."""
        kept = self.lines[: len(self.lines) - self.passing]
        return ReplayCode(
            (*kept, *later.lines),
            {**self.settings, **later.settings},
            later.passing,
        )


HEAD = '''\
"""Labels made with napari-mobilesam {version}."""

import numpy as np

import napari_mobilesam as nm
from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.session.prompts.batch import BatchItem
from napari_mobilesam.session.objects.mask_text import mask_from
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.types import EverythingParameters, Prompts
'''


def settings_code(
    model: str, options: WriteOptions, clean_up: CleanUp
) -> dict[str, str]:
    """Return the lines that set model, writing options and clean-up."""
    return {
        'model': f'session.use_model({model!r})',
        'options': f'session.editor.options = {options!r}',
        'clean-up': f'session.prompting.clean_up = {clean_up!r}',
    }


def script(
    setup: Sequence[str], steps: Iterable[tuple[str, ReplayCode | None]]
) -> str:
    """Return the script of steps.

    Parameters
    ----------
    setup : sequence of str
        Lines that choose image and labels in the viewer.
    steps : iterable of (str, ReplayCode or None)
        Title and code of each step.
    """
    from napari_mobilesam import __version__

    lines = [HEAD.format(version=__version__), *setup, *body(steps)]
    return '\n'.join(lines) + '\n'


def body(steps: Iterable[tuple[str, ReplayCode | None]]) -> list[str]:
    """Return the lines of steps, with a comment for each."""
    lines: list[str] = []
    state: dict[str, str] = {}
    for name_of_step, replay_code in steps:
        # a file name in the title may have line breaks
        title = ''.join(c if c.isprintable() else ' ' for c in name_of_step)
        lines += ['', f'# {title}']
        if replay_code is None:
            lines[-1] += ': cannot be repeated by this script'
            continue
        for name, line in replay_code.settings.items():
            if state.get(name) != line:
                lines.append(line)
                state[name] = line
        lines += replay_code.lines
    return lines


def object_code(
    record: ObjectRecord, base: ObjectRecord | None, plane_code: PlaneCode
) -> tuple[str, ...]:
    """Return the lines that create or change an object.

    Parameters
    ----------
    record : ObjectRecord
        The object as written.
    base : ObjectRecord or None
        The object when opened; None if it was new or not an object of the
        session.
    plane_code : callable
        Returns the expression that finds a plane.
    """
    lines: list[str] = []
    if base is not None:
        lines.append(f'session.open({base.number})')
    before = {} if base is None else base.views
    for place, view in record.views.items():
        if view is not before.get(place):
            _add_view(lines, view, before.get(place), plane_code)
    for place, view in before.items():
        if place not in record.views:
            plane = plane_code(view.plane)
            lines.append(f'session.prompt(Prompts(), plane={plane})')
    if base is not None and base.class_name != record.class_name:
        lines.append(f'session.assign_class({record.class_name!r})')
    # the label follows the class if labels are class numbers
    kept = base is not None and base.label == record.label
    label = '' if kept else f'label={record.label}'
    return (*lines, f'session.accept({label})')


def _add_view(
    lines: list[str],
    view: ObjectView,
    before: ObjectView | None,
    plane_code: PlaneCode,
) -> None:
    """Add the lines that prompt an object on a plane."""
    # imports torch
    from napari_mobilesam.segmentation.scale_choice import pitch_of

    chosen = 0 if view.candidates is None else view.candidates.chosen
    asked = [*view.steps, PromptStep(view.plane, view.prompts, chosen)]
    last = Prompts()
    if before is not None:
        last, known = before.prompts, len(before.steps)
        # prompts from before opening are not repeated
        if known < len(asked) and asked[known].prompts is last:
            asked = asked[known:]
    shown, frame = '', None
    if view.candidates is not None:
        frame = view.candidates.frame
    for plane, prompts, index in asked:
        # existing embeddings must not influence the scale
        pitch = plane.pitch
        if pitch is None and frame is not None:
            pitch = pitch_of(frame)
        code = f'plane = {plane_code(replace(plane, pitch=pitch))}'
        if code != shown:
            lines.append(code)
            shown = code
        if prompts is not last:
            lines.append(_prompt_code(prompts, last))
        # the last prompts may have found nothing on this plane
        found = view.candidates is not None or prompts is not view.prompts
        if prompts.ambiguous and found:
            lines.append(f'session.choose({index}, plane)')
        last = prompts


def _prompt_code(prompts: Prompts, before: Prompts) -> str:
    """Return one line for the added prompt, or for all prompts."""
    count = len(before.points)
    same = prompts.region is before.region and np.array_equal(
        prompts.points[:count], before.points
    )
    same &= np.array_equal(prompts.labels[:count], before.labels)
    if same and prompts.box is before.box and len(prompts.points) == count + 1:
        row, column = prompts.points[-1].tolist()
        sign = '' if prompts.labels[-1] else ', positive=False'
        return f'session.click({row!r}, {column!r}{sign}, plane=plane)'
    if same and len(prompts.points) == count and prompts.box is not None:
        corners = ', '.join(repr(value) for value in prompts.box.tolist())
        return f'session.box({corners}, plane=plane)'
    return f'session.prompt({prompts_code(prompts)}, plane)'


def prompts_code(prompts: Prompts) -> str:
    """Return the expression that creates prompts."""
    parts = []
    if len(prompts.points):
        parts.append(f'np.array({prompts.points.tolist()})')
        parts.append(f'np.array({prompts.labels.tolist()})')
    if prompts.box is not None:
        parts.append(f'box=np.array({prompts.box.tolist()})')
    if prompts.region is not None:
        parts.append(f'region=mask_from({mask_text(prompts.region)!r})')
    return f'Prompts({", ".join(parts)})'
