"""Coupled Mamba against NumPy, step by step, and what its common state carries."""

from functools import cache

import jax
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    clean,
    dense,
    joint,
    mean,
    norm,
    ragged,
    random_variables,
    run,
)
from representatives import slow

from mmjax.fusion.coupled_mamba import CoupledMambaFusion
from mmjax.testing import make_tokens
from mmjax.testing.common import KEYS, initialise
from mmjax.types import Tokens

TWO = {"audio": (6, 5), "image": (4, 6)}


def make(**fields):
    return CoupledMambaFusion(out_dim=OUT_DIM, width=WIDTH, state_size=3, **fields)


def silu(x):
    return x / (1 + np.exp(-x))


def enter(p, values, mask):
    """What a chain computes from its tokens alone."""
    normed = np.where(mask[..., None], norm(p["norm"], values), 0)
    x, kernel = dense(p["in"], normed), p["kernel"]
    convolved = np.zeros_like(x)
    for t in range(x.shape[1]):
        for back in range(min(len(kernel), t + 1)):
            convolved[:, t] += kernel[len(kernel) - 1 - back] * x[:, t - back]
    x = silu(convolved + p["bias"])
    size = np.log1p(np.exp(dense(p["size"], x)))
    return x, size, dense(p["write"], x), dense(p["read"], x), silu(dense(p["gate"], normed))


def layer(p, i, streams, coupling):
    """Row by row and step by step; a chain without a token at a step is not touched."""
    chains = {n: p[f"chain_{n}_{i}"] for n in streams}
    inputs = {n: enter(chains[n], *stream) for n, stream in streams.items()}
    out = {n: np.zeros(x.shape) for n, (x, *_) in inputs.items()}
    for row in range(len(next(iter(out.values())))):
        states = {n: np.zeros((WIDTH, 3)) for n in streams}
        for t in range(max(x.shape[1] for x in out.values())):
            here = [n for n, (_, mask) in streams.items() if t < mask.shape[1] and mask[row, t]]
            for n in here:
                x, size, write, read, gate = (a[row, t] for a in inputs[n])
                decay = np.exp(-size[:, None] * np.exp(chains[n]["log_rates"]))
                states[n] = decay * states[n] + np.outer(size * x, write)
                out[n][row, t] = gate * (states[n] @ read + chains[n]["skip"] * x)
            if coupling and here:
                states = dict.fromkeys(states, np.mean([states[n] for n in here], axis=0))
    project = lambda n: dense(p[f"out_{n}_{i}"], out[n])
    return {n: (values + project(n), mask) for n, (values, mask) in streams.items()}


@pytest.mark.parametrize(
    ("num_modalities", "num_layers", "coupling"),
    [(3, 1, True), slow(1, 1, True), slow(2, 2, True), slow(2, 1, False)],
)
def test_coupled_mamba(num_modalities, num_layers, coupling):
    """Row 0 lacks the second token of every modality."""
    tokens = ragged(num_modalities)
    tokens = {n: t._replace(mask=t.mask.at[0, 1].set(False)) for n, t in tokens.items()}
    got, p = run(make(num_layers=num_layers, coupling=coupling), tokens)
    values, masks = clean(tokens)
    streams = {n: (dense(p[f"project_{n}"], values[n]), masks[n]) for n in tokens}
    for i in range(num_layers):
        streams = layer(p, i, streams, coupling)
    valid = lambda n, x, mask: np.where(mask[..., None], norm(p[f"norm_{n}"], x), 0)
    pooled = {n: mean(valid(n, *stream), stream[1]) for n, stream in streams.items()}
    assert_close(got.prediction, joint(p["readout"], pooled))


@cache
def compiled(**fields):
    """Generic parameters, and ``(params, tokens) -> the stream of each modality, averaged``."""
    fusion, tokens = make(**fields), make_tokens(TWO)
    params = random_variables(fusion, tokens, train=False)["params"]
    fuse = jax.jit(lambda p, t: fusion.apply({"params": p}, t, train=False).fused)
    return params, lambda p, t: dict(zip(t, np.split(fuse(p, t), len(t), axis=1), strict=True))


@pytest.mark.parametrize("coupling", [True, False])
def test_a_step_reads_the_states_of_the_step_before(coupling):
    """Of the audio, 6 tokens long, the image, 4 tokens long, can read the first 3."""
    params, read = compiled(coupling=coupling)
    tokens = make_tokens(TWO)
    before = read(params, tokens)["image"]
    for t in range(6):
        values = tokens["audio"].values.at[:, t].multiply(-1)
        changed = {**tokens, "audio": tokens["audio"]._replace(values=values)}
        after = read(params, changed)["image"]
        assert np.any(after != before) == (coupling and t < 3)


def test_padding_and_absent_modalities_take_no_part():
    params, read = compiled(coupling=True)
    tokens = make_tokens(TWO)
    want = read(params, tokens)
    longer = lambda x: np.concatenate([x, np.full_like(x, 9)], axis=1)
    padded = {
        n: Tokens(longer(t.values), np.pad(t.mask, [(0, 0), (0, t.mask.shape[1])]))
        for n, t in tokens.items()
    }
    for n, stream in read(params, padded).items():
        assert_close(stream, want[n])
    absent = {**tokens, "audio": tokens["audio"]._replace(mask=np.zeros((4, 6), bool))}
    own = {k: v for k, v in params.items() if "audio" not in k}
    own["readout"] = {k: v for k, v in params["readout"].items() if k != "audio"}
    alone = read(own, {"image": tokens["image"]})
    assert_close(read(params, absent)["image"], alone["image"])


def test_states_stay_bounded_however_many_the_modalities_and_steps():
    """A sum in place of the mean would double them at each step."""
    tokens = make_tokens({"audio": (200, 3), "image": (200, 3)})
    fusion = make()
    variables = initialise(lambda key: fusion.init(key, tokens, train=False), KEYS[0])
    fused = jax.jit(lambda v: fusion.apply(v, tokens, train=False).prediction)(variables)
    assert np.abs(fused).max() < 100
