"""Install the system libraries for napari's window on Debian and Ubuntu.

Wheels include Qt, but not OpenGL, the xcb libraries, a font, or the virtual X
server for viewer tests. Existing libraries are detected by what they provide,
not by package name, so that the check is fast and also correct on other
distributions. Uses only the standard library, as it runs before anything is
installed.

``python tools/system_libraries.py``          installs what is missing
``python tools/system_libraries.py --check``  only lists it; exit code 1 if
                                              something is missing
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Debian package -> shared library it provides
LIBRARIES = {
    'libgl1': 'libGL.so.1',
    'libegl1': 'libEGL.so.1',
    'libglib2.0-0': 'libglib-2.0.so.0',
    'libdbus-1-3': 'libdbus-1.so.3',
    'libfontconfig1': 'libfontconfig.so.1',
    'libxkbcommon-x11-0': 'libxkbcommon-x11.so.0',
    'libxcb-cursor0': 'libxcb-cursor.so.0',
    'libxcb-icccm4': 'libxcb-icccm.so.4',
    'libxcb-image0': 'libxcb-image.so.0',
    'libxcb-keysyms1': 'libxcb-keysyms.so.1',
    'libxcb-randr0': 'libxcb-randr.so.0',
    'libxcb-render-util0': 'libxcb-render-util.so.0',
    'libxcb-shape0': 'libxcb-shape.so.0',
    'libxcb-xkb1': 'libxcb-xkb.so.1',
}
# Debian package -> program it provides
PROGRAMS = {'xvfb': 'Xvfb', 'xauth': 'xauth'}
# Debian package -> alternative files
FILES = {
    'libgl1-mesa-dri': (
        '/usr/lib/*/dri/swrast_dri.so',
        '/usr/lib*/dri/swrast_dri.so',
        '/usr/lib/*/libgallium-*.so',
        '/usr/lib*/libgallium-*.so',
    ),
    'fonts-dejavu-core': (
        '/usr/share/fonts/**/*.ttf',
        '/usr/share/fonts/**/*.otf',
        '/usr/local/share/fonts/**/*.ttf',
    ),
}


def main(arguments: list[str]) -> int:
    """Check for missing packages and, without ``--check``, install them."""
    if not sys.platform.startswith('linux'):
        return 0
    import fcntl

    with open(__file__, encoding='utf-8') as lock:
        # wait for another run of this script
        fcntl.flock(lock, fcntl.LOCK_EX)
        return provide(check_only='--check' in arguments)


def provide(check_only: bool) -> int:
    """Install missing packages and return the exit code."""
    missing = missing_packages()
    if not missing:
        return 0
    say(f'missing: {" ".join(missing)}')
    if check_only:
        return 1
    prefix = privilege()
    if shutil.which('apt-get') is None:
        say(
            'this is not Debian or Ubuntu: install the equivalent packages of '
            'your distribution. Continuing without them.'
        )
        return 0
    if prefix is None:
        say(
            'neither root nor passwordless sudo, so please run: sudo apt-get '
            f'install --no-install-recommends {" ".join(missing)}\n'
            'Continuing without them.'
        )
        return 0
    return install(missing, prefix)


def missing_packages() -> list[str]:
    """Return the Debian packages whose content is not on this system."""
    missing = [p for p, name in LIBRARIES.items() if not can_load(name)]
    missing += [p for p, name in PROGRAMS.items() if not shutil.which(name)]
    missing += [p for p, globs in FILES.items() if not any_file(globs)]
    return missing


def can_load(library: str) -> bool:
    """Return whether the dynamic linker finds ``library``."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def any_file(patterns: tuple[str, ...]) -> bool:
    """Return whether a file matches one of the absolute glob patterns."""
    root = Path('/')
    return any(
        True for pattern in patterns for _ in root.glob(pattern.lstrip('/'))
    )


def privilege() -> list[str] | None:
    """Return the command prefix for root rights, or None without any."""
    if os.geteuid() == 0:
        return []
    if shutil.which('sudo') is None:
        return None
    asked = subprocess.run(
        ['sudo', '-n', 'true'], capture_output=True, check=False
    )
    return ['sudo', '-n'] if asked.returncode == 0 else None


def install(packages: list[str], prefix: list[str]) -> int:
    """Install ``packages`` with apt-get and return its exit code."""
    environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    keep = ['env', 'DEBIAN_FRONTEND=noninteractive'] if prefix else []
    for arguments in (
        ['update', '-q'],
        ['install', '-q', '-y', '--no-install-recommends', *packages],
    ):
        command = [*prefix, *keep, 'apt-get', *arguments]
        say(' '.join(command))
        code = subprocess.run(command, env=environment, check=False).returncode
        if code:
            say(f'apt-get failed with exit code {code}; see its output above')
            return code
    return 0


def say(message: str) -> None:
    """Print unbuffered, to keep the order with the output of apt-get."""
    print(f'system libraries: {message}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
