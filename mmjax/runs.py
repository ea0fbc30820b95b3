"""Run folders: what the commands write.

What only a comparison needs to examine and draw is imported where it is used: Matplotlib and
scikit-learn take a second.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmjax import checkpoint
from mmjax.arms import CORE, Arm, all_strategies, make_arm, match_arm
from mmjax.availability import lose
from mmjax.checkpoint import Checkpoints
from mmjax.compare import compare, settle
from mmjax.cost import cost_row
from mmjax.errors import FailedArmsError, UsageError, look_up
from mmjax.files import locked, write_text
from mmjax.fit import Fit, fit
from mmjax.folders import (
    append_assessment,
    append_results,
    check_new_file,
    end_arm,
    finished_arms,
    forget_unfinished,
    open_folder,
    read_embedded,
    write_embedded,
    write_labels,
    write_predictions,
    write_run_file,
)
from mmjax.fusion import FUSIONS
from mmjax.interrupt import held_signals
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES
from mmjax.report.command import command
from mmjax.report.progress import ComparisonProgress
from mmjax.report.rows import append_rows, read_rows
from mmjax.report.study import read_settings, read_studies
from mmjax.report.summary import markdown_table, notes, rich_table, scored_split, summarise
from mmjax.scoring import Row, Scored, score, versions
from mmjax.search import chosen_cells, is_open
from mmjax.settings import Settings, parse_pairs, parse_shares
from mmjax.sizes import TOLERANCE, explain_mismatch
from mmjax.task import Task
from mmjax.tasks import load_task
from mmjax.train import Adam
from mmjax.zoo import add_sizes, list_zoo, zoo_tables

CHECKPOINTS = "checkpoints"
"""Folder of a run folder for what is needed only until the run is done."""


def make_task(settings: Settings) -> Task:
    """Loads the task that the settings name, without what they let training rows lose."""
    task = load_task(settings.task, settings.data, parse_pairs("options", settings.options))
    return lose(task, parse_shares("missing", settings.missing))


def make_arms(settings: Settings, task: Task, strategies: Sequence[str]) -> list[Arm]:
    """The arms of some strategies on the loaded task.

    Raises:
        UnknownNameError: a name is in none of the tables.
        UsageError: a number is out of range.
    """
    encoders = parse_pairs("encoders", settings.encoders)
    for name in encoders:
        look_up("modality of an encoder", name, task.shapes)
    recipe = {
        "objective": look_up("objective", settings.objective, OBJECTIVES),
        "method": look_up("method", settings.method, METHODS)(),
        "tx": Adam(settings.learning_rate),
        "batch_size": settings.batch_size,
        "steps": settings.steps,
        "seeds": tuple(range(settings.seeds)),
    }
    make = partial(make_arm, task, encoders=encoders, absent=settings.absent, **recipe)
    arms = [replace(make(strategy), trials=settings.tune) for strategy in strategies]
    if settings.match_params is None:
        return arms
    return [match_arm(arm, settings.match_params) for arm in arms]


def parse_fusions(text: str) -> tuple[str, ...]:
    """``core``, ``all``, or names with commas between them."""
    if text == "core":
        return CORE
    if text == "all":
        return tuple(FUSIONS)
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        look_up("fusion", name, FUSIONS)
    if len(set(names)) < len(names):
        raise UsageError("fusions", expected="each name once", got=repr(text))
    return names


def compare_in(
    out: Path,
    settings: Settings,
    fusions: Sequence[str],
    console: Console,
    *,
    subsets: bool = False,
    resume: bool = False,
) -> list[Row]:
    """Compares fusions with every unimodal baseline; fills a folder while it goes.

    Args:
        out: gets run.json, rows and predictions of each arm as soon as it is done, then
            summary.md, figures and report.html; while it runs, checkpoints.
        settings: the task, and the training that all arms share.
        fusions: keys of ``FUSIONS``.
        console: where progress and the table go.
        subsets: each fusion on every subset of two modalities or more, too.
        resume: go on with the comparison that the folder holds; arms that are done stay.

    Raises:
        MmjaxError: a setting, the data or the folder is not usable; nothing has been written.
        FailedArmsError: some arms have failed, which arms.jsonl and the summary say; the others
            are done.
        Interrupted: a signal has come; what has been done is there to be gone on with.
    """
    task = make_task(settings)
    arms = make_arms(settings, task, all_strategies(task, fusions, subsets=subsets))
    with locked(out):
        open_folder(out, settings, [arm.strategy for arm in arms], resume)
        return _compare(out, settings, task, arms, console)


def _compare(
    out: Path, settings: Settings, task: Task, arms: Sequence[Arm], console: Console
) -> list[Row]:
    remarks = _mismatches(settings, arms)
    for remark in remarks:
        console.print(remark)
    forget_unfinished(out)
    write_labels(out, task)
    done = finished_arms(out)
    missing = [arm for arm in arms if arm.strategy not in done]
    failed = _run_arms(out, task, missing, console) if missing else {}
    remarks += [f"{strategy} failed: {error}" for strategy, error in failed.items()]
    if len(failed) < len(arms):
        rows = _conclude(out, task, remarks, console)
    if failed:
        raise FailedArmsError(f"{len(failed)} of {len(arms)} arms failed: {', '.join(failed)}")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return rows


def _run_arms(out: Path, task: Task, arms: Sequence[Arm], console: Console) -> dict[str, str]:
    """Runs arms one after another, and returns the errors of those that fail."""
    from mmjax.assess import make_assess

    assess, failed = make_assess(task), {}
    with held_signals() as stopped_by, ComparisonProgress(arms, console) as progress:

        def on_arm(arm: Arm, trained: Fit, scored: Scored) -> None:
            found = assess(arm, trained)
            append_results(out, arm, trained, [*scored.rows, *found.scores])
            write_predictions(out, arm.strategy, scored.predictions)
            append_assessment(out, found)
            write_embedded(out / CHECKPOINTS / arm.strategy, found.embedded)
            progress.on_arm(arm, trained, scored.rows)

        def on_idle(arm: Arm, trained: Fit) -> None:
            append_rows(out / "cost.jsonl", [cost_row(arm, trained)])
            end_arm(out, arm.strategy)

        def on_error(arm: Arm, error: Exception) -> None:
            failed[arm.strategy] = f"{type(error).__name__}: {error}".splitlines()[0]
            end_arm(out, arm.strategy, failed[arm.strategy])
            progress.on_error(arm, failed[arm.strategy])

        compare(
            arms,
            on_arm=on_arm,
            on_idle=on_idle,
            on_error=on_error,
            progress=progress.on_steps,
            checkpoints=lambda arm: make_checkpoints(out, arm, stopped_by),
        )
    return failed


def make_checkpoints(out: Path, arm: Arm, stopped_by: Callable[[], int | None]) -> Checkpoints:
    """Where an arm's training is kept in a run folder."""
    identity = {"recipe": repr(arm.recipe), "data": arm.task.digest(), "versions": versions()}
    folder = out / CHECKPOINTS / arm.strategy / "steps"
    return Checkpoints(folder, identity, stopped_by=stopped_by)


