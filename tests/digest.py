"""A small training whose every bit is compared, between processes."""

import hashlib

import jax
import numpy as np

from mmjax.analysis.cost import cost_row
from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import score
from mmjax.tasks import load_task
from mmjax.training.fit import fit

COST = ("params", "flops", "bytes", "step_flops", "peak_bytes")


def fit_and_digest():
    """Scores, a digest of the best parameters, and of the cost what is not a time."""
    task = load_task("synthetic", options={"size": "200"})
    arm = make_arm(task, "concat", steps=3, batch_size=16, seeds=(0, 1))
    trained = fit(arm.recipe, arm.task)
    scores = [[row["accuracy"], row["nll"]] for row in score(arm, trained).rows]
    params = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(trained.params))
    cost = cost_row(arm, trained)
    digest = hashlib.sha256(params).hexdigest()
    return {"scores": scores, "params_digest": digest, **{name: cost[name] for name in COST}}
