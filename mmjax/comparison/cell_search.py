"""Architecture search for the cells of the fusion ``searched``, before it is trained.

The budget is ``ROUNDS`` rounds of ``NUM_PROXIES`` short runs, each ``1 / SHARE`` as long as a full
one, with one seed, on encodings that are computed once. Test rows are never used.

Reference: Perez-Rua et al., MFAS: Multimodal Fusion Architecture Search (arXiv:1903.06496). Their
surrogate model is a recurrent network; here it is a random forest, which needs only a dozen points.
They train every first cell, extend all chains that they sampled, revise earlier cells in further
passes, and sample by a power of the predicted accuracy that grows with the passes. Here the first
cells are a sample, too, the three best chains are extended once, and the power is high throughout.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.special import softmax

from mmjax.comparison.encodings import encode
from mmjax.data.task import Task
from mmjax.errors import DivergenceError, UsageError
from mmjax.fusion.searched import ACTIVATIONS, NUM_LEVELS, Cell, SearchedFusion
from mmjax.methods import Joint
from mmjax.methods.mechanics import train_alone
from mmjax.training.fit import fit
from mmjax.training.recipe import Recipe, make_model

ROUNDS = 2
NUM_PROXIES = 6
SHARE = 4
_BEAM = 3
_TEMPERATURE = 0.02  # of the softmax over predicted accuracies that proposes candidates

Cells = tuple[Cell, ...]
Judge = Callable[[Sequence[Recipe], Task], list[float]]
"""Maps recipes and a task to validation scores, -inf for a recipe that diverges."""


def is_open(recipe: Recipe) -> bool:
    """Whether the recipe's fusion has cells that are still to be searched for."""
    fusion = recipe.model.fusion
    return isinstance(fusion, SearchedFusion) and not fusion.cells


def chosen_cells(recipe: Recipe) -> Cells:
    """The cells of the recipe's fusion; empty for a fusion without cells."""
    return getattr(recipe.model.fusion, "cells", ())


def choose_cells(recipe: Recipe, cells: Cells) -> Recipe:
    """The recipe with these cells in its fusion, which must be a ``SearchedFusion``."""
    model = recipe.model
    if not isinstance(model.fusion, SearchedFusion):
        got = type(model.fusion).__name__
        raise UsageError("cells", expected="a fusion that is searched", got=got)
    return replace(recipe, model=model.clone(fusion=model.fusion.clone(cells=cells)))


def search_steps(recipe: Recipe) -> int:
    """Training steps that the search takes."""
    runs = len(recipe.model.encoders) + ROUNDS * NUM_PROXIES
    return runs * _proxy(recipe).steps if is_open(recipe) else 0


def search(recipe: Recipe, task: Task, judge: Judge, progress: Callable[[int], None]) -> Recipe:
    """The recipe with the best cells on validation among those tried.

    Raises:
        DivergenceError: every candidate diverged.
    """
    proxy = _proxy(recipe)
    alone = train_alone(partial(fit, progress=progress), proxy, task, proxy.objective)
    (encoded,) = encode(task, alone)
    # A new model, because the recipe's scales and stand-ins belong to inputs, not to encodings;
    # neither do its augmentations.
    raw = dict.fromkeys(task.modalities, "raw")
    proxy = replace(proxy, model=make_model(encoded, recipe.model.fusion, raw), augment={})

    rng = np.random.default_rng(recipe.seeds[0])
    tried: dict[Cells, float] = {}
    for length in range(1, ROUNDS + 1):
        chosen = _choose(_candidates(tried, len(task.modalities)), tried, length, rng)
        scores = judge([choose_cells(proxy, cells) for cells in chosen], encoded)
        scored = zip(chosen, scores, strict=True)
        tried |= {cells: score for cells, score in scored if np.isfinite(score)}
    if not tried:
        raise DivergenceError(
            "cells",
            expected="at least one candidate that trains without diverging",
            got=f"none of {ROUNDS * NUM_PROXIES}",
            fix="Lower the learning rate.",
        )
    best = max(tried, key=tried.__getitem__)
    return choose_cells(recipe, best)


def _proxy(recipe: Recipe) -> Recipe:
    steps = math.ceil(recipe.steps / SHARE)
    return replace(recipe, seeds=recipe.seeds[:1], steps=steps, method=Joint())


def _candidates(tried: Mapping[Cells, float], num_modalities: int) -> list[Cells]:
    """Each of the best chains so far, extended by every possible cell."""
    levels = [range(NUM_LEVELS)] * num_modalities
    cells = list(product(*levels, range(len(ACTIVATIONS))))
    best = sorted(tried, key=tried.__getitem__, reverse=True)[:_BEAM] or [()]
    return [(*chain, cell) for chain in best for cell in cells]


def _choose(
    candidates: Sequence[Cells], tried: Mapping[Cells, float], length: int, rng: Any
) -> list[Cells]:
    """Samples candidates without replacement, in favour of those with a high predicted score."""
    expected = np.zeros(len(candidates))
    if tried:
        from sklearn.ensemble import RandomForestRegressor  # half a second

        forest = RandomForestRegressor(random_state=0)
        forest.fit(_describe([*tried], length), list(tried.values()))
        expected = forest.predict(_describe(candidates, length))
    size = min(NUM_PROXIES, len(candidates))
    chance = softmax(expected / _TEMPERATURE)
    return [candidates[i] for i in rng.choice(len(candidates), size, replace=False, p=chance)]


def _describe(chains: Sequence[Cells], length: int) -> np.ndarray:
    """Chains as rows of numbers, padded with -1 to ``length`` cells."""
    width = len(next(iter(chains))[0])
    rows = np.full((len(chains), length * width), -1.0)
    for row, chain in zip(rows, chains, strict=True):
        flat = np.ravel(chain)
        row[: len(flat)] = flat
    return rows
