"""A worker of a study, and the folder with its results."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, versions
from mmjax.data.task import Task
from mmjax.errors import DataError, FailedTrialsError, UsageError
from mmjax.metrics import metric_of
from mmjax.report.search_page import TrialsProgress, trials_table, write_trials_report
from mmjax.runs.columns import salvage_table
from mmjax.runs.command import hide_data_folder
from mmjax.runs.damage import begin_changes, end_changes, find_damage
from mmjax.runs.folder import check_new_folder
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.search.batch import make_batches, train_batch
from mmjax.runs.search.database import import_optuna
from mmjax.runs.search.params import apply_params, parse_space, rows_seen, suggest
from mmjax.runs.search.plots import save_plots
from mmjax.runs.search.shared_study import SharedStudy
from mmjax.runs.search.space import Space
from mmjax.runs.search.trial_rows import make_row, sort_rows, trial_command
from mmjax.runs.settings import Settings
from mmjax.storage.jsonl import write_rows
from mmjax.storage.locks import held
from mmjax.storage.reading import open_database

if TYPE_CHECKING:
    from optuna import Trial

STUDY = "study.db"
_WAIT_SECONDS = 1.0
_SHOWN_ROWS = 10


def tune_in(
    out: Path,
    settings: Settings,
    space: Space,
    console: Console,
    *,
    trials: int,
    lanes: int,
    storage: str | None = None,
    resume: bool = False,
) -> list[Row]:
    """Works on a study until all its trials have ended, and writes a folder with the results.

    A trial trains seed 0 and is judged on validation; the test split is not used.

    Args:
        out: receives trials.jsonl, figures and report.html; and study.db, unless ``storage`` is
            given.
        settings: the settings that all trials share.
        space: the search space.
        console: for progress, the table and the command that trains the best trial.
        trials: number of trials, including those of other workers.
        lanes: number of trials that train as one program.
        storage: URL of a database that workers share, by default study.db in the folder. The study
            has the name of the folder.
        resume: join the study if it exists; other workers may be active.

    Returns:
        the trials as flat rows, the best first.

    Raises:
        MmjaxError: a setting, the data, the folder or the database is invalid.
        FailedTrialsError: no trial completed.
        Interrupted: a signal arrived; the interrupted trials will be retried.
    """
    for name, number in (("trials", trials), ("lanes", lanes)):
        if number < 1:
            raise UsageError(name, expected="at least 1", got=str(number))
    import_optuna()
    task = make_task(settings)
    fusions = parse_space(settings, space, task)
    # Workers on other machines may have the data in another folder, but must have the same data.
    about = {**asdict(settings), **asdict(space), "data": task.digest()}
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        if not resume or (out / "run.json").exists():  # of another command
            check_new_folder(out, "" if resume else ", or join a study in it with --resume")
        damage = find_damage(out)
        if storage is None:
            _check_study(out)
        begin_changes(out, damage, console)
        where = storage or out / STUDY
        size = {"trials": trials, "rows": rows_seen(settings, task.train.size)}
        study = SharedStudy(where, out.name, about, **size, resume=resume)
    try:
        choose = lambda trial: suggest(trial, space, fusions)
        worker = f"{platform.node()}:{os.getpid()}"
        facts = {"worker": worker, "versions": versions(), "metric": task.metric.name}
        _work(study, lanes, choose, partial(_make_arm, settings, task), facts, out, console)
        with _alone(out):
            rows = _conclude(study, out, settings, task.train.size, console)
            end_changes(out, damage.keys() - {STUDY}, console)
            return rows
    except study.broken as error:
        problem = f"the database is unavailable: {error.__cause__ or error}".splitlines()[0]
        fix = "Resume with --resume once it is back."
        raise UsageError("storage", problem, fix=fix) from error
    finally:
        study.close()


def _make_arm(settings: Settings, task: Task, trial: "Trial") -> Arm:
    strategy, chosen = apply_params(replace(settings, seeds=1), trial.params, task.train.size)
    (arm,) = make_arms(chosen, task, [strategy])
    return arm


def _alone(out: Path) -> AbstractContextManager[BinaryIO]:
    """Context manager that keeps other workers from opening the study, claiming and writing."""
    return held(out / "lock", wait=True)


def _check_study(out: Path) -> None:
    """Raises DataError if study.db has fewer trials than trials.jsonl."""
    ended = len(salvage_table(out, "trials")[0])
    if not ended:
        return
    with open_database(out / STUDY) as database:
        (found,) = database.execute("SELECT count(*) FROM trials").fetchone()
    if found < ended:
        fix = "Restore the file, or choose another folder."
        raise DataError(out / STUDY, expected=f"{ended} trials", got=f"{found}", fix=fix)


def _work(
    study: SharedStudy,
    lanes: int,
    choose: "Callable[[Trial], None]",
    make_arm: "Callable[[Trial], Arm]",
    facts: Mapping[str, str],
    out: Path,
    console: Console,
) -> None:
    """Claims and trains trials until all have ended, including those of other workers."""
    with (
        TrialsProgress(len(study.done), study.trials, console) as progress,
        held_signals(lambda steps: None) as heed,
    ):
        on_trial = lambda trial: progress.on_trial(make_row(study.read(trial)), len(study.done))
        while len(study.done) < study.trials:
            with _alone(out):
                claimed = study.claim(lanes, choose)
            if not claimed:  # other workers have the last trials, and may become stale
                time.sleep(_WAIT_SECONDS)
                heed(0)
                continue
            with study.hold(claimed):
                study.note(claimed, facts)
                for batch in make_batches(claimed):
                    train_batch(study, batch, make_arm, heed, on_trial)


def _conclude(
    study: SharedStudy, out: Path, settings: Settings, train_size: int, console: Console
) -> list[Row]:
    rows = sort_rows([make_row(trial) for trial in study.optuna.get_trials()])
    write_rows(out / "trials.jsonl", rows)
    if rows[0]["state"] != "complete":
        errors = sorted({row["error"] for row in rows if row["error"]})
        why = "; ".join(errors) or "all were pruned"
        raise FailedTrialsError(f"none of {len(rows)} trials completed: {why}")
    best = next(t for t in study.optuna.get_trials() if t.number == rows[0]["trial"])
    command = trial_command(settings, best.params, train_size)
    elsewhere = trial_command(hide_data_folder(settings), best.params, train_size)
    plots = save_plots(study.optuna, out, metric_of(rows[0]).label)
    write_trials_report(out, settings.task, rows, elsewhere, plots)
    completed = [row for row in rows if row["state"] == "complete"]
    title = f"{settings.task}, best trials on validation"
    console.print(trials_table(completed[:_SHOWN_ROWS], title))
    console.print("To train the best trial with all seeds and score it on test:")
    console.print(command, soft_wrap=True)
    console.print(f"Report and trials: {out / 'report.html'}", soft_wrap=True)
    return rows
