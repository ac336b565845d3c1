"""Objects about which the model is uncertain: confirmed twice, or refused."""

from __future__ import annotations

from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel


class DoubtfulObjects:
    """Refuse to accept a doubtful object unless asked twice.

    Parameters
    ----------
    editor : Editor
        Editor of the open object.
    panel : PromptPanel
        Status line, and the name of *Accept*.

    Attributes
    ----------
    never : bool
        Whether doubtful objects are never accepted, however often requested.
    """

    def __init__(self, editor: Editor, panel: PromptPanel) -> None:
        self._editor = editor
        self._panel = panel
        # the last refused object
        self._refused: ObjectRecord | None = None
        self.never = False

    def refuse(self) -> bool:
        """Return, and report, whether the open object is doubtful.

        An object is refused once; accepting it again means it.
        """
        if self._is_certain():
            return False
        self._panel.status.fail(self.text)
        return True

    def _is_certain(self) -> bool:
        """Return whether the open object may be written."""
        editor = self._editor
        if editor.pending or not editor.doubtful:
            return True
        twice, self._refused = self._refused is editor.record, editor.record
        return twice and not self.never

    @property
    def text(self) -> str:
        """Sentences about the open, doubtful object."""
        # not “-0.00”
        score = max(0.0, self._editor.record.score)
        text = (
            f'No confident mask here (score {score:.2f}): add a point or '
            'draw a box.'
        )
        if self.never:
            return text
        accept = self._panel.buttons['accept'].text()
        again = ' again' if self._refused is self._editor.record else ' twice'
        return f'{text} Press {accept}{again} to keep it anyway.'
