"""``napari-mobilesam train | distill | finetune | evaluate``.

`add_parsers` only describes the options, without loading torch.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.exit_codes import OutputError, UsageError
from napari_mobilesam.cli.image_files import output_file, refuse_existing
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.value_types import (
    number_above,
    share,
    whole_number,
)
from napari_mobilesam.run_lock import run_lock
from napari_mobilesam.training.training_parameters import (
    DistillConfig,
    EvaluationOptions,
    FineTuneConfig,
    TrainConfig,
)

if TYPE_CHECKING:
    from napari_mobilesam.training.dataset import LabelledImage
    from napari_mobilesam.types import Progress


# File of a run's folder with the name of the checkpoint that it writes.
OUTPUT = 'output.txt'
# Suffix of checkpoints that are written.
CHECKPOINT = '.safetensors'
DATA_HELP = (
    'folder of images and labels: <id>_image.* beside <id>_labels.*, or '
    'images/ and labels/, or a folder of such folders (TIFF, PNG, zarr)'
)


def add_parsers(
    commands: argparse._SubParsersAction[Any],
    make_progress: Callable[[bool], Any],
) -> None:
    """Add the four commands.

    Parameters
    ----------
    commands : subparsers action
        Where they are added; each sets ``run`` to its function of the parsed
        options, which returns an exit code.
    make_progress : callable
        ``make_progress(quiet)`` gives a context manager whose value is called
        with ``(done, total, message)``.
    """
    for add in (_add_train, _add_distill, _add_finetune, _add_evaluate):
        parser = add(commands)
        parser.set_defaults(make_progress=make_progress)
        parser.add_argument(
            '--device',
            default='auto',
            help='auto, cpu, cuda or mps (default: %(default)s)',
        )
        parser.add_argument(
            '--quiet', action='store_true', help='no progress on stderr'
        )


def _parser(
    commands: argparse._SubParsersAction[Any],
    name: str,
    text: str,
    example: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + '.',
        epilog=f'example:\n  napari-mobilesam {example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_budget(
    parser: argparse.ArgumentParser, defaults: TrainConfig
) -> None:
    parser.set_defaults(default_minutes=defaults.minutes)
    add_options(
        parser,
        defaults,
        ('minutes', 'steps', 'batch_size', 'learning_rate', 'seed'),
        {
            'minutes': number_above(0, 1e6),
            'learning_rate': number_above(0, 1),
            'steps': whole_number(0, 10**9),
            'batch_size': whole_number(1, 4096),
            'seed': whole_number(0, 2**63 - 1),
        },
    )


def input_size(text: str) -> int:
    """Parse the side of the input of a model."""
    size = whole_number(32, 4096)(text)
    if size % 16:
        raise argparse.ArgumentTypeError(f'{size} is not a multiple of 16')
    return size


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing output'
    )


def _add_train(commands: Any) -> argparse.ArgumentParser:
    parser = _parser(
        commands,
        'train',
        'train a model on a folder of labelled images',
        'train data/ -o cells.safetensors --base mobile_sam_cells '
        '--minutes 90 --workers 2',
        train_command,
    )
    parser.add_argument('data', type=Path, help=DATA_HELP)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, help='checkpoint to write'
    )
    parser.add_argument(
        '--run-folder',
        type=Path,
        help='checkpoints and log; an interrupted run in it is resumed '
        '(default: OUTPUT with the ending .run)',
    )
    parser.add_argument(
        '--base', help='model to start from (default: random weights)'
    )
    parser.add_argument(
        '--decoder',
        help='model whose prompt encoder and mask decoder to start with, '
        'such as mobile_sam (default: those of --base)',
    )
    _add_inputs(parser)
    _add_scoring(parser)
    parser.add_argument(
        '--workers',
        type=whole_number(1, 1024),
        default=1,
        help='processes (default: 1)',
    )
    parser.add_argument(
        '--loaders',
        type=whole_number(0, 1024),
        default=0,
        help='processes that make samples beside the training, for a GPU: '
        'as many as there are cores (default: 0); not with --workers',
    )
    _add_head_options(parser)
    _add_overwrite(parser)
    _add_budget(parser, TrainConfig(minutes=60))
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options of what the model is given."""
    parser.add_argument(
        '--input-size',
        type=input_size,
        default=256,
        help='side of the input of the model in pixels (default: %(default)s)',
    )
    parser.add_argument(
        '--first-size',
        type=input_size,
        default=0,
        help='side of the input to begin with, smaller than --input-size '
        '(default: that of --input-size)',
    )
    parser.add_argument(
        '--first-share',
        type=share,
        default=0.4,
        help='share of the budget for --first-size (default: %(default)g)',
    )
    parser.add_argument(
        '--compile', action='store_true', help='compile the image encoder'
    )
    parser.add_argument(
        '--procedural',
        type=share,
        default=0.15,
        help='share of procedural images (default: %(default)g)',
    )
    parser.add_argument(
        '--warped',
        type=share,
        default=0.5,
        help='share of crops that are rotated, stretched and warped '
        '(default: %(default)g)',
    )
    parser.add_argument(
        '--incomplete',
        action='append',
        default=[],
        metavar='DATASET',
        help='data set in which not every object is labelled: its '
        'background teaches nothing; may be repeated',
    )


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add the options of how the model is scored."""
    parser.add_argument(
        '--validation-crops',
        type=whole_number(1, 100_000),
        default=60,
        help='crops on which the model is scored (default: %(default)s)',
    )
    parser.add_argument(
        '--threshold-images',
        type=whole_number(0, 100_000),
        default=12,
        help='images on which the thresholds of segment everything are '
        'chosen; 0 keeps those of --base (default: %(default)s)',
    )


def _add_head_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of training an instance head alone."""
    group = parser.add_argument_group('instance head')
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        '--no-instance-head',
        action='store_true',
        help='train prompts alone',
    )
    choice.add_argument(
        '--head-only',
        action='store_true',
        help='train only an instance head, which says where objects are, '
        'and leave the rest of --base as it is (minutes)',
    )
    group.add_argument(
        '--crops',
        type=whole_number(1, 10**7),
        default=2000,
        help='crops embedded once for the head (default: %(default)s)',
    )


