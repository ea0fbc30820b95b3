"""What fusions compute without the components that they declare as removable."""

from functools import cache, reduce

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    block,
    by_row,
    clean,
    dense,
    fuse,
    norm,
    pool,
    presence,
    ragged,
    random_variables,
    run,
)
from representatives import slow

from mmjax.fusion import FUSIONS
from mmjax.layers import removable, remove
from mmjax.testing import make_tokens
from mmjax.types import Tokens

TWO = {"audio": (3, 5), "image": (4, 6)}


def make(name, **fields):
    return FUSIONS[name](out_dim=OUT_DIM, width=WIDTH, **fields)


def declaring(component, fast):
    """Parameters of a test: the fusions that have a component."""
    names = [name for name in FUSIONS if component in removable(make(name))]
    return [name if name in fast else slow(name) for name in names]


def predict(fusion, params, tokens):
    return jax.jit(lambda t: fusion.apply({"params": params}, t, train=False))(tokens)


# Tokens


@cache
def without_positions():
    """``tokens -> prediction`` of a transformer."""
    fusion = remove(make("transformer"), "positions")
    variables = random_variables(fusion, make_tokens(TWO), train=False)
    return jax.jit(lambda t: fusion.apply(variables, t, train=False).prediction)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(4)), st.integers(0, 2**12 - 1))
def test_a_transformer_without_positions_ignores_the_order_of_tokens(audio, image, hidden):
    """Whichever tokens are masked."""
    masked = np.array([hidden >> i & 1 for i in range(12)], bool).reshape(4, 3)
    tokens = jax.device_get(make_tokens(TWO))  # so that indexing compiles nothing
    tokens["audio"] = tokens["audio"]._replace(mask=~masked)
    order = {"audio": np.array(audio), "image": np.array(image)}
    shuffled = {n: Tokens(t.values[:, order[n]], t.mask[:, order[n]]) for n, t in tokens.items()}
    fuse_tokens = without_positions()
    assert_close(fuse_tokens(shuffled), fuse_tokens(tokens))


@pytest.mark.parametrize("name", declaring("positions", fast={"co_attention"}))
def test_positions_alone_tell_the_order_of_tokens(name):
    tokens = make_tokens(TWO)
    reverse = {n: Tokens(t.values[:, ::-1], t.mask) for n, t in tokens.items()}
    for fusion, ignored in [(make(name), False), (remove(make(name), "positions"), True)]:
        forward, params = run(fusion, tokens)
        backward = predict(fusion, params, reverse)
        close = np.allclose(backward.prediction, forward.prediction, rtol=1e-4, atol=1e-5)
        assert close == ignored


def test_a_transformer_without_all_of_its_components():
    tokens = ragged()
    fusion = make("transformer")
    got, p = run(reduce(remove, removable(fusion), fusion), tokens)
    values, masks = clean(tokens)
    assert {*p["project_audio"]} == {"kernel"}
    x = np.concatenate([dense(p[f"project_{n}"], values[n]) for n in tokens], axis=1)
    mask = np.concatenate([*masks.values()], axis=1)
    for i in range(2):
        x = block(p[f"block_{i}"], x, mask)
    read = norm(p["norm"], by_row(x, mask, np.mean))
    assert_close(got.prediction, dense(p["readout"], read))


def test_a_late_transformer_without_all_of_its_components():
    tokens = ragged()
    fusion = make("late_transformer", num_layers=1)
    got, p = run(reduce(remove, removable(fusion), fusion), tokens)
    pooled, here = pool(tokens), presence(tokens)
    x = np.stack([pooled[n] @ p[f"project_{n}"]["kernel"][:, 0] for n in tokens], axis=1)
    x = block(p["block_0"], x, here)
    read = norm(p["norm"], by_row(x, here, np.mean))
    assert_close(got.prediction, dense(p["readout"], read))


def test_without_a_bottleneck_nothing_crosses():
    tokens, fusion = make_tokens(TWO), make("bottleneck")
    got, params = run(remove(fusion, "bottleneck"), tokens)
    want, same = run(fusion.clone(fusion_layer=2), tokens)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    assert_close(got.prediction, want.prediction)


def test_without_masks_the_streams_of_zorro_mix():
    tokens, fusion = make_tokens(TWO), remove(make("zorro"), "masks")
    before, params = run(fusion, tokens)
    tokens["image"] = tokens["image"]._replace(values=-tokens["image"].values)
    after = predict(fusion, params, tokens)
    assert np.abs(after.branches["audio"] - before.branches["audio"]).max() > 1e-3


# Features


@pytest.mark.parametrize("name", ["gmu", "gated"])
def test_without_its_gate_a_gated_fusion_is_a_sum(name):
    tokens = ragged()
    got, params = run(remove(make(name), "gate"), tokens)
    want, same = fuse("sum", tokens)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    np.testing.assert_array_equal(got.prediction, want.prediction)


@pytest.mark.parametrize(
    ("component", "kept"), [("scale", np.s_[WIDTH:]), ("shift", np.s_[:WIDTH])]
)
def test_film_without_a_component_is_film_with_zeros_in_its_place(component, kept):
    tokens = ragged()
    got, p = run(remove(make("film"), component), tokens)
    films = {n: layer for n, layer in p.items() if n.startswith("film_")}

    def widen(x):
        wide = np.zeros((*x.shape[:-1], 2 * WIDTH), np.float32)
        wide[..., kept] = x
        return wide

    want = predict(make("film"), {**p, **jax.tree.map(widen, films)}, tokens)
    assert_close(got.prediction, want.prediction)


def test_mmtm_without_transfer_is_mmtm_whose_gates_are_one():
    tokens = ragged()
    _, p = run(make("mmtm"), tokens)
    neutral = {n: jax.tree.map(np.zeros_like, x) if "excite" in n else x for n, x in p.items()}
    less = remove(make("mmtm"), "transfer")
    own = {n: x for n, x in p.items() if not n.startswith(("excite", "squeeze"))}
    want = predict(make("mmtm"), neutral, tokens)  # 2 sigmoid(0) = 1
    assert_close(predict(less, own, tokens).prediction, want.prediction)


def test_mfb_without_normalisation_sums_products():
    tokens = ragged()
    got, p = run(remove(make("mfb", k=2), "normalisation"), tokens)
    factors = np.stack([dense(p[f"project_{n}"], x) for n, x in pool(tokens).items()], axis=1)
    product = by_row(factors, presence(tokens), np.prod)
    assert_close(got.prediction, dense(p["readout"], product.reshape(-1, WIDTH, 2).sum(axis=2)))


# Terms of the loss

TERMS = [
    (name, component)
    for name in FUSIONS
    for component, fields in removable(make(name)).items()
    if any(type(value) is float for value in fields.values())
]
NAMED_OTHERWISE = {
    "balance": {"importance", "load"},
    "router": {"balance", "specialisation"},
    "interactions": {"uniqueness", "synergy", "redundancy"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TERMS, ids="-".join)
def test_a_term_of_the_loss_can_be_removed(case):
    name, component = case
    tokens, fusion = ragged(), make(name)
    (whole, params), (less, same) = run(fusion, tokens), run(remove(fusion, component), tokens)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    gone = NAMED_OTHERWISE.get(component, {component})
    assert gone <= {*whole.aux}
    for term, value in whole.aux.items():
        assert value != 0
        assert less.aux[term] == (0 if term in gone else value)
    np.testing.assert_array_equal(less.prediction, whole.prediction)
