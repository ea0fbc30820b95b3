"""Early stopping and model selection on validation scores."""

from typing import Any

import numpy as np

from mmjax.data.targets import main_score, row_nll, row_scores


class Validation:
    """Tracks which seeds improve on validation: a better score, or the same with a lower loss.

    Example:
        >>> watch, target = Validation(seeds=1, patience=2), np.array([0, 1])
        >>> right, wrong = np.array([[[2.0, 0.0], [0.0, 2.0]]]), np.array([[[2.0, 0.0]] * 2])
        >>> for step, prediction in {10: right, 20: wrong, 30: wrong}.items():
        ...     _ = watch.update(step, prediction, target)
        >>> watch.best_step.tolist(), watch.settled
        ([10], True)
    """

    def __init__(self, seeds: int, patience: int) -> None:
        """For a number of seeds, and of validations without improvement before a seed stops."""
        self.patience = patience
        self.improved = np.zeros(seeds, bool)
        self.given_up = np.zeros(seeds, bool)
        self.best_step = np.zeros(seeds, int)
        self.best_score = np.full(seeds, -np.inf)
        self.best_nll = np.full(seeds, np.inf)
        self.waited = np.zeros(seeds, int)

    @property
    def settled(self) -> bool:
        """Whether every seed has run out of patience or has diverged."""
        return bool(((self.waited >= self.patience) | self.given_up).all())

    def update(self, step: int, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Scores predictions [seeds, rows, out_dim] after a step; notes which seeds improved."""
        score, nll = row_scores(prediction, target), row_nll(prediction, target)
        score, nll = score.mean(axis=1), nll.mean(axis=1)
        better = (score > self.best_score) | ((score == self.best_score) & (nll < self.best_nll))
        # A seed that has stopped stays so: its result must not depend on the other seeds.
        running = (self.waited < self.patience) & ~self.given_up
        self.improved = better & np.isfinite(nll) & running
        self.waited = np.where(self.improved, 0, self.waited + 1)
        self.best_step = np.where(self.improved, step, self.best_step)
        self.best_score = np.where(self.improved, score, self.best_score)
        self.best_nll = np.where(self.improved, nll, self.best_nll)
        return {f"valid_{main_score(target)}": score, "valid_nll": nll}

    def dump(self) -> dict[str, list]:
        """The state, for JSON."""
        return {name: x.tolist() for name, x in vars(self).items() if isinstance(x, np.ndarray)}

    def load(self, known: dict[str, list]) -> None:
        """Restores the state from ``dump``."""
        for name, values in known.items():
            setattr(self, name, np.array(values, getattr(self, name).dtype))
