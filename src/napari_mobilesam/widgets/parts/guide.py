"""User guide in a window."""

from __future__ import annotations

import re
from importlib import resources

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices, QTextCursor
from qtpy.QtWidgets import QDialog, QTextBrowser, QWidget

from napari_mobilesam.widgets.parts.layouts import stack

GUIDE = 'user-guide.md'
# links to other documents, which are not part of the package
_DOCUMENT_LINK = re.compile(r'\[([^\]]+)\]\((?!#|http)[^)]*\)')


class Guide(QDialog):
    """Window with the user guide.

    Parameters
    ----------
    parent : QWidget
        Parent; the window closes with it.

    Attributes
    ----------
    browser : QTextBrowser
        The text.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle('MobileSAM user guide')
        self.resize(720, 640)
        self.browser = QTextBrowser()
        self.browser.setOpenLinks(False)
        self.browser.setMarkdown(guide_text())
        self.browser.anchorClicked.connect(self._follow)
        stack(self, self.browser)

    def open_at(self, heading: str) -> None:
        """Show the window, scrolled to a heading.

        Parameters
        ----------
        heading : str
            Text of the heading.
        """
        self.show()
        self.raise_()
        document = self.browser.document()
        assert document is not None
        block = document.begin()
        while block.isValid():
            level = block.blockFormat().headingLevel()
            if level and block.text().strip() == heading:
                # from the end, so that the heading comes to the top
                self.browser.moveCursor(QTextCursor.MoveOperation.End)
                self.browser.setTextCursor(QTextCursor(block))
                return
            block = block.next()

    def _follow(self, link: QUrl) -> None:
        if link.scheme():
            QDesktopServices.openUrl(link)
        else:
            self.open_at(link.fragment().replace('-', ' ').capitalize())


def guide_text() -> str:
    """Return the user guide as Markdown, without links to other documents."""
    path = resources.files('napari_mobilesam').joinpath(GUIDE)
    return _DOCUMENT_LINK.sub(r'\1', path.read_text('utf-8'))
