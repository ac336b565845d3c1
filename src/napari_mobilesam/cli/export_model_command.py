"""``napari-mobilesam export-model``: convert a model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.exit_codes import (
    ExitCode,
    OutputError,
    UsageError,
    writing,
)
from napari_mobilesam.cli.model_commands import download
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.types import Progress

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

EXAMPLES = """\
examples:
  encoder.onnx and decoder.onnx in a new folder
    napari-mobilesam export-model mobile_sam_cells -o onnx/
  a bioimage.io package of your own model
    napari-mobilesam export-model my_cells -o my_cells.zip --author "A. Name"
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``export-model``."""
    parser = commands.add_parser(
        'export-model',
        help='write a model as ONNX or as a bioimage.io package',
        description='Write a model for other programs: a folder with '
        'encoder.onnx and decoder.onnx, or a bioimage.io package (.zip). '
        'Both are verified against the model before they are written.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        'model',
        metavar='NAME|FILE',
        help='a name that `models` lists, or a checkpoint file',
    )
    add_output(
        parser,
        'FOLDER|FILE.zip',
        'folder or package to create; existing ones are never replaced',
    )
    parser.add_argument(
        '--author',
        action='append',
        default=[],
        metavar='NAME',
        help='author of the model, for the package; may be repeated',
    )
    add_quiet(parser)
    parser.set_defaults(run=export_model_command)


def export_model_command(options: argparse.Namespace) -> int:
    """Load the model and write it."""
    path: Path = options.output
    packed = path.suffix.lower() == '.zip'
    if path.suffix and not packed:
        raise UsageError(
            f'{path.name}: give a folder without suffix for ONNX, or a .zip '
            'for a bioimage.io package'
        )
    if options.author and not packed:
        raise UsageError('--author is only for a package, -o NAME.zip')
    if path.exists():
        raise OutputError(f'{path} exists: remove it, or choose another name')
    if not path.absolute().parent.is_dir():
        raise OutputError(f'there is no folder {path.absolute().parent}')
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.model.registry import registry

    with ProgressLine(quiet=options.quiet) as progress:
        if options.model in registry():
            download(options.model, progress)
        progress(0, 1, f'Loading {options.model}')
        model = load_model(options.model, 'cpu')
        with writing(path):
            difference = _write(model, path, packed, options.author, progress)
    print(f'{path}: differs from the model by {difference:.1e} of its values')
    return ExitCode.OK


def _write(
    model: Sam,
    path: Path,
    packed: bool,
    authors: list[str],
    progress: Progress,
) -> float:
    """Write the model; return the largest difference from the original."""
    if packed:
        from napari_mobilesam.model.bioimageio_package import export_bioimageio

        return export_bioimageio(
            model, path, authors=authors, progress=progress
        )
    from napari_mobilesam.model.onnx_export import export_onnx

    return max(export_onnx(model, path, progress).values())
