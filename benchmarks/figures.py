"""Run all benchmarks for the figures of docs/performance.md.

The output of each benchmark is written to ``NAME.md`` in the folder, below a
line with date, commit and machine, and all outputs to ``figures.md``.
Benchmarks with an output for this commit are not repeated, so that an
interrupted run can be resumed. A benchmark that fails does not stop the
others. Takes hours: run it on an idle machine, or name a few benchmarks.

``python benchmarks/figures.py --out figures`` or ``tox -e figures``
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SCREEN = ('xvfb-run', '-a', '-s', '-screen 0 1600x1000x24')


class Figure(NamedTuple):
    """A benchmark and the part of docs/performance.md that shows it.

    Attributes
    ----------
    name : str
        Name of the output file.
    section : str
        Heading in docs/performance.md.
    command : tuple of str
        Script and arguments.
    needs : str
        ``'data'`` for images with ground truth, ``'window'`` for a display,
        ``'gpu'`` for a CUDA device; empty for nothing.
    """

    name: str
    section: str
    command: tuple[str, ...]
    needs: str = ''


FIGURES = (
    Figure('accuracy', 'Accuracy', ('accuracy.py', '--split', 'test'), 'data'),
    Figure('baselines', 'Accuracy', ('baselines.py',), 'data'),
    Figure('interaction', 'Accuracy', ('interaction.py',), 'data'),
    Figure(
        'refinement',
        'Refine all',
        ('refinement.py', '--split', 'val', '--objects', '6'),
        'data',
    ),
    Figure('tracking', 'Tracking', ('tracking.py',)),
    Figure('similar', 'By example', ('similar.py', '--split', 'val'), 'data'),
    Figure(
        'scales',
        'The scale of a click',
        ('scales.py', '--split', 'val', '--images', '3', '--objects', '6'),
        'data',
    ),
    Figure(
        'everything',
        'Prompts of segment everything',
        ('everything.py', '--split', 'val'),
        'data',
    ),
    Figure('speed', 'Speed', ('speed.py',)),
    Figure('first masks', 'Speed', ('first_masks.py',)),
    Figure('gpu', 'Speed', ('gpu.py',), 'gpu'),
    Figure('latency', 'Speed', ('latency.py', '--hold', '80'), 'window'),
    Figure('gaps', 'Speed', ('latency.py', '--gaps', '4'), 'window'),
    Figure('reference', 'Speed', ('reference.py', '--cpu-time')),
    Figure('training', 'Speed', ('training.py',)),
    Figure(
        'memory',
        'Large images',
        ('large.py', 'memory', '--sides', '5000', '20000'),
    ),
    Figure('cost', 'Large images', ('large.py', 'cost')),
    Figure('workers', 'Large images', ('large.py', 'workers')),
    Figure(
        'seams',
        'Large images',
        ('large.py', 'seams', '--images', '4', '--shifts', '3'),
        'data',
    ),
    Figure(
        'workflow',
        'Series, table, refine, export',
        ('workflow.py',),
        'window',
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested benchmarks and return 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [figure.name for figure in FIGURES]
    parser.add_argument('names', nargs='*', metavar='NAME', help='only these')
    parser.add_argument('--out', type=Path, default=Path('figures'))
    parser.add_argument('--list', action='store_true', help='list the names')
    parser.add_argument(
        '--again', action='store_true', help='replace existing outputs'
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f'no {", ".join(unknown)}; there is {", ".join(names)}')
    chosen = [f for f in FIGURES if f.name in (options.names or names)]
    if options.list:
        for figure in chosen:
            print(f'{figure.name:12} {figure.section}: {text_of(figure)}')
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    made_on, failed = where_and_when(), []
    for figure in chosen:
        print(f'{figure.name}: {make(figure, options, made_on)}', flush=True)
        if not (options.out / f'{figure.name}.md').exists():
            failed.append(figure.name)
        write_all(options.out)
    print(f'{options.out / "figures.md"}')
    if failed:
        print(f'not made: {", ".join(failed)}')
    return 1 if failed else 0


def make(figure: Figure, options: argparse.Namespace, made_on: str) -> str:
    """Run a benchmark, write its page, and return what was done."""
    page = options.out / f'{figure.name}.md'
    if page.exists() and not options.again:
        known = page.read_text('utf-8')
        if f'commit {commit()}' in known and not commit().endswith('+'):
            return 'there already'
    missing = what_is_missing(figure)
    if missing:
        return f'left out, {missing}'
    command = [sys.executable, str(HERE / figure.command[0])]
    command += figure.command[1:]
    if figure.needs == 'window' and not os.environ.get('DISPLAY'):
        command = [*SCREEN, *command]
    start = time.monotonic()
    result = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.monotonic() - start
    if result.returncode:
        # keep the output for debugging, but not as a figure
        (options.out / f'{figure.name}.failed.txt').write_text(
            result.stdout, 'utf-8'
        )
        page.unlink(missing_ok=True)
        return f'failed with {result.returncode}'
    page.write_text(
        f'## {figure.section}\n\n`{text_of(figure)}`, {made_on}, '
        f'{seconds:.0f} s:\n\n{result.stdout.strip()}\n',
        'utf-8',
    )
    return f'{seconds:.0f} s'


def what_is_missing(figure: Figure) -> str:
    """Return why a benchmark cannot run here, or '' if it can."""
    if figure.needs == 'gpu':
        import torch

        return '' if torch.cuda.is_available() else 'there is no CUDA device'
    if figure.needs == 'window' and not os.environ.get('DISPLAY'):
        found = shutil.which(SCREEN[0])
        return '' if found else 'there is no display and no xvfb-run'
    return ''


def text_of(figure: Figure) -> str:
    """Return the command as in the documentation."""
    return ' '.join(('python', f'benchmarks/{figure.command[0]}')) + ''.join(
        f' {argument}' for argument in figure.command[1:]
    )


def where_and_when() -> str:
    """Return date, commit, machine and versions on one line."""
    parts = [
        datetime.now(UTC).date().isoformat(),
        f'commit {commit()}',
        f'{processor()}, {os.cpu_count()} cores',
        f'Python {platform.python_version()}',
        *(f'{name} {version(name)}' for name in ('torch', 'napari')),
    ]
    return ', '.join(parts)


def commit() -> str:
    """Return the commit of the checkout, with + if there are changes."""
    found = subprocess.run(
        ('git', 'describe', '--always', '--dirty=+', '--exclude', '*'),
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or 'unknown'


def processor() -> str:
    """Return the name of the processor."""
    info = Path('/proc/cpuinfo')
    if info.exists():
        for line in info.read_text('utf-8').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def write_all(folder: Path) -> None:
    """Write all existing pages into one, in the order of the docs."""
    pages = [folder / f'{figure.name}.md' for figure in FIGURES]
    text = '\n'.join(p.read_text('utf-8') for p in pages if p.exists())
    (folder / 'figures.md').write_text(text, 'utf-8')


if __name__ == '__main__':
    sys.exit(main())
