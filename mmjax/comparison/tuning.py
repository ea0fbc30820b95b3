"""Random search over hyperparameters: the same trials for every arm, judged on validation."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.training.fit import Fit, fit
from mmjax.training.optimiser import per_seed
from mmjax.training.recipe import Recipe, adam_of, join_lanes
from mmjax.training.sizes import set_width
from mmjax.types import Metric

LEARNING_RATES = (3e-4, 3e-2)
WEIGHT_DECAYS = (1e-5, 1e-1)
WIDENINGS = (0.5, 1.0, 2.0)
"""The search space; the first two are log-uniform between their limits."""
_WORST = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters.

    Attributes:
        learning_rate: the peak, after warm-up.
        weight_decay: of AdamW.
        widening: factor on the width of the fusion; 1 where it has none.
        method: (field, value) pairs of the training method.
    """

    learning_rate: float
    weight_decay: float
    widening: float
    method: tuple[tuple[str, Any], ...] = ()

    @property
    def program(self) -> tuple[Any, ...]:
        """What trials must share to train in one program."""
        return self.widening, self.method


def draw_trials(recipe: Recipe, count: int, seed: int = 0) -> list[Trial]:
    """The recipe as it is and ``count - 1`` random variants, the same for all arms.

    Fields of the training method take the values of ``Method.tried``. Random search (Bergstra and
    Bengio, JMLR 13, 2012) carries no state from trial to trial, so that trials of one width and
    one method can train in one program.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> from mmjax.training.recipe import Recipe
        >>> recipe = Recipe(make_model(synthetic(size=100), "sum"))
        >>> first, second, third = draw_trials(recipe, 3)
        >>> first.learning_rate == recipe.tx.learning_rate != second.learning_rate
        True
    """
    rng = np.random.default_rng(seed)

    def between(limits: tuple[float, float]) -> float:
        return float(np.exp(rng.uniform(*np.log(limits))))

    drawn = [
        Trial(between(LEARNING_RATES), between(WEIGHT_DECAYS), float(rng.choice(WIDENINGS)))
        for _ in range(count - 1)
    ]
    if not hasattr(recipe.model.fusion, "width"):
        drawn = [replace(trial, widening=1.0) for trial in drawn]
    choose = np.random.default_rng((seed, 1)).integers
    fields = lambda: [(n, tried[choose(len(tried))]) for n, tried in recipe.method.tried.items()]
    drawn = [replace(trial, method=tuple(fields())) for trial in drawn]
    adam = adam_of(recipe)
    (rate, *_), (decay, *_) = per_seed(adam.learning_rate), per_seed(adam.weight_decay)
    return [Trial(rate, decay, 1.0), *drawn]


def tune_steps(recipe: Recipe, count: int) -> int:
    """Training steps that ``tune`` takes; trials of one program share theirs."""
    programs = {trial.program for trial in draw_trials(recipe, count)} if count else ()
    return len(programs) * recipe.planned_steps


def apply_trial(recipe: Recipe, trial: Trial) -> Recipe:
    """The recipe with the hyperparameters of a trial.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> from mmjax.training.recipe import Recipe
        >>> recipe = Recipe(make_model(synthetic(size=100), "sum"))
        >>> apply_trial(recipe, Trial(0.01, 0.0, widening=2.0)).model.fusion.width
        128
    """
    rates = {"learning_rate": trial.learning_rate, "weight_decay": trial.weight_decay}
    tx = replace(adam_of(recipe), **rates)
    method: Any = recipe.method  # a dataclass if it has fields
    method = replace(method, **dict(trial.method)) if trial.method else method
    return replace(_widen(recipe, trial.widening), tx=tx, method=method)


def tune(
    recipe: Recipe, task: Task, count: int, progress: Callable[[int], None] = lambda steps: None
) -> tuple[Trial, list[float]]:
    """The best trial on validation, and how good each is: its score, or minus it.

    A trial is one full training run with one seed, a different one for each trial.

    Args:
        recipe: what to tune.
        task: the data; its test split is not used.
        count: number of trials.
        progress: called after each epoch with the number of steps that it took.

    Raises:
        DivergenceError: all trials diverged.
    """
    trials = draw_trials(recipe, count)
    scores: dict[int, tuple[float, float]] = {}
    diverged: DivergenceError | None = None
    for program in dict.fromkeys(trial.program for trial in trials):
        members = [i for i, trial in enumerate(trials) if trial.program == program]
        lanes = [replace(apply_trial(recipe, trials[i]), seeds=(i,)) for i in members]
        try:
            trained = fit(join_lanes(lanes), task, progress=progress)
            found = best_scores(trained, task.metric)
        except DivergenceError as error:
            found, diverged = [_WORST] * len(members), error
        scores |= zip(members, found, strict=True)
    best = max(scores, key=scores.__getitem__)
    if diverged and scores[best] == _WORST:
        raise diverged
    return trials[best], [scores[i][0] for i in range(count)]


def _widen(recipe: Recipe, widening: float) -> Recipe:
    if widening == 1:
        return recipe
    width = widening * recipe.model.fusion.width
    return replace(recipe, model=set_width(recipe.model, width))


def best_scores(trained: Fit, metric: Metric) -> list[tuple[float, float]]:
    """(score, -NLL) on validation of each lane at its best step; -inf if it had none.

    The score is negated if lower is better.
    """
    epochs = {epoch["step"]: epoch for epoch in trained.history}

    def score(step: int, lane: int) -> tuple[float, float]:
        epoch = epochs[step]
        value = metric.sign * epoch[f"valid_{metric.name}"][lane]
        return float(value), -float(epoch["valid_nll"][lane])

    return [
        score(step, lane) if step else _WORST
        for lane, step in enumerate(trained.best_step.tolist())
    ]
