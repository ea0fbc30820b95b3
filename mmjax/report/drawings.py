"""The figures of a page on one study."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import group_by
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.scores import present_in
from mmjax.report.ablation_drawings import ablation_drawings
from mmjax.report.extras import Drawing, draw_cost, extra_figures
from mmjax.report.figures.scores_figure import score_figure
from mmjax.report.figures.style import color_strategies
from mmjax.report.figures.verdict_figures import (
    NUM_CLASSES,
    confusion_figure,
    curves_figure,
    exchange_figure,
    forest_figure,
    matrix_figure,
    missing_figure,
)

_NUM_PAIRED = 10  # strategies of the pairwise matrix: more would be illegible


def base_of(study: Study) -> str | None:
    """The base of an ablation; None for a comparison."""
    return study.ablation.base if study.ablation else None


def make_drawings(assessment: Assessment) -> Iterator[Drawing]:
    """The figures of a study, the most important first."""
    study, answers, verdict = assessment.study, assessment.answers, assessment.verdict
    best_first, base = _best_first(study), base_of(study)
    alone = next((name for name in best_first if name in _references(study)), None)
    colors = study_colors(study)
    yield main_drawing(assessment)
    if base:
        yield from ablation_drawings(assessment)
    elif answers and verdict.baseline and study.kind == "classes":
        yield from _exchange(answers, verdict.baseline)
    yield from draw_cost(study, colors)
    if study.history:
        yield Drawing(
            "Learning curves",
            "Means over seeds; dots are validations. Curves that still improve at the end would "
            "benefit from more steps; this comparison then favours strategies that learn fast. "
            "Losses compare only where the objective is the same.",
            curves_figure(study.history, colors, study.metric),
            ("history.jsonl",),
        )
    if any(row["hidden"] for row in study.rows):
        yield _missing(study, best_first)
    judged = [name for name in best_first if answers and name in answers.scores]
    rival = next((name for name in judged if name != base), None) if base else verdict.fusion
    best = [name for name in (rival, verdict.baseline) if name]
    yield from extra_figures(study, best[::-1], colors)
    if answers and len(judged) > 1:
        yield _matrix(answers, _first(judged, _NUM_PAIRED, alone))
    if study.kind == "classes" and best:
        yield _confusion(study, best[::-1])


def study_colors(study: Study) -> Mapping[str, str]:
    """The colours of the strategies in all figures of a study."""
    return color_strategies(_best_first(study), _references(study))


def _best_first(study: Study) -> list[str]:
    """The strategies in order of their validation score."""
    return sorted(study.strategies, key=lambda name: -study.on_validation(name))


def _references(study: Study) -> list[str]:
    """What the others are compared with."""
    base = base_of(study)
    return [base] if base else study.baselines


def main_drawing(assessment: Assessment) -> Drawing:
    """Gains over the baseline or the base, or all scores where none can be tested.

    Example:
        >>> row = {"strategy": "sum", "modalities": "a+b", "hidden": "", "seed": 0,
        ...        "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}
        >>> rows = [{**row, "split": split} for split in ("valid", "test")]
        >>> drawing = main_drawing(Assessment(Study("toy", (), rows, [], {}, {}, {}, (), {}, {})))
        >>> drawing.title  # without predictions there is no verdict
        'Accuracy'
    """
    colors = study_colors(assessment.study)
    if assessment.answers and assessment.verdict.against_baseline:
        return forest(assessment.answers, assessment.verdict, colors)
    return Drawing(
        assessment.study.metric.title,
        "One dot per seed, and the mean with one standard error over seeds, which does not cover "
        "the variation over test rows.",
        score_figure(assessment.summaries, "", base_of(assessment.study), colors),
        ("rows.jsonl",),
    )


def forest(answers: Answers, verdict: Verdict, colors: Mapping[str, str]) -> Drawing:
    """Gain of each strategy over the verdict's baseline, with the same verdicts as in the table."""
    return Drawing(
        f"Gain of each {'strategy' if verdict.fusion else 'variant'} over {verdict.baseline}",
        "Lines are 95 % intervals for new seeds and new groups, not corrected for the number of "
        "strategies. Filled dots are significant after correction, as in the table; hollow dots "
        "may be chance.",
        forest_figure(verdict.against_baseline, answers.metric, colors),
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
        folded=True,
    )


def _missing(study: Study, best_first: Sequence[str]) -> Drawing:
    scores, metric = _by_subset(study, best_first), study.metric
    nothing = [found[frozenset()] for found in scores.values() if frozenset() in found]
    bounds = dict.fromkeys(metric.format(score, 1) for score in sorted(nothing))
    without = f" Without any, it is {' to '.join([*bounds][:: len(bounds) - 1 or 1])}."
    return Drawing(
        "Robustness to missing modalities",
        f"{metric.title} by the modalities present at test time. A row that fades quickly "
        f"relies on the modality that is missing.{without if nothing else ''}",
        missing_figure(scores, metric),
        ("rows.jsonl",),
    )


def _confusion(study: Study, strategies: Sequence[str]) -> Drawing:
    matrices = {name: _confusions(study, name) for name in strategies}
    errors = np.mean([counts.sum() - counts.trace() for counts in matrices.values()])
    seeds = len(study.predictions[strategies[0]]["seeds"])
    few = errors / seeds < next(iter(matrices.values())).size
    return Drawing(
        "Confusion matrices",
        "Percentage of each true class, all seeds together; at most the "
        f"{NUM_CLASSES} classes with the most errors. Look for strong colours off the "
        "diagonal that are in one matrix but not in the other."
        + (" A model makes fewer errors than there are cells." if few else ""),
        confusion_figure(matrices, study.labels.get("names", ())),
        folded=few,
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
