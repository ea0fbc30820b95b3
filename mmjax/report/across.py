"""Figures over several tasks."""

from collections.abc import Sequence

import numpy as np

from mmjax.analysis.statistics import interquartile_mean, rank
from mmjax.analysis.study import Study
from mmjax.analysis.verdicts import format_p
from mmjax.report.extras import Drawing
from mmjax.report.figures.rank_figures import (
    critical_difference_figure,
    interquartile_figure,
    profiles_figure,
)

_NUM_PROFILES = 10
_ROWS = ("rows.jsonl",)


def over_tasks(studies: Sequence[Study]) -> list[Drawing]:
    """Figures over several tasks of one metric, for the strategies and seeds that all share.

    Ablations are left out, since their variants are compared with a base. The best unimodal
    baseline of each task, selected on validation, counts as one strategy.

    Example:
        >>> rows = [{"strategy": name, "modalities": used, "split": split, "hidden": "",
        ...          "seed": seed, "accuracy": score}
        ...         for name, used, score in (("a_only", "a", 0.6), ("sum", "a+b", 0.9))
        ...         for split in ("valid", "test") for seed in (0, 1)]
        >>> studies = [Study(task, (), rows, [], {}, {}, {}, (), {}, {}) for task in ("x", "y")]
        >>> [drawing.title for drawing in over_tasks(studies)]
        ['Interquartile means', 'Performance profiles']
    """
    studies = [study for study in studies if not study.ablation]
    scores = _shared_scores(studies) if studies else {}
    if len(studies) < 2 or not scores or len({study.metric.name for study in studies}) > 1:
        return []
    by_mean = sorted(scores, key=lambda name: -interquartile_mean(scores[name]))
    best = {name: scores[name] for name in by_mean[:_NUM_PROFILES]}
    tasks = f"{len(studies)} tasks"
    drawings = (
        []
        if not studies[0].metric.percent
        else [
            Drawing(
                "Interquartile means",
                f"Mean score of the middle half of all runs on {tasks}, with 95 % intervals over "
                "seeds. A single task on which a strategy fails or excels has little influence.",
                interquartile_figure(scores),
                _ROWS,
            ),
            Drawing(
                "Performance profiles",
                f"Percentage of runs above a score, for the {len(best)} best strategies by "
                "interquartile mean. A curve that lies above another everywhere is better at any "
                "threshold; where curves cross, the order depends on the threshold.",
                profiles_figure(best),
                _ROWS,
            ),
        ]
    )
    if len(scores) > 2:
        ranking = rank(np.array([values.mean(axis=1) for values in scores.values()]).T)
        figure = critical_difference_figure(list(scores), ranking)
        caption = (
            f"Mean ranks over {tasks}, the best on the left. Bars join strategies that do not "
            "differ significantly (Nemenyi's test, 5 %). Friedman's test that all are equal: "
            f"{format_p(ranking.p)}."
        )
        drawings.insert(0, Drawing("Critical differences", caption, figure, _ROWS))
    return drawings


def _shared_scores(studies: Sequence[Study]) -> dict[str, np.ndarray]:
    """{strategy: [tasks, seeds] of their scores}."""
    tables = []
    for study in studies:
        sign = study.metric.sign
        table = {name: sign * study.scores(name) for name in study.strategies}
        alone = max(study.baselines, key=study.on_validation, default=None)
        fusions = {name: values for name, values in table.items() if name not in study.baselines}
        tables.append({**fusions, **({"best unimodal baseline": table[alone]} if alone else {})})
    names = [name for name in tables[0] if all(name in table for table in tables)]
    num_seeds = min((len(table[name]) for table in tables for name in names), default=0)
    return {name: np.array([table[name][:num_seeds] for table in tables]) for name in names}
