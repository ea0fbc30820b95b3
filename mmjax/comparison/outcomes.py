"""The outcome of an arm: a result with all its measurements, or a failure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row
from mmjax.errors import UsageError, look_up
from mmjax.training.fit import Fit


class Embedded(NamedTuple):
    """Embeddings of some rows of a split.

    Attributes:
        values: {modality or "fused": [seeds, rows, features]}.
        target: of the rows.
    """

    values: Mapping[str, np.ndarray]
    target: np.ndarray


EXAMINATIONS = ("missing", "corruptions", "embeddings", "weights", "cost")
"""Measurements that can be taken of a trained arm beyond its scores."""
FULL = "full"
"""All of them, and corruptions on every row rather than on a sample."""


def parse_examine(asked: str | Sequence[str]) -> tuple[str, ...]:
    """The names of ``EXAMINATIONS`` that "all", "full", "scores" or a list of names stand for.

    "full" itself is among the names it stands for.

    Raises:
        UnknownNameError: there is no such examination.

    Example:
        >>> parse_examine("scores"), parse_examine(["cost", "missing"])
        ((), ('missing', 'cost'))
    """
    names = [asked] if isinstance(asked, str) else list(asked)
    if names == ["scores"]:
        return ()
    if names == ["all"]:
        return EXAMINATIONS
    for name in names:
        look_up("examine", name, dict.fromkeys(("all", FULL, "scores", *EXAMINATIONS)))
    if {"all", "scores"} & set(names):
        raise UsageError("examine", expected="all or scores alone", got=", ".join(names))
    if FULL in names:
        return (*EXAMINATIONS, FULL)
    return tuple(name for name in EXAMINATIONS if name in names)


class Examination(NamedTuple):
    """Measurements of a trained arm beyond its scores on validation and test.

    Attributes:
        scores: flat rows of scores with modalities hidden.
        tables: {name of a table: flat rows}.
        embedded: embeddings of some rows of the scored split, the same for all arms.
    """

    scores: Sequence[Row] = ()
    tables: Mapping[str, Sequence[Row]] = {}
    embedded: Embedded | None = None


class ArmResult(NamedTuple):
    """The result of an arm.

    Attributes:
        arm: the arm, with the results of its searches.
        trained: its training.
        rows: flat rows of scores.
        predictions: {"seeds": [seeds], "valid" and "test": [seeds, rows, out_dim]}.
        tables: {name of a table: flat rows}.
        embedded: as in ``Examination``.
    """

    arm: Arm
    trained: Fit
    rows: list[Row]
    predictions: dict[str, np.ndarray]
    tables: Mapping[str, Sequence[Row]]
    embedded: Embedded | None


class ArmFailure(NamedTuple):
    """An arm that could not be trained, scored or examined, and the error."""

    arm: Arm
    error: Exception

    @property
    def reason(self) -> str:
        """The type of the error and the first line of its message."""
        return f"{type(self.error).__name__}: {self.error}".splitlines()[0]


def unfailing(outcomes: Iterable[ArmResult | ArmFailure]) -> Iterator[ArmResult]:
    """Yields the results, and raises the error of the first failure."""
    for outcome in outcomes:
        if isinstance(outcome, ArmFailure):
            raise outcome.error
        yield outcome
