"""What training learns from validation after each epoch."""

from typing import Any

import numpy as np

from mmjax.data.targets import main_score, row_nll, row_scores


class Validation:
    """Which seeds have just improved on validation: a better score, or the same with less loss."""

    def __init__(self, seeds: int, patience: int) -> None:
        """For so many seeds, each of which waits for so many epochs."""
        self.patience = patience
        self.improved = np.zeros(seeds, bool)
        self.given_up = np.zeros(seeds, bool)
        self.best_step = np.zeros(seeds, int)
        self.best_score = np.full(seeds, -np.inf)
        self.best_nll = np.full(seeds, np.inf)
        self.waited = np.zeros(seeds, int)

    @property
    def settled(self) -> bool:
        """Whether no seed goes on: each has waited in vain, or was given up."""
        return bool(((self.waited >= self.patience) | self.given_up).all())

    def update(self, step: int, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Scores [seeds, rows, out_dim] after a step, and decides who has improved."""
        score, nll = row_scores(prediction, target), row_nll(prediction, target)
        score, nll = score.mean(axis=1), nll.mean(axis=1)
        better = (score > self.best_score) | ((score == self.best_score) & (nll < self.best_nll))
        # A seed that has settled stays so: its result must not depend on the seeds beside it.
        running = (self.waited < self.patience) & ~self.given_up
        self.improved = better & np.isfinite(nll) & running
        self.waited = np.where(self.improved, 0, self.waited + 1)
        self.best_step = np.where(self.improved, step, self.best_step)
        self.best_score = np.where(self.improved, score, self.best_score)
        self.best_nll = np.where(self.improved, nll, self.best_nll)
        return {f"valid_{main_score(target)}": score, "valid_nll": nll}

    def dump(self) -> dict[str, list]:
        """All that it knows, for JSON."""
        return {name: x.tolist() for name, x in vars(self).items() if isinstance(x, np.ndarray)}

    def load(self, known: dict[str, list]) -> None:
        """Takes over what ``dump`` has said."""
        for name, values in known.items():
            setattr(self, name, np.array(values, getattr(self, name).dtype))
