"""Sliders that filter the results of segment everything."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QPushButton, QWidget
from superqt import QDoubleRangeSlider, QDoubleSlider

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.session.everything.everything_messages import Extent
from napari_mobilesam.widgets.parts.layouts import stack

HORIZONTAL = Qt.Orientation.Horizontal
RIGHT = Qt.AlignmentFlag.AlignRight
Range = tuple[float, float]


class ThresholdSlider(QDoubleSlider):
    """Slider for one number up to 1, with its value above it."""

    def __init__(self, low: float) -> None:
        super().__init__(HORIZONTAL)  # type: ignore[no-untyped-call]
        self.text = QLabel()
        self.setRange(low, 1)
        self.setSingleStep(0.01)
        self.setPageStep(0.05)
        self.valueChanged.connect(self._show)

    def _show(self, value: float) -> None:
        self.text.setText(f'{value:.2f}')


class RangeSlider(QDoubleRangeSlider):
    """Slider for a range, with both ends above it.

    Parameters
    ----------
    logarithmic : bool
        Whether the scale is logarithmic, for areas.
    """

    def __init__(self, logarithmic: bool = False) -> None:
        super().__init__(HORIZONTAL)  # type: ignore[no-untyped-call]
        self.text = QLabel()
        self._logarithmic = logarithmic
        self._extent: Range = (0.0, 1.0)
        self.valueChanged.connect(self._show)
        self.set_extent((0.0, 1.0) if not logarithmic else (1.0, 10.0))

    def set_extent(self, extent: Range) -> None:
        """Set the limits, and select everything between them."""
        low, high = extent
        self._extent = (low, max(high, low + 1e-6))
        self.blockSignals(True)
        self.setRange(*(self._to_slider(value) for value in self._extent))
        self.blockSignals(False)
        self.set_interval(None)

    def set_interval(self, interval: Range | None) -> None:
        """Select a range; None for all values."""
        low, high = self._extent
        least, most = interval or self._extent
        ends = (max(low, least), min(high, most))
        if ends[0] > ends[1]:
            ends = self._extent
        self.setValue(tuple(self._to_slider(value) for value in ends))
        self._show()

    @property
    def interval(self) -> Range | None:
        """Selected range; None if it includes all values.

        At an end of the slider, nothing is left out on that side.
        """
        low, high = self.minimum(), self.maximum()
        least, most = self._ends
        margin = 1e-6 * max(1.0, high - low)
        open_below, open_above = least <= low + margin, most >= high - margin
        if open_below and open_above:
            return None
        return (
            -math.inf if open_below else self._from_slider(least),
            math.inf if open_above else self._from_slider(most),
        )

    @property
    def _ends(self) -> Range:
        ends: Any = self.value()
        return ends[0], ends[1]

    def _to_slider(self, value: float) -> float:
        return math.log10(max(value, 1)) if self._logarithmic else value

    def _from_slider(self, value: float) -> float:
        # areas are integers, and 10**log10(57) is more than 57
        return round(10**value) if self._logarithmic else value

    def _show(self, value: Any = None) -> None:
        least, most = (self._from_slider(end) for end in self._ends)
        self.text.setText(f'{_short(least)} – {_short(most)}')


class FilterPanel(QWidget):
    """Filters that determine which masks become objects.

    Attributes
    ----------
    changed : Signal
        Emitted when the selection changes.
    moved : str
        Name of the slider that was moved last; empty for all of them.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.count = QLabel()
        self.count.setToolTip(
            'Objects that you keep, correct, paint or give a class stay,\n'
            'whatever the filters.'
        )
        self.similarity = ThresholdSlider(-1)
        self.predicted_iou = ThresholdSlider(0)
        self.stability = ThresholdSlider(0)
        self.overlap = ThresholdSlider(0)
        self.area = RangeSlider(logarithmic=True)
        self.eccentricity = RangeSlider()
        self.solidity = RangeSlider()
        self.intensity = RangeSlider()
        self.border = QCheckBox('Keep objects at the border')
        self.reset_button = QPushButton('Reset filters')
        self.reset_button.setToolTip('Return to the thresholds of the run.')
        self.moved = ''
        self._initial = Selection()
        self._arrange()
        self.reset_button.clicked.connect(self.reset)

    def _rows(self) -> list[tuple[str, Any, str]]:
        """Name, slider and tooltip of each filter."""
        return [
            (
                'Similarity ≥',
                self.similarity,
                'Similarity to the examples, or score of the detector.',
            ),
            (
                'Predicted IoU ≥',
                self.predicted_iou,
                'Objects of a lower value are hidden.',
            ),
            (
                'Stability ≥',
                self.stability,
                'Objects of a lower value are hidden.',
            ),
            (
                'Overlap ≤',
                self.overlap,
                'Of masks whose boxes overlap more, only the best is kept.',
            ),
            (
                'Area (px)',
                self.area,
                'Area of the whole mask, also where a better one covers it.',
            ),
            (
                'Eccentricity',
                self.eccentricity,
                '0 for a circle, close to 1 for a line.',
            ),
            (
                'Solidity',
                self.solidity,
                'Area of an object divided by that of its convex hull.',
            ),
            (
                'Intensity',
                self.intensity,
                'Mean intensity of the image in an object.',
            ),
        ]

    def _arrange(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(2)
        for number, (name, slider, tip) in enumerate(self._rows()):
            label = QLabel(name)
            for part in (label, slider, slider.text):
                part.setToolTip(tip)
            # stacked: next to its texts, a slider has no room in a narrow dock
            grid.addWidget(label, 2 * number, 0)
            grid.addWidget(slider.text, 2 * number, 1, RIGHT)
            grid.addWidget(slider, 2 * number + 1, 0, 1, 2)
            slider.valueChanged.connect(partial(self._tell, name))
            if slider is self.similarity:
                self._similarity_row = (label, slider, slider.text)
        self._show_similarity(False)
        self.border.setChecked(True)
        self.border.toggled.connect(partial(self._tell, 'border'))
        stack(
            self, self.count, grid, self.border, self.reset_button, spacing=6
        )

    def selection(self) -> Selection:
        """Return the chosen selection."""
        first = self._initial
        overlap: float = self.overlap.value()
        kept = abs(overlap - first.box_nms) < 0.005
        return Selection(
            predicted_iou=self.predicted_iou.value(),
            stability=self.stability.value(),
            box_nms=first.box_nms if kept else overlap,
            crop_nms=first.crop_nms if kept else overlap,
            max_area_fraction=first.max_area_fraction,
            min_area=first.min_area,
            overlap=first.overlap,
            filters=ObjectFilters(
                area=self.area.interval,
                eccentricity=self.eccentricity.interval,
                solidity=self.solidity.interval,
                intensity_mean=self.intensity.interval,
                border=self.border.isChecked(),
            ),
            similarity=(
                None if first.similarity is None else self.similarity.value()
            ),
        )

    def begin(self, initial: Selection, extent: Extent) -> None:
        """Show the selection of a run, without emitting `changed`.

        Parameters
        ----------
        initial : Selection
            Selection with numbers for both thresholds.
        extent : Extent
            Ranges of the values found.
        """
        self._initial = initial
        self._show_similarity(initial.similarity is not None)
        self._silently(lambda: self._show(initial, extent))

    def show_selection(self, selection: Selection) -> None:
        """Show a selection of the same run, without emitting `changed`."""
        self._silently(lambda: self._show(selection))

    def reset(self) -> None:
        """Return to the selection of the run."""
        self.show_selection(self._initial)
        self._tell('')

    def show_count(self, kept: int, found: int) -> None:
        """Show the number of objects kept."""
        self.count.setText(f'Kept {kept:,} of {found:,} masks')

    def _show_similarity(self, shown: bool) -> None:
        for part in self._similarity_row:
            part.setVisible(shown)

    def _show(
        self, selection: Selection, extent: Extent | None = None
    ) -> None:
        if extent is not None:
            self.similarity.setRange(extent.similarity, 1)
            self.predicted_iou.setRange(extent.predicted_iou, 1)
            self.stability.setRange(extent.stability, 1)
            self.area.set_extent(extent.area)
            self.intensity.set_extent(extent.intensity)
        self.predicted_iou.setValue(selection.predicted_iou or 0)
        self.stability.setValue(selection.stability or 0)
        self.overlap.setValue(selection.box_nms)
        if selection.similarity is not None:
            self.similarity.setValue(selection.similarity)
        filters = selection.filters
        self.area.set_interval(filters.area)
        self.eccentricity.set_interval(filters.eccentricity)
        self.solidity.set_interval(filters.solidity)
        self.intensity.set_interval(filters.intensity_mean)
        self.border.setChecked(filters.border)

    def _silently(self, change: Callable[[], None]) -> None:
        before = self.blockSignals(True)
        change()
        self.blockSignals(before)

    def _tell(self, name: str, value: Any = None) -> None:
        self.moved = name
        self.changed.emit()


def _short(value: float) -> str:
    """Format a number with three digits: 0.45, 12.3, 450, 12.3k."""
    for factor, unit in ((1e6, 'M'), (1e3, 'k')):
        if abs(value) >= factor:
            return f'{value / factor:.3g}{unit}'
    return f'{value:.3g}' if abs(value) >= 0.005 else '0'
