"""Comparisons in a folder.

What examines and draws is imported where it is used: Matplotlib and scikit-learn take a second.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mmjax.analysis.summary import majority_warnings, scored_split, summarise
from mmjax.comparison.arm import Arm, all_strategies
from mmjax.comparison.cell_search import is_open
from mmjax.comparison.scores import Row
from mmjax.data.targets import MAIN_SCORES
from mmjax.data.task import Task
from mmjax.errors import DataError, FailedArmsError
from mmjax.report.tables import notes, rich_table, summary_markdown
from mmjax.runs.columns import read_table
from mmjax.runs.command import command
from mmjax.runs.damage import begin_changes, end_changes
from mmjax.runs.folder import (
    CHECKPOINTS,
    arm_folder,
    check_same_data,
    finished_arms,
    forget_unfinished,
    merge_arm,
    open_folder,
    read_embedded,
    remove_what_is_done_with,
    write_empty_tables,
    write_labels,
)
from mmjax.runs.from_settings import make_arms, make_task, parse_fusions
from mmjax.runs.launching import RunArms, open_runner
from mmjax.runs.run_file import read_run_file
from mmjax.runs.settings import Launch, Settings
from mmjax.runs.studies import read_pictures, read_studies
from mmjax.storage.files import write_text
from mmjax.storage.locks import locked
from mmjax.storage.manifest import MANIFEST
from mmjax.training.sizes import TOLERANCE, explain_mismatch

if TYPE_CHECKING:
    from mmjax.analysis.representation import Embedded
    from mmjax.analysis.verdicts import Verdict


def compare_in(
    out: Path,
    settings: Settings,
    fusions: str,
    console: Console,
    *,
    subsets: bool = False,
    resume: bool = False,
    launch: Launch = Launch(),
) -> list[Row]:
    """Compares fusions with every unimodal baseline; fills a folder while it goes.

    Args:
        out: gets run.json, rows and predictions of each arm as soon as it is done (with a launcher,
            when all are), then summary.md, figures and report.html; while it runs, checkpoints.
        settings: the task, and the training that all arms share.
        fusions: as ``parse_fusions`` takes them.
        console: where progress and the table go.
        subsets: each fusion on every subset of two modalities or more, too.
        resume: go on with the comparison that the folder holds; arms that are done stay.
        launch: where the arms run.

    Raises:
        MmjaxError: a setting, the data or the folder is not usable; nothing has been written.
        FailedArmsError: some arms have failed, which arms.jsonl and the summary say; the others
            are done.
        Interrupted: a signal has come; what has been done is there to be gone on with.
    """
    with open_runner(launch) as run:  # first, for Ray forks, which JAX's threads do not bear
        task = make_task(settings)
        names = parse_fusions(fusions, task.kind)
        arms = make_arms(settings, task, all_strategies(task, names, subsets=subsets))
        with locked(out):
            damage = open_folder(out, settings, [arm.strategy for arm in arms], resume)
            return _compare(out, settings, task, arms, console, run, damage)


def _compare(
    out: Path,
    settings: Settings,
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    run: RunArms,
    damage: Mapping[str, DataError],
) -> list[Row]:
    remarks = _mismatches(settings, arms)
    for remark in remarks:
        console.print(remark)
    check_same_data(out, arms)
    if (out / MANIFEST).exists() and not damage and not _not_done(out, arms):
        console.print(f"Compared already: {out}", soft_wrap=True)
        remove_what_is_done_with(out)
        return read_table(out, "rows")
    begin_changes(out, damage, console)
    write_labels(out, task)
    missing = _not_done(out, arms)
    _tell_lost(out, missing, console)
    todo = [arm for arm in missing if not _is_done_apart(out, arm, console)]
    failed = run(out, task, todo, console) if todo else {}
    for arm in _not_done(out, missing):
        if arm.strategy not in failed:
            merge_arm(out, arm.strategy)
    forget_unfinished(out)
    remarks += [f"{strategy} failed: {error}" for strategy, error in failed.items()]
    if len(failed) < len(arms):
        write_empty_tables(out)
        rows = _conclude(out, task, remarks, console)
    end_changes(out, damage, console)
    if failed:
        raise FailedArmsError(f"{len(failed)} of {len(arms)} arms failed: {', '.join(failed)}")
    remove_what_is_done_with(out)
    return rows


def _tell_lost(out: Path, missing: Sequence[Arm], console: Console) -> None:
    """Says of which arms the folder has something, and yet not all."""
    rows = [*read_table(out, "rows"), *read_table(out, "arms")]
    begun = {row["strategy"] for row in rows if row.get("error") is None}
    if lost := [arm.strategy for arm in missing if arm.strategy in begun]:
        console.print(f"Not all is there of {', '.join(lost)}: trained again", soft_wrap=True)


def _not_done(folder: Path, arms: Sequence[Arm]) -> list[Arm]:
    done = finished_arms(folder)
    return [arm for arm in arms if arm.strategy not in done]


def _is_done_apart(out: Path, arm: Arm, console: Console) -> bool:
    """Whether an arm is done in the folder of a process of its own."""
    own = arm_folder(out, arm.strategy)
    begin_changes(own, {}, console)
    return not _not_done(own, [arm])


def _conclude(out: Path, task: Task, remarks: Sequence[str], console: Console) -> list[Row]:
    """Draws, judges and reports what the folder holds."""
    from mmjax.analysis.answers import make_answers
    from mmjax.analysis.verdicts import judge
    from mmjax.report.figures.pictures import save_pictures
    from mmjax.report.page import write_page

    (study,) = read_studies([out])
    save_pictures(out, task, study, _read_embedded(out, study.strategies, console))
    verdict = judge(make_answers(study))
    write_summary(out, verdict, remarks)
    write_page([study._replace(pictures=read_pictures(out))], out / "report.html")
    summaries = summarise(study.rows)
    console.print(rich_table(summaries, _title(study.rows)))
    for warning in majority_warnings(summaries):
        console.print(warning)
    console.print(verdict.text)
    console.print(f"Report, rows and figures: {out / 'report.html'}", soft_wrap=True)
    return study.rows


def _read_embedded(out: Path, strategies: Iterable[str], console: Console) -> "dict[str, Embedded]":
    """The embeddings of all arms; none where a run that was done has let go of them."""
    try:
        return {name: read_embedded(out / CHECKPOINTS / name) for name in strategies}
    except DataError as error:
        if not (out / "embeddings.png").exists():
            console.print(f"Embeddings are not drawn: {error}", soft_wrap=True)
        return {}


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


def write_summary(out: Path, verdict: "Verdict", remarks: Sequence[str] = ()) -> None:
    """Writes summary.md and the figures from the rows of a comparison's folder, with remarks."""
    from mmjax.report.figures.scores_figure import save, score_figure
    from mmjax.report.figures.verdict_figures import curves_figure

    rows, history = read_table(out, "rows"), read_table(out, "history")
    summaries = summarise(rows)
    baselines = [summary.strategy for summary in summaries if summary.unimodal]
    title, score = _title(rows), MAIN_SCORES[summaries[0].metric]
    save(score_figure(summaries, title), out / "accuracy.png")
    best_first = sorted(summaries, key=lambda summary: -summary.valid_score.mean())
    save(curves_figure(history, [s.strategy for s in best_first]), out / "curves.png")
    sentences = [*majority_warnings(summaries), *verdict.sentences]
    text = _SUMMARY.format(
        title=title,
        score=score,
        score_first=score.capitalize(),
        headline=verdict.headline,
        sentences="\n".join(f"- {sentence}" for sentence in sentences),
        rule=verdict.rule,
        table=summary_markdown(summaries),
        command=command(read_run_file(out), baselines),
        notes="\n".join([notes(rows), *remarks]),
    )
    write_text(out / "summary.md", text)


_SUMMARY = """# {title}

{headline}

{sentences}

{rule}

{table}
Made by `{command}`. {notes}
![{score_first} of each strategy](accuracy.png)

![Validation {score} over training](curves.png)
"""


def _title(rows: Sequence[Row]) -> str:
    seeds = len({row["seed"] for row in rows})
    return f"{rows[0]['task']}, {scored_split(rows)} split, {seeds} seeds"
