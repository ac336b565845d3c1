"""Thumbnails of candidate masks to choose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from napari_mobilesam.segmentation.shapes import sampled
from napari_mobilesam.text import counted
from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.parts.preview import COLOR

SIDE = 56
PLACES = 3
GROUND = '#1b2026'


class CandidatesView(QWidget):
    """One button per mask with its shape and score; one is checked.

    All shapes are drawn to the same scale: whole, part and subpart differ in
    size. With fewer than two masks it is empty, but keeps its height.

    Attributes
    ----------
    chosen : Signal(int)
        Index of the mask that was clicked.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.buttons: list[QToolButton] = []
        for index in range(PLACES):
            button = QToolButton()
            button.setCheckable(True)
            button.setStyleSheet(
                f'QToolButton:checked {{ border: 2px solid {COLOR}; }}'
            )
            button.setIconSize(QSize(SIDE, SIDE))
            button.setToolButtonStyle(
                Qt.ToolButtonStyle.ToolButtonTextUnderIcon
            )
            button.setSizePolicy(
                QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
            )
            button.clicked.connect(
                lambda checked=False, i=index: self.chosen.emit(i)
            )
            # same height without a picture
            height = SIDE + button.fontMetrics().height() + 14
            button.setFixedHeight(height)
            keep = button.sizePolicy()
            keep.setRetainSizeWhenHidden(True)
            button.setSizePolicy(keep)
            layout.addWidget(button)
            self.buttons.append(button)
        self.clear()

    def show_masks(self, masks: Sequence[Mask], chosen: int) -> None:
        """Show thumbnails of masks.

        Parameters
        ----------
        masks : sequence of Mask
            Masks in data pixels of one plane.
        chosen : int
            Index of the chosen one.
        """
        if len(masks) < 2:
            self.clear()
            return
        pictures = thumbnails(masks[:PLACES])
        for index, button in enumerate(self.buttons):
            button.setVisible(index < len(pictures))
            if index >= len(pictures):
                continue
            mask = masks[index]
            button.setIcon(_icon(pictures[index]))
            # not “-0.00”
            score = max(0.0, mask.score)
            button.setText(f'{score:.2f}')
            button.setToolTip(
                f'{counted(mask.area, "pixel")}, score {score:.2f}, stability '
                f'{mask.stability:.2f}'
            )
            button.setChecked(index == chosen)

    def clear(self) -> None:
        """Hide the thumbnails."""
        for button in self.buttons:
            button.hide()


def thumbnails(masks: Sequence[Mask]) -> list[NDArray[np.bool_]]:
    """Return masks as (SIDE, SIDE) bool arrays of the same region.

    The region is a square around all masks, with a small margin.
    """
    boxes = np.array([mask.box for mask in masks], dtype=np.float64)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = 1.1 * float((high - low).max())
    corner = (low + high - side) / 2
    offsets = (np.arange(SIDE) + 0.5) * side / SIDE
    rows, columns = (
        np.floor(start + offsets).astype(np.intp) for start in corner
    )
    return [sampled(mask, rows, columns) for mask in masks]


def _icon(picture: NDArray[np.bool_]) -> QIcon:
    pixels = np.where(
        picture, QColor(COLOR).rgb(), QColor(GROUND).rgb()
    ).astype(np.uint32)
    image = QImage(
        pixels.tobytes(), SIDE, SIDE, SIDE * 4, QImage.Format.Format_RGB32
    )
    # the copy owns its pixels
    return QIcon(QPixmap.fromImage(image.copy()))
