"""Fusions with routed experts, or made for absent modalities, against NumPy and their claims."""

import numpy as np
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    branches,
    dense,
    joint,
    pool,
    ragged,
    run,
    weigh,
)

from mmjax.fusion.simmlm import SimMLMFusion

SIZE = {"out_dim": OUT_DIM, "width": WIDTH}


def relu(x):
    return np.maximum(x, 0)


# SimMLM


def test_simmlm():
    tokens = ragged()
    got, p = run(SimMLMFusion(**SIZE), tokens)
    logits, present = branches(p, tokens)
    hidden = relu(joint(p["gate"], pool(tokens)))
    scores = np.concatenate([dense(p[f"gate_{n}"], hidden) for n in tokens], axis=1)
    weights = weigh(scores, present)
    assert_close(got.prediction, (weights[..., None] * logits).sum(axis=1))


def test_simmlm_stays_between_its_experts():
    """Of the modalities present: where only one is, it decides alone."""
    tokens = ragged()
    got, p = run(SimMLMFusion(**SIZE), tokens)
    logits, present = branches(p, tokens)
    for row in np.flatnonzero(present.any(axis=1)):
        said = logits[row, present[row]]
        assert (said.min(axis=0) - 1e-5 <= got.prediction[row]).all()
        assert (got.prediction[row] <= said.max(axis=0) + 1e-5).all()
