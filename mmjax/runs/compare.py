"""Comparisons that write a run folder.

Figures are imported where they are drawn: Matplotlib takes a second to import.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import majority_warnings, scored_split
from mmjax.comparison.arm import Arm, all_strategies
from mmjax.comparison.cell_search import is_open
from mmjax.comparison.outcomes import Embedded
from mmjax.comparison.scores import Row
from mmjax.data.task import Task
from mmjax.errors import DataError, FailedArmsError
from mmjax.report.score_table import table_for
from mmjax.report.tables import notes, rich_table, summary_markdown
from mmjax.runs.columns import read_table
from mmjax.runs.command import compare_command
from mmjax.runs.damage import begin_changes, end_changes
from mmjax.runs.folder import (
    arm_folder,
    check_same_data,
    check_same_recipes,
    finished_arms,
    forget_unfinished,
    merge_arm,
    open_folder,
    read_embedded,
    remove_what_is_done_with,
    write_empty_tables,
    write_labels,
    write_pictures,
)
from mmjax.runs.from_settings import make_arms, make_task, parse_fusions
from mmjax.runs.launching import RunArms, open_runner
from mmjax.runs.run_file import RunFile
from mmjax.runs.settings import Launch, Settings, parse_examine
from mmjax.runs.studies import read_studies
from mmjax.storage.files import write_text
from mmjax.storage.locks import locked
from mmjax.storage.manifest import MANIFEST
from mmjax.training.sizes import TOLERANCE, explain_mismatch


def compare_in(
    out: Path,
    settings: Settings,
    fusions: str,
    console: Console,
    *,
    subsets: bool = False,
    examine: str | Sequence[str] = "all",
    resume: bool = False,
    launch: Launch = Launch(),
) -> list[Row]:
    """Compares fusions, by name, with every unimodal baseline, and writes a run folder.

    Args:
        out: receives run.json; rows and predictions of each arm as soon as it completes (with a
            launcher, when all have); then summary.md, figures and report.html. It holds
            checkpoints while the comparison runs.
        settings: the task, and the training that all arms share.
        fusions: as in ``parse_fusions``.
        console: for progress and the table.
        subsets: also train each fusion on every subset of two or more modalities.
        examine: as in ``parse_examine``.
        resume: resume the comparison in the folder; completed arms are kept.
        launch: where the arms run.

    Raises:
        MmjaxError: a setting, the data or the folder is invalid; nothing has been written.
        FailedArmsError: some arms failed, as arms.jsonl and the summary say; the others completed.
        Interrupted: a signal arrived; the comparison can be resumed.
    """
    parts = parse_examine(examine)
    with open_runner(launch) as run_arms:  # first: Ray forks, which is unsafe with JAX's threads
        task = make_task(settings)
        chosen = parse_fusions(fusions, task.kind)
        names = all_strategies(task, chosen, subsets=subsets)
        command = compare_command(settings, chosen, subsets=subsets, examine=parts)
        run = RunFile(settings, names, parts, command)
        arms = make_arms(settings, task, names)
        study = compare_arms_in(out, run, task, arms, console, run_arms, resume=resume)
    fail_if_incomplete(study, len(arms))
    return study.rows


def fail_if_incomplete(study: Study, arms: int) -> None:
    """Raises FailedArmsError if some of the arms failed."""
    if study.failed:
        failed = ", ".join(study.failed)
        raise FailedArmsError(f"{len(study.failed)} of {arms} arms failed: {failed}")


def compare_arms_in(
    out: Path,
    run: RunFile,
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    run_arms: RunArms,
    *,
    resume: bool = False,
) -> Study:
    """Compares arms, writes a run folder, and prints the table and the verdict.

    Args:
        out: as in ``compare_in``.
        run: content of run.json.
        task: the data, with all modalities.
        arms: the arms that ``run`` names.
        console: for progress and the table.
        run_arms: runs the arms that have not completed.
        resume: as in ``compare_in``.

    Returns:
        the study of the folder, including the arms that failed.

    Raises:
        UsageError: the folder has files and ``resume`` is false, or it holds another comparison.
        DataError: as in ``read_studies``.
        FailedArmsError: all arms failed.
    """
    remarks = _mismatches(run.settings, arms)
    with locked(out):
        damage = open_folder(out, run, resume)
        for remark in remarks:
            console.print(remark)
        check_same_data(out, arms)
        check_same_recipes(out, arms)
        if (out / MANIFEST).exists() and not damage and not _not_done(out, arms):
            console.print(f"Already complete: {out}", soft_wrap=True)
            remove_what_is_done_with(out)
            return read_studies([out])[0]
        begin_changes(out, damage, console)
        write_labels(out, task)
        missing = _not_done(out, arms)
        _tell_lost(out, missing, console)
        todo = [arm for arm in missing if not _is_done_apart(out, arm, console)]
        failed = run_arms(out, task, todo, console, examine=run.examine) if todo else {}
        for arm in _not_done(out, missing):
            if arm.strategy not in failed:
                merge_arm(out, arm.strategy)
        forget_unfinished(out)
        if len(failed) == len(arms):
            end_changes(out, damage, console)
            raise FailedArmsError("; ".join(f"{name}: {why}" for name, why in failed.items()))
        remarks += [f"{strategy} failed: {error}" for strategy, error in failed.items()]
        done = [arm.strategy for arm in arms if arm.strategy not in failed]
        embedded = _read_embedded(out, done, console) if "embeddings" in run.examine else {}
        assessment = conclude(out, task, embedded, remarks)
        end_changes(out, damage, console)
        if not failed:
            remove_what_is_done_with(out)
    _show(assessment, console)
    console.print(f"Report, rows and figures: {out / 'report.html'}", soft_wrap=True)
    return assessment.study


def conclude(
    out: Path,
    task: Task | None = None,
    embedded: Mapping[str, Embedded] = {},
    remarks: Sequence[str] = (),
) -> Assessment:
    """Judges the results in a folder, and writes pictures, summary.md and report.html.

    Args:
        out: the folder of a comparison.
        task: the data; without it, existing pictures are kept.
        embedded: as in ``draw_pictures``.
        remarks: sentences that end the summary.
    """
    from mmjax.report.figures.pictures import draw_pictures
    from mmjax.report.page import write_page

    write_empty_tables(out)
    assessment = Assessment(read_studies([out])[0])
    pictures = draw_pictures(task, assessment, embedded) if task else {}
    write_pictures(out, pictures)
    assessment.study.pictures.update(pictures)
    write_summary(out, assessment, remarks)
    write_page([assessment], out / "report.html")
    return assessment


def _show(assessment: Assessment, console: Console) -> None:
    console.print(rich_table(table_for(assessment), _title(assessment.study.rows)))
    for warning in majority_warnings(assessment.summaries):
        console.print(warning)
    console.print(assessment.verdict.text)


def _tell_lost(out: Path, missing: Sequence[Arm], console: Console) -> None:
    """Names the arms whose results in the folder are incomplete."""
    rows = [*read_table(out, "rows"), *read_table(out, "arms")]
    begun = {row["strategy"] for row in rows if row.get("error") is None}
    if lost := [arm.strategy for arm in missing if arm.strategy in begun]:
        console.print(f"Incomplete, will be rerun: {', '.join(lost)}", soft_wrap=True)


def _not_done(folder: Path, arms: Sequence[Arm]) -> list[Arm]:
    done = finished_arms(folder)
    return [arm for arm in arms if arm.strategy not in done]


def _is_done_apart(out: Path, arm: Arm, console: Console) -> bool:
    """Whether an arm has completed in the folder of its own process."""
    own = arm_folder(out, arm.strategy)
    begin_changes(own, {}, console)
    return not _not_done(own, [arm])


def _read_embedded(out: Path, done: Sequence[str], console: Console) -> dict[str, Embedded]:
    """The embeddings of completed arms; empty once a completed run has removed them."""
    try:
        return {name: read_embedded(out, name) for name in done}
    except DataError as error:
        if not (out / "embeddings.svg").exists():
            console.print(f"Cannot draw embeddings: {error}", soft_wrap=True)
        return {}


def _mismatches(settings: Settings, arms: Sequence[Arm]) -> list[str]:
    """A sentence for each arm that cannot have the requested number of parameters."""
    if settings.match_params is None:
        return []
    asked = settings.match_params
    explained = [(arm, explain_mismatch(arm.recipe.model, arm.task, asked)) for arm in arms]
    off = f"is not within {TOLERANCE:.0%} of {asked:,} parameters"
    remarks = [f"{arm.strategy} {off}: {why}." for arm, why in explained if why]
    late = [arm.strategy for arm in arms if is_open(arm.recipe)]
    return remarks + [f"The size of {name} is unknown until its search ends." for name in late]


def write_summary(out: Path, assessment: Assessment, remarks: Sequence[str] = ()) -> None:
    """Writes summary.md and the figures that it shows; those of an ablation first, if it is one."""
    from mmjax.report.ablation_drawings import ablation_drawings
    from mmjax.report.drawings import study_colors
    from mmjax.report.figures.scores_figure import save, score_figure
    from mmjax.report.figures.verdict_figures import curves_figure
    from mmjax.report.paper import file_names

    study, verdict, summaries = assessment.study, assessment.verdict, assessment.summaries
    title, score = _title(study.rows), study.metric.label
    base = study.ablation.base if study.ablation else None
    drawings = [*islice(ablation_drawings(assessment), _NUM_DRAWN)] if base else []
    files = [f"{name}.png" for name in file_names([drawing.title for drawing in drawings])]
    for file, drawing in zip(files, drawings, strict=True):
        save(drawing.figure, out / file)
    colors = study_colors(study)
    save(score_figure(summaries, title, base, colors), out / "accuracy.png")
    save(curves_figure(study.history, colors, study.metric), out / "curves.png")
    sentences = [*majority_warnings(summaries), *verdict.sentences]
    text = _SUMMARY.format(
        title=title,
        score=score,
        score_first=study.metric.title,
        headline=verdict.headline,
        sentences="\n".join(f"- {sentence}" for sentence in sentences),
        rule=verdict.rule,
        table=summary_markdown(table_for(assessment)),
        command=", ".join(study.commands) or "mmjax.compare",
        notes="\n".join([notes(study.rows), *remarks]),
        drawings="".join(f"![{d.title}]({f})\n\n" for f, d in zip(files, drawings, strict=True)),
    )
    write_text(out / "summary.md", text)


_NUM_DRAWN = 2  # of an ablation; the page has all

_SUMMARY = """# {title}

{headline}

{sentences}

{rule}

{table}
Made by `{command}`. {notes}
{drawings}![{score_first} of each strategy](accuracy.png)

![Validation {score} over training](curves.png)
"""


def _title(rows: Sequence[Row]) -> str:
    seeds, folds = (len({row.get(key) for row in rows}) for key in ("seed", "fold"))
    part = f"{folds} folds" if folds > 1 else f"{scored_split(rows)} split"
    return f"{rows[0]['task']}, {part}, {seeds} seed{'s' if seeds > 1 else ''}"