def _conclude(out: Path, task: Task, remarks: Sequence[str], console: Console) -> list[Row]:
    """Draws, judges and reports what the folder holds."""
    from mmjax.report.answers import make_answers
    from mmjax.report.page import write_report
    from mmjax.report.pictures import save_pictures
    from mmjax.report.verdicts import judge

    (study,) = read_studies([out])
    embedded = {n: read_embedded(out / CHECKPOINTS / n) for n in study.strategies}
    save_pictures(out, task, study, embedded)
    verdict = judge(make_answers(study)).text
    write_summary(out, verdict, remarks)
    write_report([out], out / "report.html")
    console.print(rich_table(summarise(study.rows), _title(study.rows)))
    console.print(verdict)
    console.print(
        f"Report, rows and figures: {out / 'report.html'}", highlight=False, soft_wrap=True
    )
    return study.rows


def _mismatches(settings: Settings, arms: Sequence[Arm]) -> list[str]:
    """A sentence for each arm whose number of parameters cannot be what the settings ask for."""
    if settings.match_params is None:
        return []
    asked = settings.match_params
    explained = [(arm, explain_mismatch(arm.recipe.model, arm.task, asked)) for arm in arms]
    off = f"is not within {TOLERANCE:.0%} of {asked:,} parameters"
    remarks = [f"{arm.strategy} {off}: {why}." for arm, why in explained if why]
    late = [arm.strategy for arm in arms if is_open(arm.recipe)]
    return remarks + [f"The size of {name} is known only after its search." for name in late]


