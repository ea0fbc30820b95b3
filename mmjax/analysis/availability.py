"""Scores of a trained model when modalities are missing at test time."""

from itertools import chain

import chex

from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, score_rows
from mmjax.data.coalitions import subsets
from mmjax.training.predict import Predict


def availability_rows(arm: Arm, predict: Predict, params: chex.ArrayTree) -> list[Row]:
    """Scores on the test split with every non-empty subset of the modalities hidden.

    With all modalities hidden, the scores are those of the model's prediction without any input.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
    """
    hidings = [hidden for hidden in subsets(arm.task.modalities) if hidden]
    scored = (score_rows(arm, predict, params, hidden, splits=("test",)) for hidden in hidings)
    return list(chain.from_iterable(scored))
