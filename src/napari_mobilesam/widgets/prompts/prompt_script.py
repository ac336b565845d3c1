"""The script of the labels, for the clipboard."""

from __future__ import annotations

from qtpy.QtWidgets import QApplication

from napari_mobilesam.session import Session
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.status_line import StatusLine


def copy_script(session: Session, status: StatusLine) -> None:
    """Copy Python that makes the labels that are written to again.

    Parameters
    ----------
    session : Session
        Session of the viewer.
    status : StatusLine
        Says what was copied.
    """
    scene = session.scene
    objects = None if scene is None else scene.objects(False)
    codes = [] if objects is None else objects.history.replay_codes
    if not codes:
        status.say(
            'There is nothing to copy yet: accept an object, or add what '
            'Segment everything finds to these labels.'
        )
        return
    with status.errors():
        script = session.script()
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
        status.say(text)
