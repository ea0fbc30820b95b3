"""What is left of the score when one modality is corrupted, and summaries of that."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import chex
import numpy as np
from scipy.integrate import trapezoid

from mmjax.analysis.corruptions import Sweep
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, identify, standard_error
from mmjax.data.targets import find_score
from mmjax.training.predict import Predict


def robustness_rows(arm: Arm, predict: Predict, params: chex.ArrayTree, sweep: Sweep) -> list[Row]:
    """The scores of a trained arm: one flat row per seed and condition.

    Severity 0, with corruption "", is the rows as they are, once for each modality. Conditions of
    modalities that the arm does not have are left out.

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
    judged = [({"modality": name, "corruption": "", "severity": 0}, unspoilt) for name in own]
    for modality, corruption, severity, values in sweep.conditions:
        if modality in own:
            where = {"modality": modality, "corruption": corruption, "severity": severity}
            spoilt = clean._replace(inputs={**inputs, modality: values})
            judged.append((where, predict(params, spoilt)))
    return [
        {
            **identify(arm),
            "seed": seed,
            "split": sweep.split,
            **where,
            **arm.task.scores(logits, clean.target),
        }
        for where, prediction in judged
        for seed, logits in zip(arm.recipe.seeds, prediction, strict=True)
    ]


class Curve(NamedTuple):
    """The score against severity.

    Attributes:
        severity: [severities], from 0.
        score: [seeds, severities].
    """

    severity: np.ndarray
    score: np.ndarray

    @property
    def area(self) -> np.ndarray:
        """[seeds], trapezoidal, over the largest severity; the mean score up to there."""
        return trapezoid(self.score, self.severity, axis=1) / self.severity[-1]


def score_curves(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Curve]]:
    """{(modality, corruption): {strategy: Curve}} from the rows of several arms."""
    found = defaultdict(dict)
    for row in rows:
        where = row["strategy"], row["modality"], row["corruption"]
        found[where][row["seed"], row["severity"]] = row[find_score(row)]
    curves = defaultdict(dict)
    for (strategy, modality, corruption), spoilt in found.items():
        if corruption:
            points = found[strategy, modality, ""] | spoilt
            seeds, severities = (sorted(set(part)) for part in zip(*points, strict=True))
            score = [[points[seed, severity] for severity in severities] for seed in seeds]
            curves[modality, corruption][strategy] = Curve(np.array(severities), np.array(score))
    return dict(curves)


def robustness_summary(rows: Sequence[Row]) -> list[Row]:
    """One flat row per modality, corruption and strategy.

    - ``clean``: the score, such as accuracy, on the rows as they are.
    - ``area``: area under the score-severity curve, from severity 0 on, over the largest
      severity: the score that is left on average. Liang et al., MultiBench (arXiv:2107.07502),
      call it relative robustness.
    - ``area_error``: its standard error over the seeds, NaN for one.
    - ``relative``: area minus the mean area of the strategies in the rows; what Taori et al.,
      Measuring Robustness to Natural Distribution Shifts in Image Classification
      (arXiv:2007.00644), call relative robustness, with the mean strategy for the one without.
    - ``effective``: the same after the curve of the mean strategy is shifted to this one's clean
      accuracy: how much less is lost than on average. It is the effective robustness of
      MultiBench, whose reference is late fusion; that of Taori et al. is fitted in logits, for
      which the clean accuracies of one comparison are too alike.

    ``relative`` and ``effective`` sum to 0 over the strategies of a modality and corruption, and
    can be compared only between strategies that were run together.
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
