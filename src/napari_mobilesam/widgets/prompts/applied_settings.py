"""Settings of “Segment by prompts”, from the form to the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.widgets.parts.hover_view import HoverView
from napari_mobilesam.widgets.parts.keys import (
    Keys,
    bind_free_keys,
    bind_keys,
    unbind_keys,
)
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.actions import COMMON_KEYS, keys_of
from napari_mobilesam.widgets.prompts.doubtful import DoubtfulObjects
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.viewer.napari_preferences import values_of

# A mask is doubtful if its score is below this share of the model's threshold
# in segment everything: backgrounds score 0.0 to 0.2, barely visible objects
# 0.5 and more.
CERTAIN_SHARE = 0.5


class AppliedSettings:
    """Store the user's settings, and apply them to the session.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides the session and owns the keys.
    panel : PromptPanel
        Controls of the settings.
    hover : HoverView
        Preview that is switched on and off.
    doubtful : DoubtfulObjects
        Doubtful objects, told whether they are accepted.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        hover: HoverView,
        doubtful: DoubtfulObjects,
    ) -> None:
        self._dock = dock
        self._session = dock.session
        self._panel = panel
        self._settings = panel.settings
        self._hover = hover
        self._doubtful = doubtful
        self._keys = Keys()
        self._common_keys = Keys()
        self._commands: Mapping[str, Callable[[], None]] = {}
        panel.settings_box.changed.connect(self._change)
        panel.settings_box.clear_button.clicked.connect(self._clear_cache)

    def attach(self, commands: Mapping[str, Callable[[], None]]) -> None:
        """Bind the keys, and follow the settings until the dock closes.

        Parameters
        ----------
        commands : mapping of str to callable
            Functions of the keys, by the names in `ACTIONS`.
        """
        self._commands = commands
        self._bind_keys()
        self._dock.listen(self._session.model_changed, self._use_least_score)
        preferences = self._settings.preferences
        if preferences is not None:
            self._dock.listen(preferences.events, self._preferences_changed)
            self._preferences_changed()
        self._apply()

    def detach(self) -> None:
        """Unbind the keys."""
        self._unbind_keys()

    def toggle_hover(self) -> None:
        """Show or hide the mask under the cursor."""
        self._change({'hover': not self._settings.current.hover})

    def _bind_keys(self) -> None:
        keys = keys_of(self._settings.current.keys)
        self._keys = bind_keys(
            self._dock,
            {key: self._commands[action] for key, action in keys.items()},
        )
        self._common_keys = bind_free_keys(
            self._dock,
            {
                key: self._commands[action]
                for key, action in COMMON_KEYS.items()
            },
        )

    def _unbind_keys(self) -> None:
        unbind_keys(self._dock.viewer, self._common_keys)
        unbind_keys(self._dock.viewer, self._keys)

    def _change(self, changed: Mapping[str, Any]) -> None:
        before = self._settings.current
        self._settings.save(self._panel.status, **changed)
        keys = self._settings.current.keys
        if keys != before.keys:
            self._unbind_keys()
            self._bind_keys()
            self._panel.show_keys(keys)
        self._apply()

    def _preferences_changed(self, event: Any = None) -> None:
        """Apply changes made in napari's Preferences."""
        chosen = values_of(self._settings.preferences)
        if self._settings.current != replace(self._settings.current, **chosen):
            self._panel.settings_box.show_computing(**chosen)

    def _apply(self) -> None:
        settings, session = self._settings.current, self._session
        session.prompting.clean_up = CleanUp(
            settings.min_area, settings.smooth, settings.islands
        )
        self._use_least_score()
        session.models.compute_with(settings.device, settings.threads)
        session.use_cache(settings.cache_mb)
        self._panel.buttons['toggle_hover'].setChecked(settings.hover)
        self._hover.switch(settings.hover)

    def _use_least_score(self) -> None:
        """Set the score below which a mask is doubtful."""
        record = self._session.record
        doubtful = self._settings.current.doubtful
        least = 0.0
        if record is not None and doubtful != 'accept':
            least = CERTAIN_SHARE * record.predicted_iou
        self._session.editor.least_score = least
        self._doubtful.never = doubtful == 'never'

    def _clear_cache(self) -> None:
        self._session.clear_cache()
        self._panel.status.say('The cache of embeddings was cleared.')
