"""Effects of the factors of a design, as contrasts of the scores of its variants."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.statistics import VERDICTS, Pair, holm
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.designs import code, model_matrix


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
    names, points, levels = _trained(answers, ablation)
    found = []
    for place, (name, words) in enumerate(ablation.factors.items()):
        for level in range(1, len(words)):
            contrast = _expand({place: level}, levels)
            found.append(((name,), ((words[0], words[level]),), contrast))
    return _test(answers, names, model_matrix(points, levels), found)


def interactions(answers: Answers, ablation: Ablation) -> list[Effect]:
    """The interaction of each pair of levels of two factors, where the variants determine it."""
    names, points, levels = _trained(answers, ablation)
    main, index = model_matrix(points, levels), np.array(points)
    blocks, contrasts = [main], []
    width = main.shape[1]
    sizes = [(levels[i] - 1) * (levels[j] - 1) for i, j in combinations(range(len(levels)), 2)]
    total = width + sum(sizes)
    factors = list(ablation.factors.items())
    for (i, j), size in zip(combinations(range(len(levels)), 2), sizes, strict=True):
        own = np.einsum("pa,pb->pab", code(levels[i])[index[:, i]], code(levels[j])[index[:, j]])
        blocks.append(own.reshape(len(points), size))
        (one, words), (other, others) = factors[i], factors[j]
        for a, b in product(range(1, levels[i]), range(1, levels[j])):
            contrast = np.zeros(total)
            steps = code(levels[i])[a] - code(levels[i])[0], code(levels[j])[b] - code(levels[j])[0]
            contrast[width : width + size] = np.outer(*steps).reshape(-1)
            pairs = (words[0], words[a]), (others[0], others[b])
            contrasts.append(((one, other), pairs, contrast))
        width += size
    return _test(answers, names, np.hstack(blocks), contrasts)


def _trained(answers: Answers, ablation: Ablation) -> tuple[list[str], list, list[int]]:
    names = [name for name in ablation.points if name in answers.scores]
    levels = [len(words) for words in ablation.factors.values()]
    return names, [ablation.points[name] for name in names], levels


def _expand(chosen: Mapping[int, int], levels: Sequence[int]) -> np.ndarray:
    """The contrast of main effects between chosen levels and those of the reference."""
    parts = [
        code(n)[chosen[i]] - code(n)[0] if i in chosen else np.zeros(n - 1)
        for i, n in enumerate(levels)
    ]
    return np.concatenate([np.zeros(1), *parts])


Contrast = tuple[tuple[str, ...], tuple[tuple[str, str], ...], np.ndarray]


def _test(
    answers: Answers, names: Sequence[str], matrix: np.ndarray, contrasts: Sequence[Contrast]
) -> list[Effect]:
    inverse = np.linalg.pinv(matrix)
    scores = np.stack([answers.scores[name] for name in names]).astype(np.float64)
    found: list[tuple[tuple[str, ...], tuple[tuple[str, str], ...], Pair]] = []
    for factors, levels, contrast in contrasts:
        weights = (contrast @ inverse).round(12)  # so that those of no weight have none
        if not np.allclose(weights @ matrix, contrast, atol=1e-6):
            continue  # which the variants that were trained do not determine
        part = lambda w: np.einsum("v,vsr->sr", np.maximum(w, 0), scores)
        found.append((factors, levels, answers.test(part(weights), part(-weights))))
    corrected = holm([pair.p for *_, pair in found]).tolist() if found else []
    verdict: Callable[[Pair, float], str] = lambda pair, p: pair.verdict(p)
    return [
        Effect(factors, levels, pair, p, verdict(pair, p))
        for (factors, levels, pair), p in zip(found, corrected, strict=True)
    ]
