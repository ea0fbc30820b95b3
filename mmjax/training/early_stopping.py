"""Early stopping and model selection on validation scores."""

import numpy as np


class Validation:
    """Tracks which seeds improve on validation: a better score, or the same with a lower loss.

    Example:
        >>> watch = Validation(seeds=1, patience=2)
        >>> for step, score in {10: 0.9, 20: 0.8, 30: 0.7}.items():
        ...     watch.update(step, np.array([score]), nll=np.array([1.0]))
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
    def stopped(self) -> np.ndarray:
        """[seeds] bool, which seeds have run out of patience or have diverged."""
        return (self.waited >= self.patience) | self.given_up

    @property
    def settled(self) -> bool:
        """Whether every seed has stopped."""
        return bool(self.stopped.all())

    def update(self, step: int, score: np.ndarray, nll: np.ndarray) -> None:
        """Notes which seeds improved, by scores (higher is better) and losses [seeds]."""
        better = (score > self.best_score) | ((score == self.best_score) & (nll < self.best_nll))
        # A seed that has stopped stays so: its result must not depend on the other seeds.
        self.improved = better & np.isfinite(nll) & ~self.stopped
        self.waited = np.where(self.improved, 0, self.waited + 1)
        self.best_step = np.where(self.improved, step, self.best_step)
        self.best_score = np.where(self.improved, score, self.best_score)
        self.best_nll = np.where(self.improved, nll, self.best_nll)

    def dump(self) -> dict[str, list]:
        """The state, for JSON."""
        return {name: x.tolist() for name, x in vars(self).items() if isinstance(x, np.ndarray)}

    def load(self, known: dict[str, list]) -> None:
        """Restores the state from ``dump``."""
        for name, values in known.items():
            setattr(self, name, np.array(values, getattr(self, name).dtype))
