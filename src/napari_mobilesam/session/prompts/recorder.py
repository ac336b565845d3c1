"""Record the replay code of the steps of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from napari_mobilesam.segmentation.refinement import RefineParameters
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.mask_text import mask_text
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import (
    PlaneCode,
    ReplayCode,
    object_code,
    prompts_code,
    settings_code,
)
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.prompts.prompting import Prompting
from napari_mobilesam.session.prompts.propagation import (
    PropagationOptions,
)
from napari_mobilesam.session.runtime.models import Models
from napari_mobilesam.types import Mask, Prompts


class Recorder:
    """Create the replay code of steps.

    Parameters
    ----------
    plane_code : callable
        Returns the expression that finds a plane.
    models : Models
        The model that answers.
    prompting : Prompting
        Prompting, with the clean-up of masks.
    """

    def __init__(
        self,
        plane_code: PlaneCode,
        models: Models,
        prompting: Prompting,
    ) -> None:
        self._plane_code = plane_code
        self._models = models
        self._prompting = prompting

    def lines(self, options: WriteOptions, *lines: str) -> ReplayCode:
        """Return replay code for lines that depend on the settings."""
        settings = settings_code(
            self._models.name, options, self._prompting.clean_up
        )
        return ReplayCode(lines, settings)

    def object(
        self,
        record: ObjectRecord,
        base: ObjectRecord | None,
        options: WriteOptions,
    ) -> ReplayCode:
        """Return the replay code of an accepted object; see `object_code`."""
        code = object_code(record, base, self._plane_code)
        # the line that accepts it states the label
        return self.lines(replace(options, label=None), *code)

    def propagation(
        self,
        record: ObjectRecord,
        shown: ImagePlane,
        axis: int | None,
        chosen: PropagationOptions,
        options: WriteOptions,
    ) -> ReplayCode | None:
        """Return the replay code of a propagation.

        None for labelled pixels that are not objects of the session, since a
        script does not have them.
        """
        if record.origin == 'labels':
            return None
        return self.lines(
            options,
            f'scene.show({self._plane_code(shown)})',
            f'session.open({record.number})',
            f'session.propagate(axis={axis}, {_arguments(chosen)})',
            'session.reject()',
        )

    def batch(
        self,
        items: Sequence[tuple[ImagePlane, Prompts]],
        overlaps: str,
        options: WriteOptions,
        first_label: int,
    ) -> ReplayCode:
        """Return the replay code of one object per prompt.

        Labels are explicit, since a script may lack the pixels that determine
        the next free label.
        """
        entries = [
            f'    BatchItem({self._plane_code(plane)}, '
            f'{prompts_code(prompts)}),'
            for plane, prompts in items
        ]
        labels = ''
        if options.label is None:
            labels = f', first_label={first_label}'
        return self.lines(
            options,
            'session.batch([',
            *entries,
            f'], overlaps={overlaps!r}{labels})',
        )

    def refinement(
        self,
        planes: Sequence[tuple[ImagePlane, Mapping[int, Mask]]],
        parameters: RefineParameters,
        options: WriteOptions,
    ) -> ReplayCode:
        """Return the replay code of *Refine all*, with the original objects.

        The labels may come from another program, and a script does not have
        them.
        """
        lines: list[str] = []
        for plane, masks in planes:
            lines += [
                f'plane = {self._plane_code(plane)}',
                'session.refine(plane, {',
                *(
                    f'    {label}: mask_from({mask_text(mask)!r}),'
                    for label, mask in masks.items()
                ),
                f'}}, {_arguments(parameters)})',
            ]
        return self.lines(options, *lines)


def _arguments(chosen: PropagationOptions | RefineParameters) -> str:
    """Return the fields of parameters as arguments of a command."""
    return ', '.join(
        f'{each.name}={getattr(chosen, each.name)!r}'
        for each in fields(chosen)
    )
