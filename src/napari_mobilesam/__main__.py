"""``python -m napari_mobilesam``, the same as ``napari-mobilesam``."""

from __future__ import annotations

import sys

from napari_mobilesam.cli import main

if __name__ == '__main__':
    sys.exit(main())
