"""The content of a page on one study."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import group_by, majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.scores import present_in
from mmjax.data.targets import Kind
from mmjax.metrics import second_metric
from mmjax.report.ablation_drawings import ablation_drawings
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
from mmjax.types import Metric

_NUM_CURVES = 8
_NUM_PAIRED = 10  # strategies of the pairwise matrix: more would be illegible


class Section(NamedTuple):
    """One task on the page."""

    title: str
    base: str | None  # of an ablation
    metric: Metric
    second: Metric
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

    @property
    def question(self) -> str:
        """What the headline answers."""
        return "what matters?" if self.base else "does fusion pay?"

    @property
    def heading(self) -> str:
        """That of the table."""
        return "All variants" if self.base else "All strategies"


def make_section(assessment: Assessment) -> Section:
    """Assembles the section of a study: tables, figures and facts."""
    study, verdict = assessment.study, assessment.verdict
    base = _base(study)
    return Section(
        title=f"{study.task}, variants of {base}" if base else study.task,
        base=base,
        metric=study.metric,
        second=second_metric(study.metric),
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


def _base(study: Study) -> str | None:
    return study.ablation.base if study.ablation else None


def make_drawings(assessment: Assessment) -> Iterator[Drawing]:
    """The figures of a study, the most important first."""
    study, answers, verdict = assessment.study, assessment.answers, assessment.verdict
    on_validation = lambda name: -study.on_validation(name)
    best_first = sorted(study.strategies, key=on_validation)
    base = _base(study)
    references = [base] if base else study.baselines
    alone = next((name for name in best_first if name in references), None)
    yield main_drawing(assessment)
    if base:
        yield from ablation_drawings(assessment)
    elif answers and verdict.baseline and study.kind == "classes":
        yield from _exchange(answers, verdict.baseline)
    judged = [name for name in best_first if answers and name in answers.scores]
    if answers and len(judged) > 1:
        yield _matrix(answers, _first(judged, _NUM_PAIRED, alone))
    if study.history:
        yield Drawing(
            "Learning curves",
            "Mean over seeds. Curves that still improve at the end would benefit from more steps; "
            "this comparison then favours strategies that learn fast.",
            curves_figure(study.history, _first(best_first, _NUM_CURVES, alone), study.metric),
        )
    if any(row["hidden"] for row in study.rows):
        yield Drawing(
            "Robustness to missing modalities",
            f"{_capital(study.metric.axis)} by the modalities present at test time. A row that "
            "fades quickly relies on the modality that is missing.",
            missing_figure(_by_subset(study, best_first), study.metric),
        )
    rival = next((name for name in judged if name != base), None) if base else verdict.fusion
    best = [name for name in (rival, verdict.baseline) if name]
    if study.kind == "classes":
        yield from (_confusion(study, name) for name in best)
    yield from extra_figures(study, best[::-1])


def main_drawing(assessment: Assessment) -> Drawing:
    """Gains over the baseline or the base, or all scores where none can be tested.

    Example:
        >>> row = {"strategy": "sum", "modalities": "a+b", "split": "test", "hidden": "", "seed": 0,
        ...        "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}
        >>> drawing = main_drawing(Assessment(Study("toy", (), [row], [], {}, {}, {}, (), {}, {})))
        >>> drawing.title  # without predictions there is no verdict
        'Accuracy'
    """
    if assessment.answers and assessment.verdict.against_baseline:
        return forest(assessment.answers, assessment.verdict)
    return Drawing(
        _capital(assessment.study.metric.label),
        "One dot per seed, and the mean with one standard error over seeds, which does not cover "
        "the variation over test rows.",
        score_figure(assessment.summaries, "", _base(assessment.study)),
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def forest(answers: Answers, verdict: Verdict) -> Drawing:
    """Gain of each strategy over the verdict's baseline, with the same verdicts as in the table."""
    return Drawing(
        f"Gain of each {'strategy' if verdict.fusion else 'variant'} over {verdict.baseline}",
        "Lines are 95 % intervals for new seeds and new groups, not corrected for the number of "
        "strategies. Filled dots are significant after correction, as in the table; hollow dots "
        "may be chance.",
        forest_figure(
            verdict.against_baseline, answers.baselines, verdict.baseline or "", answers.metric
        ),
    )


def _exchange(answers: Answers, baseline: str) -> Iterator[Drawing]:
    fusions = [name for name in answers.scores if name not in answers.baselines]
    if fusions:
        yield Drawing(
            "Where fusion helps and where it hurts",
            f"Rows that a fusion classifies correctly and {baseline} does not, and the reverse. "
            "Short bars on both sides: the two mostly agree. Long bars on both sides: fusion gains "
            "some rows at the expense of others.",
            exchange_figure(answers, fusions, baseline),
        )


def _matrix(answers: Answers, names: Sequence[str]) -> Drawing:
    all_shown = len(names) == len(answers.scores)
    return Drawing(
        "All pairs" if all_shown else "Pairs of the best strategies",
        f"By how much the row is better than the column, in {answers.metric.unit}, without tests "
        "of significance. "
        f"{'Strategies' if all_shown else f'The best {len(names)} strategies'} in order of their "
        "validation score, best first.",
        matrix_figure(answers, names),
    )


def _confusion(study: Study, strategy: str) -> Drawing:
    return Drawing(
        f"Confusion matrix of {strategy}",
        "Percentage of each true class, all seeds together; at most the "
        f"{NUM_CLASSES} classes with the most errors. Look for dark cells off the diagonal that "
        "are in one matrix but not in the other.",
        confusion_figure(_confusions(study, strategy)),
    )


def _first(names: Sequence[str], count: int, needed: str | None) -> list[str]:
    """The first names; if ``needed`` is not among them, it replaces the last."""
    first = list(names[:count])
    return first if needed is None or needed in first else [*first[:-1], needed]


def _by_subset(study: Study, strategies: Sequence[str]) -> dict[str, dict[frozenset, float]]:
    """{strategy: {modalities present: score}} of strategies scored with modalities hidden."""
    scored = [row for row in study.rows if row["split"] == study.split]
    found = group_by(scored, itemgetter("strategy"))
    mean = lambda rows: float(np.mean([row[study.metric.name] for row in rows]))
    return {
        name: {subset: mean(rows) for subset, rows in subsets.items()}
        for name in strategies
        if len(subsets := group_by(found.get(name, []), present_in)) > 1
    }


def _confusions(study: Study, strategy: str) -> np.ndarray:
    logits = study.predictions[strategy][study.split]
    counts = np.zeros((logits.shape[-1],) * 2)
    true = np.broadcast_to(study.target, logits.shape[:2])
    np.add.at(counts, (true, logits.argmax(axis=-1)), 1)
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
