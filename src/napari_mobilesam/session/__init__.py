"""Interaction without a window, shared by the widgets of a viewer.

`Session` answers prompts and segments everything; `fine_tuning` trains. Both
take frozen requests, work on their own thread, and answer with signals. This
package imports neither Qt nor napari.
"""

from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.prompt_messages import (
    PromptRequest,
    PromptResult,
    check_prompts,
)
from napari_mobilesam.session.session import Session
from napari_mobilesam.text import explain

__all__ = [
    'EverythingRequest',
    'EverythingResult',
    'ImagePlane',
    'PlaneTask',
    'PromptRequest',
    'PromptResult',
    'Session',
    'check_prompts',
    'explain',
]
