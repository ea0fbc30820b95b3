"""Effects of the factors of a design, as contrasts of the scores of its variants."""

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.statistics import VERDICTS, Pair, holm
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.designs import code, model_columns, multiply


class Effect(NamedTuple):
    """How much better a level of a factor is than that of the reference.

    It is an average over the levels of the other factors. That of two factors is by how much the
    difference between two levels of one is larger at a level of the other than at its reference.

    Attributes:
        factors: one name, or two.
        levels: for each, (level of the reference, other level), in words.
        pair: the difference.
        p: corrected for all effects of one factor, or for all of two.
        verdict: one of ``VERDICTS``.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]
    pair: Pair
    p: float
    verdict: str

    @property
    def told(self) -> bool:
        """Whether it is significant."""
        return self.verdict in VERDICTS[:2]


def main_effects(answers: Answers, ablation: Ablation) -> list[Effect]:
    """The effect of each level of each factor, where the variants determine it.

    Least squares on all variants, in which the levels of a factor sum to zero: in a grid the
    differences of the means over all other factors. Seeds and rows are paired, and the contrast is
    tested as the difference between two strategies is.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> points = {"ac": (0, 0), "ad": (0, 1), "bc": (1, 0), "bd": (1, 1)}
        >>> scores = {n: rng.random((3, 300)) < 0.5 + 0.3 * p[0] for n, p in points.items()}
        >>> factors = {"x": ("a", "b"), "y": ("c", "d")}
        >>> answers = Answers(scores, np.arange(300), {}, [], "test")
        >>> [e.verdict for e in main_effects(answers, Ablation("ac", "grid", factors, points))]
        ['better', 'not distinguishable']
    """
    return _estimate(answers, ablation, order=1)


def interactions(answers: Answers, ablation: Ablation) -> list[Effect]:
    """The interaction of each pair of levels of two factors, where the variants determine it."""
    return _estimate(answers, ablation, order=2)


def _estimate(answers: Answers, ablation: Ablation, order: int) -> list[Effect]:
    """The effects of ``order`` factors, in a model with those of fewer."""
    names = [name for name in ablation.points if name in answers.scores]
    points = [ablation.points[name] for name in names]
    levels = [len(words) for words in ablation.factors.values()]
    columns = model_columns(points, levels, order)
    matrix = np.hstack([*columns.values()])
    inverse = np.linalg.pinv(matrix)
    scores = np.stack([answers.scores[name] for name in names]).astype(np.float64)
    found = []
    for factors, steps, contrast in _contrasts(ablation, columns, order):
        weights = (contrast @ inverse).round(12)  # so that those of no weight have none
        if not np.allclose(weights @ matrix, contrast, atol=1e-6):
            continue  # which the variants that were trained do not determine
        part = lambda w: np.einsum("v,vsr->sr", np.maximum(w, 0), scores)
        found.append((factors, steps, answers.test(part(weights), part(-weights))))
    corrected = holm([pair.p for *_, pair in found]).tolist()
    return [
        Effect(factors, steps, pair, p, pair.verdict(p))
        for (factors, steps, pair), p in zip(found, corrected, strict=True)
    ]


def _contrasts(
    ablation: Ablation, columns: Mapping[tuple[int, ...], np.ndarray], order: int
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, str], ...], np.ndarray]]:
    """The factors of each effect, their levels in words, and its contrast of coefficients."""
    sizes = [part.shape[1] for part in columns.values()]
    ends = dict(zip(columns, np.cumsum(sizes), strict=True))
    factors = list(ablation.factors.items())
    codes = [code(len(words)) for _, words in factors]
    for places in combinations(range(len(factors)), order):
        for chosen in product(*(range(1, len(codes[i])) for i in places)):
            each = list(zip(places, chosen, strict=True))
            (own,) = multiply([codes[i][[k]] - codes[i][[0]] for i, k in each])
            contrast = np.zeros(sum(sizes))
            contrast[ends[places] - len(own) : ends[places]] = own
            steps = tuple((factors[i][1][0], factors[i][1][k]) for i, k in each)
            yield tuple(factors[i][0] for i in places), steps, contrast
