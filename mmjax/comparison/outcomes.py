"""The outcome of an arm: a result with all its measurements, or a failure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row
from mmjax.training.fit import Fit


class Embedded(NamedTuple):
    """Embeddings of some rows of a split.

    Attributes:
        values: {modality or "fused": [seeds, rows, features]}.
        target: of the rows.
    """

    values: Mapping[str, np.ndarray]
    target: np.ndarray


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
        trained: its training, of the first fold if there are several.
        rows: flat rows of scores.
        predictions: {"seeds": [seeds], "valid" and "test": [seeds, rows, out_dim]}; with folds,
            "test" only, by the models of each seed and repeat.
        tables: {name of a table: flat rows}.
        embedded: as in ``Examination``.
        history: learning curves, one flat row per seed and round.
    """

    arm: Arm
    trained: Fit
    rows: list[Row]
    predictions: dict[str, np.ndarray]
    tables: Mapping[str, Sequence[Row]]
    embedded: Embedded | None
    history: list[Row]


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