def _add_distill(commands: Any) -> argparse.ArgumentParser:
    parser = _parser(
        commands,
        'distill',
        "distil a teacher's image encoder into a TinyViT",
        'distill data/ --teacher vit_b -o student.safetensors '
        '--crops 2000 --minutes 60',
        distill_command,
    )
    parser.add_argument('data', type=Path, help=DATA_HELP)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, help='checkpoint to write'
    )
    parser.add_argument(
        '--teacher', required=True, help='name or file of a SAM'
    )
    add_options(
        parser,
        DistillConfig,
        ('mode', 'crops'),
        {'crops': whole_number(1, 10**7)},
    )
    parser.add_argument(
        '--max-gigabytes',
        type=number_above(0, 1e6),
        help='most gigabytes of embeddings on disk (default: no limit)',
    )
    parser.add_argument(
        '--run-folder', type=Path, help='as in train; also the embeddings'
    )
    _add_overwrite(parser)
    _add_budget(parser, replace(DistillConfig().config, minutes=60))
    return parser


def _add_finetune(commands: Any) -> argparse.ArgumentParser:
    parser = _parser(
        commands,
        'finetune',
        'fine-tune a model on your labels',
        'finetune labelled/ --base mobile_sam_cells --name my_cells',
        finetune_command,
    )
    parser.add_argument('data', type=Path, help=DATA_HELP)
    parser.add_argument(
        '--base', help='model to start from (default: the default model)'
    )
    parser.add_argument(
        '--name', help='of the new model (default: a free one is made)'
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help='train the image encoder too, not only the decoder',
    )
    add_options(parser, FineTuneConfig, ('complete',))
    _add_budget(parser, FineTuneConfig().config)
    return parser