def write_summary(out: Path, verdict: str, remarks: Sequence[str] = ()) -> None:
    """Writes summary.md and the figures from the rows of a comparison's folder, with remarks."""
    from mmjax.report.figures import accuracy_figure, learning_curves, save

    rows, history = read_rows(out / "rows.jsonl"), read_rows(out / "history.jsonl")
    summaries = summarise(rows)
    baselines = [summary.strategy for summary in summaries if summary.unimodal]
    title = _title(rows)
    save(accuracy_figure(summaries, title), out / "accuracy.png")
    save(learning_curves(history, rows[0]["task"]), out / "curves.png")
    text = _SUMMARY.format(
        title=title,
        verdict=verdict,
        table=markdown_table(summaries),
        command=command(read_settings(out), baselines),
        notes="\n".join([notes(rows), *remarks]),
    )
    write_text(out / "summary.md", text)


_SUMMARY = """# {title}

{verdict}

{table}
Made by `{command}`. {notes}
![Accuracy of each strategy](accuracy.png)

![Validation accuracy over training](curves.png)
"""


def train_in(
    out: Path, settings: Settings, strategy: str, console: Console, *, resume: bool = False
) -> list[Row]:
    """Trains one strategy and keeps its best parameters in a folder.

    Args:
        out: gets run.json, rows.jsonl, history.jsonl and a checkpoint.
        settings: the task and the training.
        strategy: a key of ``FUSIONS`` or ``MODALITY_only``.
        console: where progress goes.
        resume: go on with the run that the folder holds.

    Raises:
        MmjaxError: a setting, the data or the folder is not usable; nothing has been written.
        DivergenceError: nothing is finite any more; the last checkpoint is intact.
        Interrupted: a signal has come; what has been done is there to be gone on with.
    """
    (arm,) = make_arms(settings, make_task(settings), [strategy])
    with locked(out):
        open_folder(out, settings, [strategy], resume)
        if strategy in finished_arms(out):
            console.print(f"Trained already: {out}", highlight=False, soft_wrap=True)
            return read_rows(out / "rows.jsonl")
        return _train(out, settings, arm, console)


def _train(out: Path, settings: Settings, arm: Arm, console: Console) -> list[Row]:
    forget_unfinished(out)
    with held_signals() as stopped_by, ComparisonProgress([arm], console) as progress:
        arm = settle(arm, progress.on_steps)
        write_run_file(out, settings, [arm.strategy], chosen_cells(arm.recipe))
        kept = make_checkpoints(out, arm, stopped_by)
        trained = fit(arm.recipe, arm.task, progress=progress.on_steps, checkpoints=kept)
        rows = score(arm, trained).rows
        progress.on_arm(arm, trained, rows)
        checkpoint.save(out / "checkpoint", trained.params)
        append_results(out, arm, trained, rows)
        end_arm(out, arm.strategy)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    console.print(f"Checkpoint and rows: {out}", highlight=False, soft_wrap=True)
    return rows


def _title(rows: Sequence[Row]) -> str:
    seeds = len({row["seed"] for row in rows})
    return f"{rows[0]['task']}, {scored_split(rows)} split, {seeds} seeds"


def inspect_task(settings: Settings, picture: Path | None, console: Console) -> None:
    """Prints what a task holds; draws a few samples to a PNG file if one is named."""
    from mmjax.report.data import samples_figure, task_facts, task_tables
    from mmjax.report.figures import save

    if picture:
        check_new_file(picture)
    task = make_task(settings)
    console.print(task_facts(task), *task_tables(task))
    if picture:
        save(samples_figure(task), picture)
        console.print(f"Picture: {picture}", highlight=False, soft_wrap=True)


def show_zoo(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Prints what the tables hold, with the sizes of every fusion's model for a task."""
    task, zoo = make_task(settings), list_zoo()
    progress = Console(stderr=True)
    for entry in track(zoo["fusions"], "sizes", console=progress, transient=True):
        add_sizes(entry, task)
    if as_json:
        print(json.dumps(zoo, indent=1))
    else:
        console.print(*zoo_tables(zoo))
