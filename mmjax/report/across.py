"""What a page shows of several studies together."""

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


def over_tasks(studies: Sequence[Study]) -> list[Drawing]:
    """Figures over several tasks, of the strategies and seeds that all tasks share.

    The best modality alone, chosen on validation, counts as one strategy, whatever its name.
    """
    scores = _shared_scores(studies)
    if len(studies) < 2 or not scores:
        return []
    by_mean = sorted(scores, key=lambda name: -interquartile_mean(scores[name]))
    best = {name: scores[name] for name in by_mean[:_NUM_PROFILES]}
    tasks = f"{len(studies)} tasks"
    drawings = [
        Drawing(
            "Interquartile means",
            f"Mean score of the middle half of all runs on {tasks}, with 95 % intervals over "
            "seeds. One task where a strategy fails, or shines, does not decide.",
            interquartile_figure(scores),
        ),
        Drawing(
            "Performance profiles",
            "How many runs exceed a score. A curve that is above another everywhere is better "
            "whatever score is asked for; where curves cross, it depends on what is. The "
            f"{len(best)} best by interquartile mean.",
            profiles_figure(best),
        ),
    ]
    if len(scores) > 2:
        ranking = rank(np.array([values.mean(axis=1) for values in scores.values()]).T)
        figure = critical_difference_figure(list(scores), ranking)
        caption = (
            f"Mean ranks over {tasks}, the best on the left. Bars join strategies that these tasks "
            f"cannot tell apart (Nemenyi's test, 5 %). Friedman's test that all are alike: "
            f"{format_p(ranking.p)}."
        )
        drawings.insert(0, Drawing("Critical differences", caption, figure))
    return drawings


def _shared_scores(studies: Sequence[Study]) -> dict[str, np.ndarray]:
    """{strategy: [tasks, seeds] of their scores}."""
    tables = []
    for study in studies:
        table = {name: study.scores(name, study.metric) for name in study.strategies}
        alone = max(study.baselines, key=study.on_validation, default=None)
        fusions = {name: values for name, values in table.items() if name not in study.baselines}
        tables.append({**fusions, **({"best modality alone": table[alone]} if alone else {})})
    names = [name for name in tables[0] if all(name in table for table in tables)]
    num_seeds = min((len(table[name]) for table in tables for name in names), default=0)
    return {name: np.array([table[name][:num_seeds] for table in tables]) for name in names}
