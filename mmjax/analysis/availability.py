"""Scores of a trained model whose modalities are missing at test."""

from itertools import chain

import chex

from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, score_rows
from mmjax.data.coalitions import subsets
from mmjax.training.predict import Predict


def availability_rows(arm: Arm, predict: Predict, params: chex.ArrayTree) -> list[Row]:
    """Scores on test with every subset of modalities hidden but the empty one.

    With all of them hidden they are the scores of what the model says knowing nothing.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
    """
    hidings = [hidden for hidden in subsets(arm.task.modalities) if hidden]
    scored = (score_rows(arm, predict, params, hidden, splits=("test",)) for hidden in hidings)
    return list(chain.from_iterable(scored))
