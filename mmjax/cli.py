"""The `mmjax` command: one thin function per subcommand.

Subcommands import what they need themselves, so that --help does not wait for JAX.
"""

import io
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mmjax.errors import Interrupted, MmjaxError, UsageError, look_up, printable
from mmjax.registry import parse_pairs
from mmjax.runs.arguments import PRINT_CONFIG, prepare, printing
from mmjax.runs.common_options import common_first
from mmjax.runs.interrupt import raised_signals
from mmjax.runs.names import (
    check_base,
    check_fusions,
    check_settings,
    check_space,
    check_strategies,
)
from mmjax.runs.search.space import Space
from mmjax.runs.settings import Launch, Settings, as_flags, parse_examine

Data = Annotated[
    str | None, tyro.conf.arg(help="Folder with the task's files, if they have moved.")
]
Tracker = Annotated[
    Literal["tensorboard", "wandb"] | None,
    tyro.conf.arg(help="Tracker to which learning curves and scores are also written at the end."),
]
Split = Literal["train", "valid", "test"]


def compare(
    settings: Settings,
    launch: Launch,
    fusions: str = "core",
    subsets: bool = False,
    examine: tuple[str, ...] = ("all",),
    out: Path | None = None,
    resume: bool = False,
    track: Tracker = None,
) -> None:
    """Compare fusion strategies with all unimodal baselines on one task.

    Args:
        fusions: Names, with spaces or commas between; `core` stands for ten that cover most kinds,
            `all` for all.
        subsets: Also train each fusion on every proper subset of at least two modalities.
        examine: What to measure beyond scores: `all`; `full`, with corruptions of every row, not
            of 512; `scores` for nothing; or any of missing, corruptions, embeddings, weights, cost.
        out: New folder for rows, figures and the report; by default runs/TASK-TIME.
        resume: Continue the comparison in the folder, if there is one.
    """
    check_settings(settings)
    check_fusions(fusions)
    parse_examine(examine)
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
    _next("LaTeX and PDF", "report", folder, "--out", folder / "report.html", "--paper")


def ablate(
    base: tyro.conf.Positional[str],
    settings: Settings,
    launch: Launch,
    vary: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    design: Literal["one-at-a-time", "grid", "leave-one-out", "fractional"] | None = None,
    runs: int | None = None,
    learning_rates: tuple[float, ...] = (),
    budget: str | None = None,
    examine: tuple[str, ...] = ("scores",),
    out: Path | None = None,
    resume: bool = False,
    track: Tracker = None,
) -> None:
    """Ablate a strategy: train variants of it, and test what each change does.

    Args:
        base: A fusion, or a folder of `mmjax train` or `compare`, whose settings are taken.
        vary: Factors as NAME=VALUE,VALUE, such as width=32,64 method=joint,ogm_ge train=0.1,1
            encoders.audio=gru,cnn1d modalities=subsets.
        drop: Components to remove: dropout, those that fusion and encoders declare, such as
            positions, or all of these, `components`; a modality, or `modalities` for each.
        design: One-at-a-time is the default; with a budget, the most informative that fits.
        runs: Number of variants of a fractional design.
        learning_rates: Learning rates at which every variant trains, the best by validation
            counting; by default the base's, and where variants differ in size a third and three
            times it.
        budget: Wall time to plan for, such as 10min or 2h.
        examine: What to measure beyond scores, as for `compare`.
        out: New folder for rows, figures and the report; by default runs/TASK-TIME.
        resume: Continue the ablation in the folder, if there is one.
    """
    check_settings(settings)
    parse_examine(examine)
    check_base(base)
    varied = {name: text.split(",") for name, text in parse_pairs("vary", vary).items()}
    dropped = [name for text in drop for name in text.split(",")]
    _keep_programs()
    from mmjax.runs.ablate import ablate_in
    from mmjax.runs.plan import Asked
    from mmjax.runs.track import tracked

    asked = Asked(varied, dropped, design, runs, learning_rates, budget)
    folder = _out(out, settings, resume)
    with tracked(folder, track):
        ablate_in(
            folder,
            settings,
            base,
            asked,
            _console(),
            examine=examine,
            resume=resume,
            launch=launch,
        )
    _next("LaTeX and PDF", "report", folder, "--out", folder / "report.html", "--paper")


