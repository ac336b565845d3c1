"""What “Segment by prompts” can be told to do, and with which key.

The keys are free in napari's own keymaps of images, points, shapes and
labels, and can be changed in the settings of the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Action(NamedTuple):
    """One thing to do.

    Attributes
    ----------
    text : str
        What its button says, without the key.
    key : str
        Key as shipped.
    tip : str
        What it does, in one or two sentences.
    """

    text: str
    key: str
    tip: str


# by the name of the widget's method
ACTIONS: Mapping[str, Action] = {
    'use_points_tool': Action(
        'Points',
        'Shift+D',
        'Click objects: left button on the object, right button (or Ctrl) '
        'beside it.\nDrag points in the select mode of the layer.',
    ),
    'use_boxes_tool': Action(
        'Box',
        'Shift+B',
        'Drag a box around an object. Several boxes without points are '
        'several objects;\nwith points, the newest box and all points are '
        'one object.',
    ),
    'use_outline_tool': Action(
        'Outline',
        'Shift+O',
        'Draw around an object by hand. Polygons and ellipses, which napari '
        'draws with\nthe buttons of the shapes layer, count too: the model '
        'is given box and region.',
    ),
    'use_scribble_tool': Action(
        'Scribble',
        'Shift+S',
        'Draw a line over an object, with the right button over what does '
        'not belong to it:\npoints are set along it.',
    ),
    'edit_object': Action(
        'Edit object',
        'G',
        'Take up the object under the cursor again: its prompts come back, '
        'or, if it has none,\nits mask is the prompt. Add points, then '
        'accept.',
    ),
    'flip_polarity': Action(
        'flip',
        'N',
        'What a left click means. With points selected in the select mode, '
        'flips those.',
    ),
    'toggle_hover': Action(
        'Hover',
        'H',
        'Show the mask that a click would give, before the click.',
    ),
    'next_candidate': Action(
        'Next mask',
        'K',
        'Show the next of the whole, the part and the subpart.',
    ),
    'accept': Action(
        'Accept',
        'W',
        'Write the mask into the labels layer and start the next object.',
    ),
    'reject': Action(
        'Reject',
        'Q',
        'Drop the mask and its prompts. An object that was taken up again '
        'stays as it was.',
    ),
    'undo': Action(
        'Undo',
        'U',
        'Take back the last object, whatever plane it was written on.',
    ),
    'redo': Action('Redo', 'Shift+U', 'Repeat what was undone.'),
    'previous_object': Action(
        'Previous', 'J', 'Take up the object before this one.'
    ),
    'next_object': Action(
        'Next', 'Shift+J', 'Take up the object after this one.'
    ),
    'next_uncertain': Action(
        'Least certain',
        'Shift+Q',
        'Take up the object with the lowest score that nobody has looked at '
        'yet.',
    ),
    'delete_object': Action(
        'Delete',
        'Shift+X',
        'Erase the object that is taken up, or the one under the cursor.',
    ),
    'propagate_back': Action(
        '◀ Back',
        'Shift+H',
        'Follow the object through the planes before this one.',
    ),
    'propagate_both': Action(
        '◀ Both ▶', 'Shift+G', 'Follow the object in both directions.'
    ),
    'propagate_forward': Action(
        'Forward ▶',
        'Shift+K',
        'Follow the object through the planes after this one.',
    ),
    'run_batch': Action(
        'All prompts of a layer',
        'Shift+M',
        'Segment one object for each box, or each point, of the chosen layer.',
    ),
}


def key_of(action: str, changed: Mapping[str, str]) -> str:
    """Return the key of an action, as shipped or as the user wants it."""
    return changed.get(action, ACTIONS[action].key)


def label_of(action: str, changed: Mapping[str, str]) -> str:
    """Return the text of a button: what it does and its key."""
    key = key_of(action, changed)
    text = ACTIONS[action].text
    return f'{text} ({key})' if key else text


def keys_of(changed: Mapping[str, str]) -> dict[str, str]:
    """Return which action each key calls; of two with one key the first."""
    actions: dict[str, str] = {}
    for action in ACTIONS:
        key = key_of(action, changed)
        if key:
            actions.setdefault(key, action)
    return actions
