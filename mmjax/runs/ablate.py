"""Ablations that write a run folder: comparisons of the variants of a base."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from mmjax.comparison.ablation import Ablation
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row
from mmjax.runs.bases import read_base
from mmjax.runs.command import ablate_command
from mmjax.runs.compare import compare_arms_in, fail_if_incomplete
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.launching import open_runner
from mmjax.runs.plan import Asked, MakeArms, plan_ablation
from mmjax.runs.run_file import RUN, RunFile, read_run_file
from mmjax.runs.settings import Launch, Settings, parse_examine


def ablate_in(
    out: Path,
    settings: Settings,
    base: str,
    asked: Asked,
    console: Console,
    *,
    examine: str | Sequence[str] = "scores",
    resume: bool = False,
    launch: Launch = Launch(),
) -> list[Row]:
    """Trains the variants of a base, and writes a run folder like that of a comparison.

    Args:
        out: the folder, as in ``compare_in``.
        settings: the task, and the training of the base.
        base: a strategy by name, or the folder of a run whose settings and strategy to take.
        asked: what is varied, and how.
        console: for progress and the table.
        examine: as in ``parse_examine``.
        resume: resume the ablation in the folder; completed variants are kept.
        launch: where the arms run.

    Raises:
        MmjaxError: a setting, a factor, the data or the folder is invalid; nothing was written.
        FailedArmsError: some variants failed, as arms.jsonl and the summary say.
        Interrupted: a signal arrived; the ablation can be resumed.
    """
    parts = parse_examine(examine)
    settings, strategy = read_base(base, settings)
    command = ablate_command(settings, strategy, asked, parts)
    with open_runner(launch) as run_arms:
        task = make_task(settings)
        make: MakeArms = partial(make_arms, settings, task)
        ablation, arms = _planned(out, command, make) if resume else (None, [])
        if ablation is None:
            ablation, arms = plan_ablation(task, strategy, asked, make, console, launch.workers)
        run = RunFile(settings, [a.strategy for a in arms], parts, command, ablation=ablation)
        study = compare_arms_in(out, run, task, arms, console, run_arms, resume=resume)
    fail_if_incomplete(study, len(arms))
    return study.rows


def _planned(out: Path, command: str, make: MakeArms) -> tuple[Ablation | None, list[Arm]]:
    """What the same command planned before; a budget might lead to another design today."""
    if not (out / RUN).exists():
        return None, []
    run = read_run_file(out)
    same = run.command == command and run.ablation is not None
    return (run.ablation, make(run.strategies)) if same else (None, [])
