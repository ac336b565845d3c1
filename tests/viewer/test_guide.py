"""Every control of every dock is named on its page of the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import (
    QAbstractButton,
    QFormLayout,
    QGroupBox,
    QLabel,
    QWidget,
)

from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / 'src' / 'napari_mobilesam' / 'user-guide.md'
FORMS = {
    'prompts': 'Segment by prompts',
    'everything': 'Segment everything',
    'training': 'Fine-tune on labels',
}
PAGES = {
    'Series': 'series.md',
    'Table': 'table.md',
    'Refine labels': 'table.md',
    'Track': 'tracking.md',
}
# what is not a name: keys in brackets, units, arrows, ellipses, states
ADDED = re.compile(r'\([^)]*\)|[◀▶▸▾▼►&…]|:.*')


def plain(text: str) -> str:
    """Text without markup, in lower case, with single spaces."""
    return ' '.join(re.sub(r'[*`|]', ' ', text).split()).casefold()


def rows_of(widget: QWidget) -> Iterator[str]:
    """Labels of the rows of a widget's forms."""
    for form in widget.findChildren(QFormLayout):
        for row in range(form.rowCount()):
            item = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
            if item is not None and isinstance(item.widget(), QLabel):
                yield item.widget().text()


def controls_of(widget: QWidget) -> set[str]:
    """Texts of the buttons, check boxes, labels and sections of a widget."""
    texts = {button.text() for button in widget.findChildren(QAbstractButton)}
    texts |= {box.title() for box in widget.findChildren(QGroupBox)}
    texts |= {box.title for box in widget.findChildren(CollapsibleSection)}
    texts |= set(rows_of(widget))
    names = {plain(ADDED.sub(' ', text)) for text in texts}
    # single letters and symbols, such as + and − of a number, are no names
    return {name for name in names if len(name) > 1}


def section(text: str, heading: str) -> str:
    """Part of the guide under a heading."""
    found = re.search(rf'^## {heading}\n(.*?)(?=^## |\Z)', text, re.S | re.M)
    assert found is not None
    return found[1]


def missing(widget: QWidget, page: str) -> str:
    """Controls that a page does not name, in one line."""
    text = plain(page)
    names = controls_of(widget)
    assert len(names) >= 6
    return '; '.join(
        name
        for name in sorted(names)
        if not re.search(rf'(?<!\w){re.escape(name)}(?!\w)', text)
    )


@pytest.mark.parametrize('form', FORMS)
def test_guide_names_every_control_of_the_dock(desk, blobs, form):
    d = desk(blobs)
    guide = GUIDE.read_text('utf-8')
    assert (
        missing(open_form(d.viewer, form), section(guide, FORMS[form])) == ''
    )


@pytest.mark.slow
def test_guide_names_the_choices_above_the_tabs(desk, blobs):
    d = desk(blobs)
    header = plain(GUIDE.read_text('utf-8').split('\n## ')[0])
    contents = d.dock.widget()
    names = {plain(text) for text in rows_of(contents.header)}
    assert names == {'image', 'channels', 'model', 'device'}
    assert all(name in header for name in names)
    assert 'help' in header


@pytest.mark.slow
@pytest.mark.parametrize('name', PAGES)
def test_page_names_every_control_of_its_dock(desk, blobs, name):
    d = desk(blobs, widget=name)
    page = (ROOT / 'docs' / PAGES[name]).read_text('utf-8')
    assert missing(d.widget, page) == ''


# names of napari's own menus and dialogs, of combo boxes and layers, and of
# other programs
OTHERS = {
    'File',
    'Open Sample',
    'Open Folder…',
    'Open File(s)…',
    'Save Selected Layers…',
    'Files of type',
    'Layers',
    'Segment',
    'Track',
    'Prompts',
    'Everything',
    'Fine-tune',
    'objects',
    'nuclei objects',
    'nuclei in 3D objects',
    'found so far',
    'the whole plane',
    'all 24 along z, linked',
    'all 16 along t, independently',
    'Export objects as GeoJSON',
    'ROI Manager',
    'More',
    'Save…',
}


def named_in_manifest() -> set[str]:
    """Names of the plugin, and of what it adds to napari's menus."""
    manifest = PluginManifest.from_distribution('napari-mobilesam')
    parts = manifest.contributions
    return {
        manifest.display_name,
        *(command.title for command in parts.commands or ()),
        *(widget.display_name for widget in parts.widgets or ()),
        *(sample.display_name for sample in parts.sample_data or ()),
        # as in the dialog of napari
        *(
            f'{manifest.display_name} {writer.display_name}'
            for writer in parts.writers or ()
        ),
    }


@pytest.mark.slow
def test_tutorials_name_what_is_on_the_screen(desk, blobs):
    d = desk(blobs)
    forms = [open_form(d.viewer, form) for form in FORMS]
    for name in PAGES:
        _, widget = d.viewer.window.add_plugin_dock_widget(
            'napari-mobilesam', name
        )
        forms.append(widget)
    known = {plain(name) for name in OTHERS | named_in_manifest()}
    known = {plain(ADDED.sub(' ', name)) for name in known}
    known = known.union(*map(controls_of, [*forms, d.dock]))
    for page in sorted((ROOT / 'docs' / 'tutorials').glob('*.md')):
        text = re.sub(r'```.*?```', '', page.read_text('utf-8'), flags=re.S)
        names = re.findall(r'(?<!\*)\*([^*\s][^*]*)\*(?!\*)', text)
        assert names or page.stem in ('index', 'cluster')
        for path in names:
            for name in path.split('▸'):
                assert plain(ADDED.sub(' ', name)) in known, (page.stem, name)
    d.settle()
