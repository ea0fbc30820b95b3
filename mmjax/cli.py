"""The `mmjax` command: one thin function per verb.

Imports stand inside the verbs, so that --help does not wait for JAX.
"""

import io
import signal
import sys
import warnings
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mmjax.errors import Interrupted, MmjaxError, UsageError, printable
from mmjax.runs.interrupt import raised_signals
from mmjax.runs.search.space import Space
from mmjax.runs.settings import Launch, Settings

Shared = Annotated[Settings, tyro.conf.arg(name="")]
Searched = Annotated[Space, tyro.conf.arg(name="")]
Workers = Annotated[Launch, tyro.conf.arg(name="")]
Data = Annotated[str | None, tyro.conf.arg(help="Folder with the task's files, if it has moved.")]
Tracker = Annotated[
    Literal["tensorboard", "wandb"] | None,
    tyro.conf.arg(help="Where learning curves and scores go, too, when all is done."),
]
Split = Literal["train", "valid", "test"]


def compare(
    settings: Shared,
    launch: Workers,
    fusions: str = "core",
    subsets: bool = False,
    examine: tuple[str, ...] = ("all",),
    out: Path | None = None,
    resume: bool = False,
    track: Tracker = None,
) -> None:
    """Compares fusion strategies with every unimodal baseline on one task.

    Args:
        fusions: Names with commas between them; `core`, ten of most kinds, or `all`.
        subsets: Train every fusion on every subset of two modalities or more, too.
        examine: What to measure beyond scores: `all`, `scores` for nothing, or some of missing,
            corruptions, embeddings, weights and cost.
        out: New folder for rows, summary and figures; by default runs/TASK-TIME.
        resume: Go on with the comparison that was stopped in the folder, if there is one.
    """
    _keep_programs()
    from mmjax.runs.compare import compare_in
    from mmjax.runs.track import tracked

    folder = _out(out, settings, resume)
    with tracked(folder, track):
        compare_in(
            folder,
            settings,
            fusions,
            _console(),
            subsets=subsets,
            examine=examine,
            resume=resume,
            launch=launch,
        )


def arm(out: tyro.conf.Positional[Path], strategy: tyro.conf.Positional[str]) -> None:
    """Runs one arm of a comparison, which is what its launcher has workers do.

    It goes on where it was stopped, and does nothing if it is done.

    Args:
        out: Folder of the comparison.
        strategy: Name of the arm.
    """
    _keep_programs()
    from mmjax.runs.arms import run_arm

    run_arm(out, strategy, _console())


