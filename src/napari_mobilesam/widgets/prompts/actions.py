"""Actions of “Segment by prompts”, with their default keys.

napari does not use these keys in its keymaps for images, points, shapes and
labels. They can be changed in the settings of the form.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from napari_mobilesam.widgets.parts.action import Action

# keyed by the names in `PromptWidget.commands`
ACTIONS: Mapping[str, Action] = {
    'use_points_tool': Action(
        'Points',
        'Shift+D',
        'Click objects: left button to add, right button (or Ctrl) to '
        'remove.\nMove points in the select mode of the layer.',
    ),
    'use_boxes_tool': Action(
        'Box',
        'Shift+B',
        'Drag a box around an object. Without points, each box is one object;'
        '\nwith points, the newest box and all points are one object.',
    ),
    'use_outline_tool': Action(
        'Outline',
        'Shift+O',
        'Draw around an object. Polygons and ellipses of the Shapes layer '
        'are outlines, too:\nthe prompt is their bounding box and their '
        'inside.',
    ),
    'use_scribble_tool': Action(
        'Scribble',
        'Shift+S',
        'Draw a line over an object; with the right button, over background.'
        '\nPoints along the line are the prompt.',
    ),
    'point_here': Action(
        'Add a point in the middle of the view',
        'Ctrl+Shift+Y',
        'Add a point in the middle of the view, like a click there.',
    ),
    'view_left': Action(
        'Move the view to the left',
        'Ctrl+Shift+Left',
        'Move the view to the left.',
    ),
    'view_right': Action(
        'Move the view to the right',
        'Ctrl+Shift+Right',
        'Move the view to the right.',
    ),
    'view_up': Action(
        'Move the view up', 'Ctrl+Shift+Up', 'Move the view up.'
    ),
    'view_down': Action(
        'Move the view down', 'Ctrl+Shift+Down', 'Move the view down.'
    ),
    'edit_object': Action(
        'Edit object',
        'G',
        'Edit the object under the cursor: its prompts come back; without '
        'prompts,\nits mask is the prompt. Add points, then accept.',
    ),
    'assign_class': Action(
        'Assign class',
        'Ctrl+Shift+G',
        'Assign the object under the cursor to the chosen class, without '
        'opening it.\nWith the button: the object that you click next.',
    ),
    'flip_polarity': Action(
        'Invert the effect of a left click',
        'N',
        'Invert the effect of a left click. In the select mode, flip the '
        'selected points.',
    ),
    'toggle_hover': Action(
        'Hover',
        'H',
        'Preview the mask that a click at the cursor would give.',
    ),
    'next_candidate': Action(
        'Next mask',
        'K',
        'Show the next of three masks: whole, part and subpart.',
    ),
    'accept': Action(
        'Accept',
        'W',
        'Write the mask into the labels layer and start the next object.',
    ),
    'reject': Action(
        'Reject',
        'Q',
        'Drop the mask and its prompts. An edited object stays unchanged.',
    ),
    'undo': Action(
        'Undo',
        'U',
        'Remove the last prompt of the open object; without one, undo the '
        'last step, on any plane.',
    ),
    'redo': Action('Redo', 'Shift+U', 'Redo the step that was undone last.'),
    'previous_object': Action('Previous', 'J', 'Edit the previous object.'),
    'next_object': Action('Next', 'Shift+J', 'Edit the next object.'),
    'next_uncertain': Action(
        'Least certain',
        'Shift+Q',
        'Edit the unreviewed object with the lowest score.',
    ),
    'delete_object': Action(
        'Delete',
        'Shift+X',
        'Delete the open object. The key also deletes the object under the '
        'cursor. A new mask is dropped.',
    ),
    'propagate_back': Action(
        '◀ Back',
        'Shift+H',
        'Follow the object through the preceding planes.',
    ),
    'propagate_both': Action(
        '◀ Both ▶', 'Shift+G', 'Follow the object in both directions.'
    ),
    'propagate_forward': Action(
        'Forward ▶',
        'Shift+K',
        'Follow the object through the following planes.',
    ),
    'run_batch': Action(
        'Segment all prompts in layer',
        'Shift+M',
        'Segment one object per box or positive point of the selected layer.',
    ),
}

COMMAND = 'Meta' if sys.platform == 'darwin' else 'Ctrl'
# Keys of other programs. A selected labels layer keeps those of napari, which
# undo and redo painting.
COMMON_KEYS: Mapping[str, str] = {
    f'{COMMAND}+Z': 'undo',
    f'{COMMAND}+Shift+Z': 'redo',
}


def key_of(action: str, changed: Mapping[str, str]) -> str:
    """Return the key of an action: the user's, else the default."""
    return changed.get(action, ACTIONS[action].key)


def label_of(action: str, changed: Mapping[str, str]) -> str:
    """Return the text of a button with its key."""
    key = key_of(action, changed)
    text = ACTIONS[action].text
    return f'{text} ({key})' if key else text


def keys_of(changed: Mapping[str, str]) -> dict[str, str]:
    """Map keys to actions; the first of two actions with one key wins."""
    actions: dict[str, str] = {}
    for action in ACTIONS:
        key = key_of(action, changed)
        if key:
            actions.setdefault(key, action)
    return actions
