"""Robustness of the score to the corruption of one modality."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import chain, groupby
from typing import NamedTuple

import chex
import jax
import numpy as np
from scipy.integrate import trapezoid

from mmjax.analysis.corruptions import Condition, Sweep
from mmjax.analysis.summary import Rows
from mmjax.comparison.arm import Arm
from mmjax.comparison.frozen import EncodedTask
from mmjax.comparison.frozen_encoder import FrozenEncoder
from mmjax.comparison.scores import Row, identify, standard_error
from mmjax.data.task import Task
from mmjax.metrics import metric_of
from mmjax.training.predict import Predict


def robustness_rows(arm: Arm, predict: Predict, params: chex.ArrayTree, sweep: Sweep) -> list[Row]:
    """The scores of a trained arm: one flat row per seed and condition.

    Severity 0 with corruption "" stands for the clean rows, once for each modality. Conditions on
    modalities that the arm does not use are omitted.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
        sweep: of the same task with all of its modalities.
    """
    own = arm.task.modalities
    inputs, present = ({name: part[name] for name in own} for part in sweep.rows[:2])
    clean = sweep.rows._replace(inputs=inputs, present=present)
    unspoilt = predict(params, clean)
    scored: list[tuple[Row, np.ndarray]]
    scored = [({"modality": name, "corruption": "", "severity": 0}, unspoilt) for name in own]
    for (modality, corruption), found in groupby(sweep.conditions, lambda c: c[:2]):
        some = list(found)
        if modality in own:
            # All severities at once: a few rows would leave most of a chunk empty.
            rows = jax.tree.map(lambda x, n=len(some): np.concatenate([x] * n), clean)
            values = np.concatenate([c.values for c in some])
            spoilt = rows._replace(inputs={**rows.inputs, modality: values})
            parts = np.split(predict(params, spoilt), len(some), axis=1)
            where = {"modality": modality, "corruption": corruption}
            severities = [{**where, "severity": c.severity} for c in some]
            scored += zip(severities, parts, strict=True)
    size = len(clean.target)
    return [
        {
            **identify(arm),
            "seed": seed,
            "split": sweep.split,
            "rows": size,
            **where,
            **arm.task.scores(logits, np.asarray(clean.target)),
        }
        for where, prediction in scored
        for seed, logits in zip(arm.recipe.seeds, prediction, strict=True)
    ]


def behind_encoders(sweep: Sweep) -> Callable[[Task], Sweep]:
    """Makes ``task -> the sweep as its arms see it``: behind the frozen encoders of the task.

    Each encoder sees each condition once, whatever the number of tasks.
    """

    @cache
    def encoded(frozen: FrozenEncoder) -> tuple[np.ndarray, list[Condition]]:
        present = np.asarray(sweep.rows.present[frozen.name])
        see = lambda values: frozen.features(np.asarray(values), present)
        own = [c for c in sweep.conditions if c.modality == frozen.name]
        return see(sweep.rows.inputs[frozen.name]), [c._replace(values=see(c.values)) for c in own]

    def seen_by(task: Task) -> Sweep:
        frozen = task.frozen if isinstance(task, EncodedTask) else {}
        found = {name: encoded(encoder) for name, encoder in frozen.items()}
        clean = {name: values for name, (values, _) in found.items()}
        others = [c for c in sweep.conditions if c.modality not in frozen]
        rows = sweep.rows._replace(inputs={**sweep.rows.inputs, **clean})
        seen = [*others, *chain.from_iterable(spoilt for _, spoilt in found.values())]
        return sweep._replace(rows=rows, conditions=seen)

    return seen_by


class Curve(NamedTuple):
    """The score as a function of severity.

    Attributes:
        severity: [severities], from 0.
        score: [seeds, severities].

    Example:
        >>> Curve(np.array([0, 1, 2]), np.array([[1.0, 0.5, 0.5]])).area.tolist()
        [0.625]
    """

    severity: np.ndarray
    score: np.ndarray

    @property
    def area(self) -> np.ndarray:
        """[seeds] trapezoidal area over the largest severity: the mean score up to there."""
        return trapezoid(self.score, self.severity, axis=1) / self.severity[-1]


def score_curves(rows: Rows) -> dict[tuple[str, str], dict[str, Curve]]:
    """{(modality, corruption): {strategy: Curve}} from the rows of several arms.

    Example:
        >>> arm = {"strategy": "sum", "modality": "image", "seed": 0}
        >>> rows = [{**arm, "corruption": "", "severity": 0, "accuracy": 0.9},
        ...         {**arm, "corruption": "blur", "severity": 5, "accuracy": 0.6}]
        >>> score_curves(rows)["image", "blur"]["sum"].score.tolist()  # from the clean score on
        [[0.9, 0.6]]
    """
    found: dict[tuple[str, str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for row in rows:
        where = row["strategy"], row["modality"], row["corruption"]
        found[where][row["seed"], row["severity"]] = row[metric_of(row).name]
    curves: dict[tuple[str, str], dict[str, Curve]] = defaultdict(dict)
    for (strategy, modality, corruption), spoilt in found.items():
        if corruption:
            points = found[strategy, modality, ""] | spoilt
            seeds, severities = (sorted(set(part)) for part in zip(*points, strict=True))
            score = [[points[seed, severity] for severity in severities] for seed in seeds]
            curves[modality, corruption][strategy] = Curve(np.array(severities), np.array(score))
    return dict(curves)


def robustness_summary(rows: Rows) -> list[Row]:
    """One flat row per modality, corruption and strategy.

    - ``clean``: the score, such as accuracy, on the clean rows.
    - ``area``: area under the score-severity curve from severity 0, divided by the largest
      severity: the mean remaining score. Liang et al., MultiBench (arXiv:2107.07502), call it
      relative robustness.
    - ``area_error``: its standard error over the seeds, NaN for one.
    - ``relative``: area minus the mean area of the strategies in the rows. It is the relative
      robustness of Taori et al., Measuring Robustness to Natural Distribution Shifts in Image
      Classification (arXiv:2007.00644), with the mean strategy as their model without robustness
      intervention.
    - ``effective``: the same after the curve of the mean strategy is shifted to this one's clean
      score: how much less is lost than on average. It is the effective robustness of MultiBench,
      whose reference is late fusion; that of Taori et al. is fitted in logits, for which the clean
      accuracies of one comparison are too similar.

    ``relative`` and ``effective`` sum to 0 over the strategies of a modality and corruption, and
    are comparable only between strategies that were run together.

    Example:
        >>> rows = [{"strategy": name, "modality": "image", "seed": 0, "corruption": corruption,
        ...          "severity": severity, "accuracy": score}
        ...         for name, after in (("sum", 0.5), ("gmu", 0.75))
        ...         for corruption, severity, score in (("", 0, 1.0), ("blur", 5, after))]
        >>> {row["strategy"]: row["relative"] for row in robustness_summary(rows)}
        {'sum': -0.0625, 'gmu': 0.0625}
    """
    summary = []
    for (modality, corruption), curves in score_curves(rows).items():
        areas = {strategy: curve.area for strategy, curve in curves.items()}
        clean = {strategy: curve.score[:, 0].mean() for strategy, curve in curves.items()}
        mean_area = np.mean([area.mean() for area in areas.values()])
        mean_clean = np.mean(list(clean.values()))
        for strategy, area in areas.items():
            relative = area.mean() - mean_area
            numbers = {
                "clean": clean[strategy],
                "area": area.mean(),
                "area_error": standard_error(area),
                "relative": relative,
                "effective": relative - (clean[strategy] - mean_clean),
            }
            names = {"modality": modality, "corruption": corruption, "strategy": strategy}
            summary.append(names | {name: float(number) for name, number in numbers.items()})
    return summary
