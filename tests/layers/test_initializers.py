"""Initialisers draw what Flax's draw, bit by bit, and compile little."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from representatives import slow

from mmjax.layers import Dense, DenseGeneral, initializers

SHAPES = [(), (1,), (5, 3), (3, 3, 2, 7), (130, 33), slow((17, 4, 20)), slow((300, 300))]
PAIRS = {
    "normal": (initializers.normal(0.02), nn.initializers.normal(0.02)),
    "variance_scaling": (
        initializers.variance_scaling(0.3),
        nn.initializers.variance_scaling(0.3, "fan_in", "truncated_normal"),
    ),
    "lecun_normal": (initializers.lecun_normal, nn.initializers.lecun_normal()),
    "zeros": (initializers.zeros, nn.initializers.zeros),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PAIRS)
def test_initialisers_are_those_of_flax(name, shape):
    if len(shape) < 2 and name not in ("normal", "zeros"):
        return  # Flax knows no fan-in there
    ours, theirs = PAIRS[name]
    key = jax.random.key(7)
    np.testing.assert_array_equal(ours(key, shape), np.asarray(theirs(key, shape)), strict=True)
    traced, want = (jax.jit(init, static_argnums=1)(key, shape) for init in (ours, theirs))
    np.testing.assert_array_equal(traced, want)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Dense(6), nn.Dense(6)),
        (DenseGeneral((2, 3)), nn.DenseGeneral((2, 3))),
        (DenseGeneral(4, axis=(-2, -1)), nn.DenseGeneral(4, axis=(-2, -1))),
    ],
)
def test_layers_begin_as_those_of_flax(ours, theirs):
    x = np.ones((2, 5, 3), np.float32)
    jax.tree.map(
        np.testing.assert_array_equal,
        ours.init(jax.random.key(0), x),
        theirs.init(jax.random.key(0), x),
    )


def test_many_shapes_need_one_program(caplog):
    initializers.lecun_normal(jax.random.key(0), (5, 41))
    with jax.log_compiles():
        for rows in range(2, 9):
            initializers.lecun_normal(jax.random.key(rows), (rows, 43))
    assert "truncated_normal" not in caplog.text


def test_keys_may_be_mapped_over():
    keys, init = jax.random.split(jax.random.key(1), 3), initializers.lecun_normal
    drawn = jax.vmap(jax.vmap(lambda key: init(key, (4, 5))))(keys[None])
    want = [init(key, (4, 5)) for key in keys]
    np.testing.assert_array_equal(drawn[0], want)


def test_parameters_are_drawn_without_compiling_the_model(caplog):
    def make(layer):
        return initializers.drawing(lambda key, x: nn.Sequential([layer(7), layer(3)]).init(key, x))

    x, key = np.ones((2, 5), np.float32), jax.random.key(0)
    make(Dense)(key, x)
    with jax.log_compiles():
        ours = make(lambda width: Dense(width))(key, x)
        assert "Finished XLA compilation" not in caplog.text
        theirs = make(nn.Dense)(key, x)
        assert caplog.text.count("Finished XLA compilation") == 1
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