def _add_evaluate(commands: Any) -> argparse.ArgumentParser:
    parser = _parser(
        commands,
        'evaluate',
        'measure a model on labelled images',
        'evaluate data/ --split test --json scores.json',
        evaluate_command,
    )
    parser.add_argument('data', type=Path, help=DATA_HELP)
    parser.add_argument(
        '--model', help='name or file (default: the default model)'
    )
    parser.add_argument('--split', help='of MANIFEST.csv, such as test')
    parser.add_argument('--dataset', action='append', help='only this one')
    parser.add_argument(
        '--limit',
        type=whole_number(1),
        help='most images per data set and modality (default: all)',
    )
    add_options(
        parser,
        EvaluationOptions,
        ('objects', 'clicks', 'everything'),
        {
            'objects': whole_number(1, 10**6),
            'clicks': whole_number(0, 1000),
        },
    )
    parser.add_argument(
        '--teacher', help='also measure agreement with this model'
    )
    parser.add_argument(
        '--labels',
        type=Path,
        metavar='FOLDER',
        help='measure the label images of this folder, of any program, '
        'instead of a model',
    )
    parser.add_argument('--json', type=Path, help='also write all numbers')
    _add_overwrite(parser)
    return parser


def _train_config(
    options: argparse.Namespace, base: TrainConfig
) -> TrainConfig:
    """Apply the options of the budget and the optimiser to defaults."""
    given = given_options(options, TrainConfig)
    steps = given.get('steps', 0)
    minutes = given.get('minutes', options.default_minutes)
    given['minutes'] = 0 if steps else minutes
    return replace(base, **given)


def _run_folder(options: argparse.Namespace) -> Path:
    folder: Path = options.run_folder or options.output.with_suffix('.run')
    return folder


def _check_checkpoint(options: argparse.Namespace) -> None:
    """Refuse a checkpoint that could not be written, before the long part.

    An existing one is replaced if this call resumes the run that wrote it.

    Raises
    ------
    OutputError
        If it exists, or its folder or that of the run cannot be made.
    """
    folder, output = _run_folder(options), options.output
    if output.suffix != CHECKPOINT:
        raise UsageError(f'the checkpoint {output} must end in {CHECKPOINT}')
    refuse_existing(output, options.overwrite or _goes_on(folder, output))
    for path in (folder, output.parent):
        try:
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f'cannot write to {path}: {reason}') from error


def _goes_on(folder: Path, output: Path) -> bool:
    """Return whether a folder is that of a run that writes a checkpoint."""
    try:
        return (folder / OUTPUT).read_text('utf-8') == output.name
    except (OSError, ValueError):
        return False


@contextmanager
def _run(options: argparse.Namespace) -> Iterator[Progress]:
    """Progress of a run that no other one writes to.

    After Ctrl-C it is said how to go on.
    """
    folder = _run_folder(options)
    with run_lock(folder), options.make_progress(options.quiet) as progress:
        try:
            (folder / OUTPUT).write_text(options.output.name, 'utf-8')
            yield progress
        except KeyboardInterrupt:
            if any(folder.rglob('run.pt')):
                print(
                    f'\nwhat was trained is kept in {folder}: the same '
                    'command goes on',
                    file=sys.stderr,
                )
            raise


def train_command(options: argparse.Namespace) -> int:
    """Train and write a checkpoint."""
    if options.loaders and options.workers > 1:
        raise UsageError(
            f'--loaders {options.loaders} and --workers {options.workers}: '
            'samples are made ahead for one training process only; leave '
            'out one of them'
        )
    _check_checkpoint(options)
    if options.head_only:
        return _train_head(options)
    from napari_mobilesam.training.parallel import run_job
    from napari_mobilesam.training.train_job import TrainJob

    job = TrainJob(
        options.data,
        _run_folder(options),
        options.output,
        options.base,
        options.input_size,
        options.procedural,
        config=_train_config(options, TrainConfig()),
        first_size=options.first_size,
        first_share=options.first_share,
        compiled=options.compile,
        validation_crops=options.validation_crops,
        threshold_images=options.threshold_images,
        device=options.device,
        decoder=options.decoder,
        instance_head=not options.no_instance_head,
        incomplete=tuple(options.incomplete),
        warped=options.warped,
        loaders=options.loaders,
    )
    with _run(options) as progress:
        run_job(job, options.workers, progress)
    print(options.output)
    return 0


