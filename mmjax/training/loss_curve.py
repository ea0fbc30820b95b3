"""The training loss between validations, for learning curves."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

POINTS = 25
"""Into how many stretches a run is cut, at least; the end of a round is the end of one as well."""


class LossCurve:
    """The loss over short stretches of steps, from the sums that training keeps of each round.

    Example:
        >>> curve = LossCurve(steps=100, per_round=8)
        >>> for step, loss in {4: 8.0, 8: 12.0, 12: 2.0}.items():  # sums since the round began
        ...     curve.note(step, {"loss": np.array([loss]), "skipped": np.array([0])})
        >>> [(entry["step"], entry["recent_loss"].item()) for entry in curve.means()]
        [(4, 2.0), (8, 1.0), (12, 0.5)]
    """

    def __init__(self, steps: int, per_round: int) -> None:
        """For a run of so many steps in rounds of so many."""
        self._every, self._per_round = math.ceil(steps / POINTS), per_round
        self._steps = steps
        self.sums: list[tuple[int, list[float], list[int]]] = []  # as JSON has them

    def end(self, step: int) -> int:
        """Where the stretch ends that the next step belongs to, unless a round ends before."""
        return min((step // self._every + 1) * self._every, self._steps)

    def is_end(self, step: int) -> bool:
        """Whether a stretch ends with this step."""
        return step == self._steps or step % self._every == 0 or step % self._per_round == 0

    def note(self, step: int, total: Mapping[str, Any]) -> None:
        """Notes the sums [seeds] over the steps of the round so far, at the end of a stretch."""
        loss, skipped = (np.asarray(total[name]).tolist() for name in ("loss", "skipped"))
        self.sums.append((step, loss, skipped))

    def means(self) -> Iterator[dict[str, Any]]:
        """The step at the end of each stretch, and [seeds] its mean loss, skipped steps aside."""
        before: tuple[int, Any, Any] = 0, 0.0, 0
        for step, loss, skipped in self.sums:
            if before[0] % self._per_round == 0:
                before = before[0], 0.0, 0  # sums begin anew
            taken = step - before[0] - np.subtract(skipped, before[2])
            mean = np.subtract(loss, before[1]) / np.where(taken > 0, taken, np.nan)
            yield {"step": step, "recent_loss": mean}
            before = step, loss, skipped
