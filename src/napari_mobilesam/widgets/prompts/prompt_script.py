"""Button that copies the script of the labels."""

from __future__ import annotations

from qtpy.QtWidgets import QApplication

from napari_mobilesam.session import Session
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel


class PromptScript:
    """Copies Python that makes the labels again.

    Parameters
    ----------
    session : Session
        Session of the viewer.
    panel : PromptPanel
        Button and status line.
    """

    def __init__(self, session: Session, panel: PromptPanel) -> None:
        self._session = session
        self._status = panel.status
        panel.script_button.clicked.connect(self.copy)

    def copy(self) -> None:
        """Copy the script of the labels that are written to."""
        scene = self._session.scene
        objects = None if scene is None else scene.objects(False)
        codes = [] if objects is None else objects.history.replay_codes
        if not codes:
            self._status.say(
                'There is nothing to copy yet: accept an object, or add what '
                'Segment everything finds to these labels.'
            )
            return
        with self._status.errors():
            script = self._session.script()
            clipboard = QApplication.clipboard()
            assert clipboard is not None
            clipboard.setText(script)
            left = sum(code is None for _, code in codes)
            text = (
                f'Copied a script of {counted(len(codes), "step")}: paste it '
                "into a file, or into napari's console."
            )
            if left:
                text += (
                    f' Of these, {left} cannot be repeated by a script; '
                    'comments say which.'
                )
            self._status.say(text)