def _train_head(options: argparse.Namespace) -> int:
    """Train an instance head alone and write a checkpoint."""
    from napari_mobilesam.training.head_job import HeadJob

    job = HeadJob(
        options.data,
        _run_folder(options),
        options.output,
        options.base,
        options.crops,
        tuple(options.incomplete),
        options.procedural,
        _train_config(options, TrainConfig()),
        options.validation_crops,
        options.device,
    )
    with _run(options) as progress:
        job.run(progress)
    print(options.output)
    return 0


def distill_command(options: argparse.Namespace) -> int:
    """Distil and write the student."""
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.distill import distill
    from napari_mobilesam.training.train_job import read_split, write_result

    _check_checkpoint(options)
    defaults = DistillConfig()
    limit = options.max_gigabytes
    config = replace(
        defaults,
        **given_options(options, DistillConfig),
        max_bytes=int(limit * 1e9) if limit else None,
        config=_train_config(options, defaults.config),
    )
    teacher = load_model(options.teacher, options.device)
    with _run(options) as progress:
        result = distill(
            teacher,
            read_split(options.data, 'train'),
            _run_folder(options),
            config,
            progress=progress,
        )
    write_result(result.student, options.output, result.student.record)
    print(
        f'{options.output}: embedding error {result.error:.4f}, agreement '
        f'with {teacher.record.name} {result.agreement:.3f}'
    )
    return 0


def finetune_command(options: argparse.Namespace) -> int:
    """Fine-tune and add the result to the user's models."""
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.dataset import read_folder
    from napari_mobilesam.training.finetune import finetune

    defaults = FineTuneConfig()
    config = replace(
        defaults,
        **given_options(options, FineTuneConfig),
        decoder_only=not options.all,
        config=_train_config(options, defaults.config),
    )
    with options.make_progress(options.quiet) as progress:
        result = finetune(
            load_model(options.base, options.device),
            read_folder(options.data),
            config,
            name=options.name,
            progress=progress,
        )
    change = 'better' if result.improved else 'no better than before'
    if not result.improved and result.score > result.base_score:
        change = f'within the noise of ±{result.noise:.3f}'
    print(
        f'{result.path}: validation IoU {result.base_score:.3f} -> '
        f'{result.score:.3f} on {result.validation_objects} objects held '
        f'back: {change}'
    )
    if math.isfinite(result.base_f1 + result.f1):
        print(
            f'segment everything on them: F1 {result.base_f1:.3f} -> '
            f'{result.f1:.3f}'
        )
    return 0


def evaluate_command(options: argparse.Namespace) -> int:
    """Measure and print a table."""
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.evaluate import evaluate
    from napari_mobilesam.training.evaluate_labels import evaluate_labels

    if options.labels is not None and (options.model or options.teacher):
        raise UsageError(
            '--labels measures label images, --model and --teacher a model: '
            'leave out one of them'
        )
    with contextlib.ExitStack() as stack:
        commit = options.json and stack.enter_context(
            _json_file(options.json, options.overwrite)
        )
        teacher = None
        if options.teacher is not None:
            teacher = load_model(options.teacher, options.device)
        images = _chosen_images(options)
        progress = stack.enter_context(options.make_progress(options.quiet))
        if options.labels is not None:
            result = evaluate_labels(options.labels, images, progress)
        else:
            result = evaluate(
                load_model(options.model, options.device),
                images,
                EvaluationOptions(**given_options(options, EvaluationOptions)),
                teacher=teacher,
                progress=progress,
            )
        if commit:
            commit(result.to_json)
    print(result.table().round(3).to_string(index=False))
    return 0


def _json_file(path: Path, overwrite: bool) -> Any:
    """Reserve the file of the results; no other file is replaced."""
    if path.suffix.lower() != '.json' and not path.is_dir():
        raise UsageError(f'--json {path} must end in .json')
    return output_file(path, overwrite)


def _chosen_images(options: argparse.Namespace) -> list[LabelledImage]:
    from napari_mobilesam.training.dataset import read_folder

    folder: Path = options.data
    manifest = folder / 'MANIFEST.csv'
    if options.split is not None and folder.is_dir() and not manifest.exists():
        raise UsageError(
            f'--split {options.split!r}: {folder} has no MANIFEST.csv with '
            'the split of each image; leave it out'
        )
    return read_folder(
        folder,
        split=options.split,
        datasets=options.dataset,
        limit=options.limit,
    )
