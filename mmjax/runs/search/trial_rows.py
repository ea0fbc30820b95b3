"""Trials as flat rows and as command lines."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmjax.comparison.scores import Row
from mmjax.metrics import find_metric, goodness
from mmjax.runs.command import train_command
from mmjax.runs.search.params import Params, apply_params
from mmjax.runs.settings import Settings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def make_row(trial: "FrozenTrial") -> Row:
    """A trial as a flat row.

    The score is the best on validation, of a pruned trial until then; ``rows`` is the number of
    training rows seen; ``retry_of`` is, in a retry, the first trial with these parameters.
    """
    known, seconds = trial.user_attrs, trial.duration
    metric = find_metric(known.get("metric", "accuracy"))
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "metric": metric.name,
        metric.name: None if trial.value is None else metric.sign * trial.value,
        "nll": known.get("nll"),
        "rows": trial.last_step,
        "best_step": known.get("best_step"),
        **trial.params,
        "seconds": None if seconds is None else round(seconds.total_seconds(), 3),
        "retry_of": trial.system_attrs.get("failed_trial"),
        "error": known.get("error"),
        "worker": known.get("worker"),
        "versions": known.get("versions"),
    }


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Sorts completed trials first, then by score and by loss; trials without scores come last."""
    low = lambda value: math.inf if value is None else value
    key = lambda row: (row["state"] != "complete", -goodness(row), low(row["nll"]))
    return sorted(rows, key=key)


def trial_command(settings: Settings, params: Params, size: int) -> str:
    """The command that trains a trial with all seeds and scores it on test.

    The arguments are those of ``apply_params``.

    Example:
        >>> from mmjax.runs.search.trial_rows import trial_command
        >>> from mmjax.runs.settings import Settings
        >>> trial_command(Settings(seeds=3), {"fusion": "gmu", "width": 32, "batch_size": 64}, 1000)
        'mmjax train gmu --seeds 3 --width 32'
    """
    strategy, chosen = apply_params(settings, params, size)
    return train_command(chosen, strategy)
