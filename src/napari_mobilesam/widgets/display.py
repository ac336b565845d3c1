"""A virtual X display for machines without a screen."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

SCREEN = '1600x1000x24'
START_SECONDS = 30


def has_display() -> bool:
    """Return True if a window can be shown: on Linux only with a display."""
    if not sys.platform.startswith('linux'):
        return True
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


@contextlib.contextmanager
def virtual_display() -> Iterator[str]:
    """Run Xvfb and point ``DISPLAY`` to it within this context.

    Qt's *offscreen* platform has no OpenGL, so napari's canvas stays blank
    there; Xvfb with Mesa draws it.

    Yields
    ------
    str
        Name of the display, such as ``':99'``.

    Raises
    ------
    RuntimeError
        If Xvfb is not installed or does not start.
    """
    program = shutil.which('Xvfb')
    if program is None:
        raise RuntimeError(
            'there is no display, and no virtual one: install Xvfb '
            '(on Debian and Ubuntu: apt-get install xvfb), or run this where '
            'there is a screen'
        )
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [
            *(program, '-displayfd', str(writer), '-screen', '0', SCREEN),
            *('-nolisten', 'tcp'),
        ],
        pass_fds=[writer],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    before = os.environ.get('DISPLAY')
    try:
        # Xvfb writes the number it has chosen once it accepts windows, and
        # closes the pipe if it fails.
        with os.fdopen(reader) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise RuntimeError('the virtual display (Xvfb) did not start')
        os.environ['DISPLAY'] = f':{number}'
        yield f':{number}'
    finally:
        if before is None:
            os.environ.pop('DISPLAY', None)
        else:
            os.environ['DISPLAY'] = before
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_SECONDS)