def tune(
    settings: Shared,
    space: Searched,
    trials: int = 32,
    lanes: int = 4,
    storage: str | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Searches for the strategy and the hyperparameters that do best on validation.

    Args:
        trials: How many trainings there are to be, those of other workers included.
        lanes: How many of them train as one program.
        storage: URL of the database that workers share; by default a file in the folder.
        out: New folder for the study, its trials and a report; by default runs/TASK-TIME.
        resume: Go on with the study in the folder, if there is one, beside whoever works on it.
    """
    _keep_programs()
    from mmjax.runs.search.worker import tune_in

    size = {"trials": trials, "lanes": lanes}
    folder = _out(out, settings, resume)
    tune_in(folder, settings, space, _console(), **size, storage=storage, resume=resume)


def train(
    strategy: tyro.conf.Positional[str],
    settings: Shared,
    out: Path | None = None,
    resume: bool = False,
    distributed: str | None = None,
    track: Tracker = None,
) -> None:
    """Trains one strategy and keeps its parameters, for `evaluate` and `predict`.

    Args:
        strategy: Name of a fusion, or MODALITY_only for a unimodal baseline.
        out: New folder for the run; by default runs/TASK-TIME.
        resume: Go on with the training that was stopped in the folder, if there is one.
        distributed: Train with other processes, which run the same command: `auto` on SLURM, TPU
            pods, Kubernetes and Open MPI, else HOST:PORT,COUNT,INDEX of this one.
    """
    _keep_programs()
    from mmjax.runs.track import tracked
    from mmjax.runs.train import train_in
    from mmjax.training.mesh import join_processes

    if distributed:
        join_processes(distributed)

    folder = _out(out, settings, resume)
    with tracked(folder, track):
        train_in(folder, settings, strategy, _console(), resume=resume)


def evaluate(
    run: tyro.conf.Positional[Path], data: Data = None, hide: tuple[str, ...] = ()
) -> None:
    """Scores what `train` left in a folder; prints one JSON object per seed and split.

    Args:
        run: Folder of `mmjax train`.
        hide: Modalities to make absent before scoring.
    """
    import json

    _keep_programs()
    from mmjax.runs.trained import evaluate_run

    for row in evaluate_run(run, data, hide):
        print(json.dumps(row))


def predict(
    run: tyro.conf.Positional[Path],
    out: Path,
    data: Data = None,
    split: Split = "test",
    layout: Literal["probabilities", "competition"] = "probabilities",
) -> None:
    """Writes a CSV of predictions, the mean over the seeds of a run.

    Args:
        run: Folder of `mmjax train`.
        out: New CSV file.
        split: Rows to predict.
        layout: Columns: row_id, label and a probability per class, or as competitions ask for them,
            row_id and label.
    """
    _keep_programs()
    from mmjax.runs.trained import predict_run

    lines = predict_run(run, data, split, layout, out)
    _say(f"{lines} predictions: {out}")


def embed(
    run: tyro.conf.Positional[Path],
    out: Path,
    data: Data = None,
    split: Split = "test",
) -> None:
    """Writes the embeddings of a split's rows, by the seed that did best on validation.

    Args:
        run: Folder of `mmjax train`.
        out: New .npz file: an array [rows, features] for each modality, and "fused".
        split: Rows to embed.
    """
    _keep_programs()
    from mmjax.runs.trained import embed_run

    shapes = embed_run(run, data, split, out)
    _say(f"{', '.join(f'{name} {shape}' for name, shape in shapes.items())}: {out}")


def export(run: tyro.conf.Positional[Path], out: Path, data: Data = None) -> None:
    """Writes a trained run's weights, its program and a model card, for use elsewhere.

    Args:
        run: Folder of `mmjax train`.
        out: New folder for model.safetensors, model.stablehlo and README.md.
    """
    from mmjax.runs.export import export_run

    for path in export_run(run, out, data):
        _say(path)


def zoo(
    task: str = "digits", data: Data = None, options: tuple[str, ...] = (), json: bool = False
) -> None:
    """Lists every fusion, encoder, objective, method and task with its reference.

    A fusion's parameters and floating-point operations (one sample, forward) are those of its
    whole model, encoders included, for the task.

    Args:
        task: Task whose sizes are meant.
        options: Options of the task as NAME=VALUE.
        json: Print one JSON object in place of tables.
    """
    from mmjax.runs.inspect import show_zoo

    show_zoo(Settings(task=task, data=data, options=options), _console(), as_json=json)


def data(settings: Shared, out: Path | None = None) -> None:
    """Inspects a task: sizes, splits, groups, labels, duplicates, and a picture of samples.

    Args:
        out: PNG file for the picture; none is drawn by default.
    """
    from mmjax.runs.inspect import inspect_task

    inspect_task(settings, out, _console())


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("report.html"),
    paper: bool = False,
) -> None:
    """Writes the report page of one run folder, or of several as one.

    Args:
        runs: Folders of `mmjax compare`.
        out: HTML file; one that is there is replaced.
        paper: Write a LaTeX table and PDF figures too, to a folder of the same name.
    """
    if not runs:
        raise UsageError("runs", expected="a folder of `mmjax compare`, or several", got="none")
    from mmjax.report.latex import write_paper
    from mmjax.report.page import write_page
    from mmjax.runs.studies import read_assessments

    assessments = read_assessments(runs)
    write_page(assessments, out)
    _say(f"Report: {out}")
    if paper:
        write_paper(assessments, out.with_suffix(""))
        _say(f"Table and figures for a paper: {out.with_suffix('')}")


def verify(run: tyro.conf.Positional[Path]) -> None:
    """Checks every file of a run; prints a line for each, and exits with 1 if one is damaged.

    Args:
        run: Folder of `mmjax train`, `compare`, `tune`, `bench` or `export`.
    """
    from mmjax.runs.verify import verify_run

    findings = verify_run(run)
    for finding in findings:
        _say(finding)
    if any(finding.state == "damaged" for finding in findings):
        sys.exit(1)


def bench(
    settings: Shared,
    strategies: tuple[str, ...] = ("concat", "transformer"),
    batch_sizes: tuple[int, ...] = (),
    dtypes: tuple[str, ...] = (),
    lanes: tuple[int, ...] = (),
    meshes: tuple[str, ...] = (),
    out: Path = Path("runs/bench"),
) -> None:
    """Measures training: compilation, speed, memory, and how much of the machine is used.

    Every combination is a case; what is not given is as the shared settings have it. Nothing comes
    from the cache of compiled programs, so that compilation can be timed.

    Args:
        strategies: Names of fusions, or MODALITY_only for unimodal baselines.
        batch_sizes: Rows per step.
        dtypes: Types of number to compute in, float32 or bfloat16.
        lanes: Numbers of seeds that train in one program.
        meshes: Devices by axis, such as seed=1 seed=2 data=2; those that do not divide the rows or
            the seeds of a case are left out.
        out: Folder for rows, table and figure; cases that it has already are not run again.
    """
    from mmjax.runs.measure import bench_in, make_cases

    cases = make_cases(
        settings, strategies, batch_sizes=batch_sizes, dtypes=dtypes, lanes=lanes, meshes=meshes
    )
    bench_in(out, cases, _console())


_VERBS = {
    f.__name__: f
    for f in (
        *(compare, arm, tune, train, evaluate, predict, embed, export),
        *(report, verify, bench, zoo, data),
    )
}


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    An error of mmjax, or of a file, ends it with one line and exit code 2, or 1 if a part of the
    work has failed; a signal that it has heeded, with 128 and the number of the signal.
    """
    _prepare_output()
    args = sys.argv[1:] if args is None else args
    if [*args] == ["--version"]:
        print(f"mmjax {version('mmjax')}")
        return
    try:
        _check_lists(args)
        with raised_signals():
            tyro.extras.subcommand_cli_from_dict(
                _VERBS,
                prog="mmjax",
                description="Multimodal fusion: compare strategies, train one, use it. --version "
                "says which mmjax this is.",
                args=args,
            )
    except Interrupted as stop:
        _warn("stopped; the same command with --resume and --out goes on")
        sys.exit(128 + stop.signal)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (MmjaxError, OSError) as error:
        _warn(error)
        sys.exit(getattr(error, "exit_code", 2))


_LISTS = ("--options", "--encoders", "--encoder-choices", "--missing", "--request", "--hide")


def _check_lists(args: Sequence[str]) -> None:
    """Raises UsageError for a list that is given twice: the first would be lost without a word."""
    for flag in _LISTS:
        if args.count(flag) > 1:
            raise UsageError(flag, expected="all of its values behind one", got="it twice")


def _keep_programs() -> None:
    """For verbs that compile; without the cache they take longer and do the same."""
    from mmjax.storage.compile_cache import enable_compilation_cache

    try:
        enable_compilation_cache()
    except (OSError, RuntimeError) as error:
        _warn(f"compiled programs are not kept: {error}")


def _console():
    from mmjax.report.console import PlainConsole

    return PlainConsole()


def _say(line: object) -> None:
    print(printable(str(line)))


def _warn(message: object) -> None:
    print("mmjax:", printable(str(message), keep="\n"), file=sys.stderr)


def _prepare_output() -> None:
    """What is printed never fails for a character that the terminal's encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # as Python has standard error do unasked
    warnings.showwarning = lambda message, *_: _warn(message)


def _out(out: Path | None, settings: Settings, resume: bool) -> Path:
    if out is None and resume:
        raise UsageError("resume", expected="--out with the folder of a run", got="none")
    try:
        str(out).encode()
    except UnicodeEncodeError as error:  # checkpoints cannot be written there
        raise UsageError("out", expected="a name in UTF-8", got=str(out)) from error
    return out or Path("runs", f"{settings.task}-{datetime.now():%Y%m%d-%H%M%S}")
