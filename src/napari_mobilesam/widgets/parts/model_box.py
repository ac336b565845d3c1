"""Choice and download of a model."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QWidget

from napari_mobilesam.model.registry import cached_path, list_models
from napari_mobilesam.types import ModelRecord
from napari_mobilesam.widgets.parts.controls import narrow
from napari_mobilesam.widgets.parts.layouts import stack
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget

OPEN_FILE = 'Open a file …'


class ModelBox(QWidget):
    """Combo box of models, with a download button if needed.

    A model that is not on this computer is listed with its size. It is used
    once downloaded; until then, the previous one stays in use.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the session, which loads and downloads.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        super().__init__()
        self._dock = dock
        self._session = dock.session
        self._records: dict[str, ModelRecord] = {}
        self.combo = narrow(QComboBox())
        self.note = MessageLabel()
        self.button = QPushButton()
        stack(self, self.combo, self.note, self.button, spacing=4)
        self.button.clicked.connect(self._download_or_stop)
        self.combo.activated.connect(self._chosen)

    def attach(self) -> None:
        """Follow the models of the session until the dock closes."""
        self._dock.listen_all(
            (self._session.model_changed, self.refresh),
            (self._session.downloaded, self.refresh),
            # also of a download that was started in another dock
            (self._session.status, self._told),
            (self._session.failed, self._told),
        )
        self.refresh()

    @property
    def record(self) -> ModelRecord | None:
        """Record of the model in use; None for a file that is not loaded."""
        loaded = self._session.record
        return loaded or self._records.get(self._session.model_name)

    def refresh(self, *args: object) -> None:
        """Show the available models, and the one in use."""
        self._records = {record.name: record for record in list_models()}
        self.combo.blockSignals(True)
        self.combo.clear()
        for record in self._records.values():
            self.combo.addItem(self._entry(record.name), record.name)
            self.combo.setItemData(
                self.combo.count() - 1, _details(record), _TOOLTIP
            )
        self._select(self._session.model_name)
        self.combo.addItem(OPEN_FILE, None)
        self.combo.blockSignals(False)
        self._explain()

    def _told(self, text: str, topic: str) -> None:
        if topic == 'model':
            self._explain()

    def _select(self, name: str) -> None:
        index = self.combo.findData(name)
        if index < 0:
            # a user's file, shown by name
            index = self.combo.count()
            self.combo.insertItem(index, Path(name).name, name)
        self.combo.setCurrentIndex(index)
        self.combo.setToolTip(
            str(self.combo.itemData(index, _TOOLTIP) or name)
        )

    def _chosen(self, index: int) -> None:
        name = self.combo.itemData(index)
        if name is None:
            name, _ = QFileDialog.getOpenFileName(
                self,
                'Open a SAM or MobileSAM checkpoint',
                '',
                'Checkpoints (*.pt *.pth *.safetensors)',
            )
            if not name:
                self.refresh()
                return
        if self._here(name):
            # a missing file is reported like a damaged one
            self._session.models.use(name)
            self.refresh()
        else:
            self._explain()

    def _download_or_stop(self) -> None:
        if self._session.models.downloading:
            self._session.cancel_download()
        else:
            self._session.download(self._offered())
        self._explain()

    def _offered(self) -> str:
        chosen = self.combo.currentData()
        return str(chosen) if chosen and not self._here(chosen) else ''

    def _explain(self) -> None:
        # perhaps from another dock, or since before this one was closed
        downloading = self._session.models.downloading
        offered = self._offered()
        if downloading:
            self.note.setText(f'Downloading {downloading} …')
            self.button.setText('Stop download')
        elif offered:
            self.note.setText(
                f'Not downloaded yet; {self._session.model_name} stays in use.'
            )
        else:
            self.note.setText('')
        if offered and not downloading:
            self.button.setText(f'Download {offered}{self._size(offered)}')
        self.note.setVisible(bool(self.note.text()))
        self.button.setVisible(bool(offered or downloading))

    def _here(self, name: str) -> bool:
        """Return True if a model needs no download."""
        return name not in self._records or cached_path(name) is not None

    def _entry(self, name: str) -> str:
        """Return the text of a model in the list."""
        return name if self._here(name) else f'{name}{self._size(name)}'

    def _size(self, name: str) -> str:
        size = self._records[name].size_bytes
        return f' ({size / 2**20:.0f} MB)' if size else ''


_TOOLTIP = 3  # Qt.ToolTipRole, an int in every binding


def _details(record: ModelRecord) -> str:
    lines = [record.purpose, f'Licence: {record.licence}', record.citation]
    return '\n'.join(line for line in lines if line)
