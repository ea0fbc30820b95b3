"""What a page shows of one study."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.scores import present_in
from mmjax.data.targets import MAIN_SCORES, Kind
from mmjax.report.extras import PICTURES, Drawing, extra_figures
from mmjax.report.figures.scores_figure import score_figure
from mmjax.report.figures.verdict_figures import (
    NUM_CLASSES,
    confusion_figure,
    curves_figure,
    exchange_figure,
    forest_figure,
    matrix_figure,
    missing_figure,
)
from mmjax.report.grids import Grid, make_grids
from mmjax.report.lines import Line, make_lines

_NUM_CURVES = 8
_NUM_PAIRED = 10  # strategies of the pairwise matrix: more would be illegible


class Section(NamedTuple):
    """One task on the page."""

    title: str
    metric: str
    kind: Kind
    verdict: Verdict
    warnings: list[str]
    failed: Mapping[str, str]
    lines: list[Line]
    grids: list[Grid]
    drawings: list[Drawing]
    pictures: list[tuple[str, str, str]]  # title, caption, PNG in base64
    facts: list[tuple[str, str]]
    recipes: dict[str, str]


def make_section(assessment: Assessment) -> Section:
    """Draws all that is known of a study."""
    study, verdict = assessment.study, assessment.verdict
    return Section(
        title=study.task,
        metric=MAIN_SCORES[study.metric],
        kind=study.kind,
        verdict=verdict,
        warnings=majority_warnings(assessment.summaries),
        failed=study.failed,
        lines=make_lines(study, assessment.answers, verdict),
        grids=list(make_grids(study)),
        drawings=list(make_drawings(assessment)),
        pictures=_pictures(study),
        facts=_facts(study),
        recipes={row["strategy"]: row["recipe"] for row in study.rows if row.get("recipe")},
    )


def make_drawings(assessment: Assessment) -> Iterator[Drawing]:
    """The figures of a study, the most important first."""
    study, answers, verdict = assessment.study, assessment.answers, assessment.verdict
    on_validation = lambda name: -study.on_validation(name)
    best_first = sorted(study.strategies, key=on_validation)
    alone = next((name for name in best_first if name in study.baselines), None)
    yield main_drawing(assessment)
    if answers and verdict.baseline and study.kind == "classes":
        yield from _exchange(answers, verdict.baseline)
    judged = [name for name in best_first if answers and name in answers.scores]
    if len(judged) > 1:
        yield _matrix(answers, _first(judged, _NUM_PAIRED, alone))
    if study.history:
        yield Drawing(
            "Learning curves",
            "Mean over seeds. Curves that still rise at the end would gain from more steps; then "
            "a comparison at this number of steps favours those that learn fast.",
            curves_figure(study.history, _first(best_first, _NUM_CURVES, alone)),
        )
    if any(row["hidden"] for row in study.rows):
        yield Drawing(
            "When a modality is missing",
            f"{MAIN_SCORES[study.metric].capitalize()} in % by what is present at test. A row that "
            "pales quickly leans on the modality that is gone.",
            missing_figure(_by_subset(study, best_first)),
        )
    best = [name for name in (verdict.fusion, verdict.baseline) if name]
    if study.kind == "classes":
        yield from (_confusion(study, name) for name in best)
    yield from extra_figures(study, best[::-1])


def main_drawing(assessment: Assessment) -> Drawing:
    """What each strategy adds to the best baseline; all scores where nothing can be judged."""
    if assessment.answers and assessment.verdict.baseline:
        return forest(assessment.answers, assessment.verdict)
    return Drawing(
        MAIN_SCORES[assessment.study.metric].capitalize(),
        "A dot per seed, the mean, and one standard error of the seeds either side, which says "
        "nothing about other test rows.",
        score_figure(assessment.summaries, ""),
    )


def forest(answers: Answers, verdict: Verdict) -> Drawing:
    """What each strategy adds to the verdict's baseline, with the verdicts that the table has."""
    return Drawing(
        f"What each strategy adds to {verdict.baseline}",
        "A line is a 95 % interval for new seeds and new groups, of this difference alone. Full "
        "dots are told from zero, as in the table; with so many differences in one figure, hollow "
        "ones may be chance.",
        forest_figure(
            verdict.against_baseline, answers.baselines, verdict.baseline, answers.metric
        ),
    )


def _exchange(answers: Answers, baseline: str) -> Iterator[Drawing]:
    fusions = [name for name in answers.scores if name not in answers.baselines]
    if fusions:
        yield Drawing(
            "Where fusion helps, where it misleads",
            f"Rows that a fusion gets right and {baseline} wrong, and the reverse. Short bars on "
            "both sides: it says much the same. Long ones: it trades rows for others.",
            exchange_figure(answers, fusions, baseline),
        )


def _matrix(answers: Answers, names: Sequence[str]) -> Drawing:
    all_shown = len(names) == len(answers.scores)
    return Drawing(
        "Every pair" if all_shown else "Pairs of the best",
        f"Row minus column, in points of {answers.metric}; differences, not verdicts. Ordered by "
        f"validation, best first{'' if all_shown else f'; the {len(names)} best alone'}.",
        matrix_figure(answers, names),
    )


def _confusion(study: Study, strategy: str) -> Drawing:
    return Drawing(
        f"Confusions of {strategy}",
        "Percent of each true class, all seeds together; at most the "
        f"{NUM_CLASSES} classes with the most errors. Look for dark cells off the diagonal that "
        "one matrix has and the other lacks.",
        confusion_figure(_confusions(study, strategy)),
    )


def _first(names: Sequence[str], count: int, needed: str | None) -> list[str]:
    """The first names, with one that must be among them in the last place if it is not."""
    first = list(names[:count])
    return first if needed is None or needed in first else [*first[:-1], needed]


def _by_subset(study: Study, strategies: Sequence[str]) -> dict[str, dict[frozenset, float]]:
    """{strategy: {modalities present: score}} of those that were scored with some hidden."""
    found: dict[str, dict[frozenset, list[float]]] = {name: {} for name in strategies}
    for row in study.rows:
        if row["split"] == study.split:
            found[row["strategy"]].setdefault(present_in(row), []).append(row[study.metric])
    return {
        name: {subset: float(np.mean(values)) for subset, values in subsets.items()}
        for name, subsets in found.items()
        if len(subsets) > 1
    }


def _confusions(study: Study, strategy: str) -> np.ndarray:
    logits, target = study.predictions[strategy][study.split], study.labels[f"{study.split}_target"]
    counts = np.zeros((logits.shape[-1],) * 2)
    np.add.at(counts, (np.broadcast_to(target, logits.shape[:2]), logits.argmax(axis=-1)), 1)
    return counts


def _pictures(study: Study) -> list[tuple[str, str, str]]:
    shown = [
        (words, study.pictures[name]) for name, words in PICTURES.items() if name in study.pictures
    ]
    return [(*words, base64.b64encode(picture).decode()) for words, picture in shown]


def _facts(study: Study) -> list[tuple[str, str]]:
    distinct = lambda key: "; ".join(
        dict.fromkeys(str(row[key]) for row in study.rows if key in row)
    )
    digests = ", ".join(f"{digest} ({name})" for name, digest in study.data.items())
    commands = [("command", command) for command in study.commands]
    facts = [*commands, ("versions", distinct("versions")), ("device", distinct("device"))]
    return [(name, value) for name, value in (*facts, ("data digest", digests)) if value]