def arm(out: tyro.conf.Positional[Path], strategy: tyro.conf.Positional[str]) -> None:
    """Run one arm of a comparison; launchers call this on their workers.

    It resumes an arm that was interrupted, and does nothing if the arm is complete.

    Args:
        out: Folder of the comparison.
        strategy: Name of the arm.
    """
    _keep_programs()
    from mmjax.runs.arms import run_arm

    run_arm(out, strategy, _console())


def tune(
    settings: Settings,
    space: Space,
    trials: int = 32,
    lanes: int = 4,
    storage: str | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Search for the strategy and hyperparameters that score best on validation.

    Args:
        trials: Total number of trials, those of other workers included.
        lanes: Number of trials that train together in one program.
        storage: URL of a database that workers share; by default a file in the folder.
        out: New folder for the study, its trials and a report; by default runs/TASK-TIME.
        resume: Join or continue the study in the folder, if there is one.
    """
    check_settings(settings)
    check_space(space)
    _keep_programs()
    from mmjax.runs.search.worker import tune_in

    size = {"trials": trials, "lanes": lanes}
    folder = _out(out, settings, resume)
    tune_in(folder, settings, space, _console(), **size, storage=storage, resume=resume)


def train(
    strategy: tyro.conf.Positional[str],
    settings: Settings,
    out: Path | None = None,
    resume: bool = False,
    distributed: str | None = None,
    track: Tracker = None,
) -> None:
    """Train one strategy and keep its parameters, for `evaluate`, `predict` and `export`.

    Args:
        strategy: Name of a fusion, or MODALITY_only for a unimodal baseline.
        out: New folder for the run; by default runs/TASK-TIME.
        resume: Continue the training in the folder, if there is one.
        distributed: Train across processes that run this same command: `auto` on SLURM, TPU pods,
            Kubernetes and Open MPI; otherwise HOST:PORT,COUNT,INDEX of this process.
    """
    check_settings(settings)
    check_strategies([strategy])
    _keep_programs()
    from mmjax.runs.track import tracked
    from mmjax.runs.train import train_in
    from mmjax.training.mesh import join_processes

    if distributed:
        join_processes(distributed)

    folder = _out(out, settings, resume)
    with tracked(folder, track):
        train_in(folder, settings, strategy, _console(), resume=resume)
    _next("its predictions", "predict", folder, "--out", "predictions.csv")


def evaluate(
    run: tyro.conf.Positional[Path], data: Data = None, hide: tuple[str, ...] = ()
) -> None:
    """Score a trained run; prints one JSON object per seed and split.

    Args:
        run: Folder of `mmjax train`.
        hide: Modalities to hide before scoring.
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
    """Write the predictions of a trained run, averaged over its seeds, to a CSV file.

    Args:
        run: Folder of `mmjax train`.
        out: New CSV file.
        split: Split to predict.
        layout: Columns: `probabilities` for row_id, label and one probability per class;
            `competition` for row_id and label.
    """
    _keep_programs()
    from mmjax.runs.trained import predict_run

    lines = predict_run(run, data, split, layout, out)
    _say(f"{lines} predictions: {out}")
    _next("the embeddings of these rows", "embed", run, "--out", "embeddings.npz")


def embed(
    run: tyro.conf.Positional[Path],
    out: Path,
    data: Data = None,
    split: Split = "test",
) -> None:
    """Write embeddings of a split, computed by the best seed on validation.

    Args:
        run: Folder of `mmjax train`.
        out: New .npz file: an array [rows, features] per modality, and one named "fused".
        split: Split to embed.
    """
    _keep_programs()
    from mmjax.runs.trained import embed_run

    shapes = embed_run(run, data, split, out)
    _say(f"{', '.join(f'{name} {shape}' for name, shape in shapes.items())}: {out}")


def export(run: tyro.conf.Positional[Path], out: Path, data: Data = None) -> None:
    """Export a trained run as safetensors weights, a StableHLO program and a model card.

    Args:
        run: Folder of `mmjax train`.
        out: New folder for model.safetensors, model.stablehlo and README.md.
    """
    from mmjax.runs.export import export_run

    for path in export_run(run, out, data):
        _say(path)
    _next("checksums", "verify", out)


def zoo(
    kinds: tyro.conf.Positional[tuple[str, ...]] = (),
    cost: bool = False,
    task: str = "digits",
    data: Data = None,
    options: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """List the zoo: fusions, encoders, objectives, methods, augmentations, tasks; with references.

    Args:
        kinds: Which of these; by default all.
        cost: Also count the parameters and floating-point operations (forward pass of one sample)
            of every fusion's model for a task, encoders included; takes a while.
        task: Task for whose input sizes models are counted.
        options: Options of the task as NAME=VALUE.
        json: Print one JSON object instead of tables.
    """
    settings = Settings(task=task, data=data, options=options)
    check_settings(settings)
    from mmjax.runs.zoo import list_zoo, show_zoo

    if cost and kinds and "fusions" not in kinds:
        raise UsageError("cost", "only fusions have one", fix="Add fusions to the kinds.")
    listed = list_zoo(kinds)
    if cost:
        from mmjax.runs.inspect import add_costs

        add_costs(listed["fusions"], settings)
    show_zoo(listed, _console(), as_json=json)
    if not json:
        _next("some of them on your task", "compare", "--fusions", "concat,gmu", "--task", task)


def data(settings: Settings, out: Path | None = None) -> None:
    """Inspect a task: sizes, splits, groups, labels, duplicates, and a figure of samples.

    Args:
        out: New PNG file for the figure; none is drawn by default.
    """
    check_settings(settings)
    from mmjax.runs.inspect import inspect_task

    inspect_task(settings, out, _console())
    _next("which fusion pays on it", "compare", *shlex.split(as_flags(settings)))


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("report.html"),
    paper: bool = False,
    venue: str | None = None,
    rows: Path | None = None,
) -> None:
    """Write the report of one comparison, or one report of several.

    Args:
        runs: Folders of `mmjax compare`.
        out: HTML file; an existing one is replaced.
        paper: Also write a LaTeX table and PDF figures to a folder of the same name.
        venue: Give these figures the sizes and font of neurips, icml, acl, ieee or cvpr.
        rows: Also write all scores to this file, .csv or .parquet, with a column for each factor;
            an existing file is replaced.
    """
    if not runs:
        raise UsageError("runs", "no folder given", fix="Name folders of `mmjax compare`.")
    from mmjax.report.frames import check_suffix, save_rows
    from mmjax.report.page import write_page
    from mmjax.report.paper import write_paper
    from mmjax.report.venues import VENUES
    from mmjax.runs.run_file import RUN
    from mmjax.runs.studies import read_assessments

    folder = out.with_suffix("")
    if paper and (folder / RUN).exists():
        problem = f"the table and figures would be put among the files of the run {folder}"
        raise UsageError("out", problem, fix="Give the page another name than the run.")
    if paper and folder == out:
        problem = f"the report and the folder of the paper would both be {out}"
        raise UsageError("out", problem, fix=f"Name an HTML file, such as {out}.html.")
    if rows:
        check_suffix(rows)
    if venue is not None:
        look_up("venue", venue, VENUES)
        if not paper:
            raise UsageError("venue", "only figures of a paper have one", fix="Add --paper.")
    assessments = read_assessments(runs)
    write_page(assessments, out)
    _say(f"Report: {out}")
    if paper:
        write_paper(assessments, folder, venue)
        _say(f"Table and figures for a paper: {folder}")
    if rows:
        save_rows([assessment.given for assessment in assessments], rows)
        _say(f"Rows: {rows}")


def verify(run: tyro.conf.Positional[Path]) -> None:
    """Verify the checksum of every file of a run; exit status 1 if one is corrupted.

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
    settings: Settings,
    strategies: tuple[str, ...] = ("concat", "transformer"),
    batch_sizes: tuple[int, ...] = (),
    dtypes: tuple[str, ...] = (),
    lanes: tuple[int, ...] = (),
    meshes: tuple[str, ...] = (),
    out: Path = Path("runs/bench"),
) -> None:
    """Benchmark training: compilation time, throughput, memory and hardware utilisation.

    Each combination of the options below is a case; options that are not given take their value
    from the shared settings. The compilation cache is off, so that compilation can be timed.

    Args:
        strategies: Names of fusions, or MODALITY_only for unimodal baselines.
        batch_sizes: Rows per step.
        dtypes: Dtypes of the computation, float32 or bfloat16.
        lanes: Numbers of seeds that train in one program.
        meshes: Devices by axis, such as seed=1 seed=2 data=2; a mesh that does not divide the rows
            or seeds of a case is skipped.
        out: Folder for rows, table and figure; cases that it already contains are not repeated.
    """
    for dtype in dtypes or (settings.dtype,):
        check_settings(replace(settings, dtype=dtype))
    check_strategies(strategies)
    from mmjax.runs.measure import bench_in, make_cases

    cases = make_cases(
        settings, strategies, batch_sizes=batch_sizes, dtypes=dtypes, lanes=lanes, meshes=meshes
    )
    bench_in(out, cases, _console())


_VERBS = {
    f.__name__: f
    for f in (
        *(compare, ablate, arm, tune, train, evaluate, predict, embed, export),
        *(report, verify, bench, zoo, data),
    )
}


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    An error of mmjax or of the file system prints one line and exits with status 2, or with 1 if
    part of the work failed; a signal exits with 128 plus its number.
    """
    _prepare_output()
    args = sys.argv[1:] if args is None else args
    if [*args] == ["--version"]:
        print(f"mmjax {version('mmjax')}")
        return
    try:
        if args and not args[0].startswith("-"):
            verb = look_up("command", args[0], _VERBS)
            words = prepare(verb, [word for word in args[1:] if word != PRINT_CONFIG])
            if PRINT_CONFIG in args:
                verb = printing(verb)
            with raised_signals():
                tyro.cli(common_first(verb), prog=f"mmjax {args[0]}", args=words)
            return
        tyro.extras.subcommand_cli_from_dict(
            {name: common_first(verb) for name, verb in _VERBS.items()},
            prog="mmjax",
            description="Multimodal fusion: compare strategies, train one, use it. --version "
            "prints the version. With any command, --config FILE reads options from a TOML "
            "file, and --print-config prints such a file instead of running.",
            args=args,
        )
    except Interrupted as stop:
        _warn("interrupted; the same command with --resume and --out FOLDER continues")
        sys.exit(128 + stop.signal)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # as of `mmjax zoo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except MmjaxError as error:
        _warn(error)
        sys.exit(error.exit_code)
    except OSError as error:
        named = error.filename and error.strerror
        _warn(f"{error.filename}: {error.strerror}." if named else error)
        sys.exit(2)


def _keep_programs() -> None:
    """Turns on the cache of compiled programs; without it, only speed is lost."""
    from mmjax.storage.compile_cache import try_caching

    try_caching(_warn)


def _console():
    from mmjax.report.console import PlainConsole

    return PlainConsole()


def _say(line: object) -> None:
    print(printable(str(line)))


def _next(what: str, *words: object) -> None:
    """Ends a command with the one that is likely to follow."""
    _say(f"Next, {what}: mmjax {shlex.join(map(str, words))}")


def _warn(message: object) -> None:
    print("mmjax:", printable(str(message), keep="\n"), file=sys.stderr)


def _prepare_output() -> None:
    """Replaces characters that the terminal cannot encode, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # as Python has standard error do unasked
    warnings.showwarning = lambda message, *_: _warn(message)


def _out(out: Path | None, settings: Settings, resume: bool) -> Path:
    if out is None and resume:
        raise UsageError("resume", "there is no folder to resume from", fix="Name it by --out.")
    try:
        str(out).encode()
    except UnicodeEncodeError as error:  # checkpoints cannot be written there
        raise UsageError("out", f"{out} is not valid UTF-8") from error
    if out is None:
        out = Path("runs", f"{settings.task}-{datetime.now():%Y%m%d-%H%M%S}")
        _say(f"Folder: {out}")
    return out
