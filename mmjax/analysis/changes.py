"""What a change of one factor of an ablation does, in words."""

from collections.abc import Sequence
from typing import NamedTuple

from mmjax.analysis.statistics import Pair
from mmjax.comparison.ablation import KEPT, REMOVED
from mmjax.types import Metric

_MOST = 3  # factors without a significant effect that the headline tells in full


class Change(NamedTuple):
    """A step of one factor from the level of the reference to another, and what it does."""

    factor: str
    levels: tuple[str, str]
    pair: Pair
    p: float
    told: bool

    @property
    def removes(self) -> bool:
        """Whether a component is removed."""
        return self.levels == (KEPT, REMOVED)


def headline(changes: Sequence[Change], metric: Metric) -> str:
    """One sentence: what matters and by how much, and what is not seen to.

    Args:
        changes: of all factors; each factor is told by the one that is largest, first among those
            that are significant.
        metric: of the differences.
    """
    by_factor: dict[str, list[Change]] = {}
    for change in changes:
        by_factor.setdefault(change.factor, []).append(change)
    strongest = lambda some: max(some, key=lambda c: (c.told, abs(c.pair.difference.mean)))
    each = sorted(map(strongest, by_factor.values()), key=lambda c: -abs(c.pair.difference.mean))
    told = [_tell(change, metric) for change in each if change.told]
    quiet = [change for change in each if not change.told]
    parts = told + ([_tell_quiet(quiet, metric)] if quiet else [])
    if not parts:
        return "No effect could be judged: the variants that were trained determine none."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _tell(change: Change, metric: Metric) -> str:
    mean = change.pair.difference.mean
    gain, interval = metric.format_gain, tell_interval(change.pair, metric)
    if change.removes:
        verb = "costs" if mean < 0 else "gains"
        return f"removing {change.factor} {verb} {metric.amount(abs(mean))} ({interval})"
    was, now = change.levels
    points = f"{gain(mean)} points" if metric.percent else f"{gain(mean)} of {metric.label}"
    return f"{change.factor} matters ({points} from {was} to {now}, {interval})"


def tell_interval(pair: Pair, metric: Metric) -> str:
    """The interval of a difference.

    Example:
        >>> import numpy as np
        >>> from mmjax.analysis.statistics import compare_pair
        >>> from mmjax.metrics import METRICS
        >>> right = np.repeat([[[1.0]], [[0.0]]], 10, axis=-1)
        >>> tell_interval(compare_pair(*right, np.arange(10)), METRICS["accuracy"])
        '95 % interval +58.7 to +100.0'
    """
    _, _, low, high = pair.difference
    return f"95 % interval {metric.format_gain(low)} to {metric.format_gain(high)}"


def _tell_quiet(changes: Sequence[Change], metric: Metric) -> str:
    def shown(change: Change) -> str:
        steps = "" if change.removes else f"{change.levels[0]} to {change.levels[1]}: "
        gain = metric.format_gain(change.pair.difference.mean)
        interval = tell_interval(change.pair, metric).removeprefix("95 % ")
        name = f"removing {change.factor}" if change.removes else change.factor
        return f"{name} ({steps}{gain}, {interval})"

    if len(changes) > _MOST:
        names = [c.factor for c in changes]
        return f"no effect of {', '.join(names[:-1])} or {names[-1]} is seen"
    return f"no effect is seen of {', or of '.join(map(shown, changes))}"


def tell_step(factor: str, levels: tuple[str, str]) -> str:
    """A step of a factor, without what it does.

    Example:
        >>> tell_step("width", ("64", "128")), tell_step("gate", (KEPT, REMOVED))
        ('width from 64 to 128', 'removing gate')
    """
    was, now = levels
    return f"removing {factor}" if levels == (KEPT, REMOVED) else f"{factor} from {was} to {now}"
