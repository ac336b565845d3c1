"""Write the address of the repository into a release.

The sources contain no address, as copies of them may be anywhere. PyPI and
napari hub need one for the project links and for the images of the README.
The release workflow runs this script in its checkout before the build;
nothing is committed. Uses only the standard library.

``python tools/set_address.py https://github.com/OWNER/NAME --tag v0.1.0``
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
GITHUB = re.compile(r'https://github\.com/[\w.-]+/[\w.-]+')
TAG = re.compile(r'[\w][\w./-]*')
# Markdown links and images that refer to files of the repository
LINK = re.compile(r'(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)\s]+)\)')
URLS = """\
[project.urls]
Homepage = "{address}"
Documentation = "{address}/blob/{tag}/docs/index.md"
Source = "{address}"
"Bug Tracker" = "{address}/issues"
"User Support" = "{address}/issues"
Changelog = "{address}/blob/{tag}/CHANGELOG.md"

"""


class AddressError(ValueError):
    """The address cannot be written; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the address; return 0, or 2 with a message."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('address', help='https://github.com/OWNER/NAME')
    parser.add_argument('--tag', required=True, help='tag of the release')
    parser.add_argument('--root', type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    try:
        write(options.root, options.address, options.tag)
    except AddressError as error:
        print(f'set_address: {error}', file=sys.stderr)
        return 2
    return 0


def write(root: Path, address: str, tag: str) -> None:
    """Write the address into pyproject.toml and README.md.

    Parameters
    ----------
    root : Path
        Folder of the sources.
    address : str
        Address of the repository on GitHub.
    tag : str
        Tag of the release, for permanent links.

    Raises
    ------
    AddressError
        If the address or the tag is invalid, or there are addresses already.
        Nothing is written.
    """
    address = address.strip().removesuffix('.git').rstrip('/')
    if not GITHUB.fullmatch(address):
        raise AddressError(
            f'{address!r} is not the address of a repository: give it as '
            'https://github.com/OWNER/NAME'
        )
    if not TAG.fullmatch(tag):
        raise AddressError(f'{tag!r} is not a tag: give one such as v0.1.0')
    project, readme = root / 'pyproject.toml', root / 'README.md'
    settings = project.read_text('utf-8')
    if '[project.urls]' in settings:
        raise AddressError(f'{project} already has [project.urls]')
    mark = '[project.optional-dependencies]\n'
    if settings.count(mark) != 1:
        raise AddressError(f'{project} has no {mark.strip()}')
    page = absolute(readme.read_text('utf-8'), root, address, tag)
    urls = URLS.format(address=address, tag=tag)
    project.write_text(settings.replace(mark, urls + mark), 'utf-8')
    readme.write_text(page, 'utf-8')


def absolute(page: str, root: Path, address: str, tag: str) -> str:
    """Return Markdown with absolute links to files of the repository."""
    raw = address.replace('github.com', 'raw.githubusercontent.com')

    def replaced(found: re.Match[str]) -> str:
        path, _, part = found['path'].partition('#')
        if '://' in path or not path:
            return found[0]
        if not (root / path).exists():
            raise AddressError(
                f'README.md links to {path}, which does not exist'
            )
        start = f'{raw}/{tag}' if found['picture'] else f'{address}/blob/{tag}'
        part = f'#{part}' if part else ''
        return f'{found["picture"]}[{found["text"]}]({start}/{path}{part})'

    return LINK.sub(replaced, page)


if __name__ == '__main__':
    sys.exit(main())
