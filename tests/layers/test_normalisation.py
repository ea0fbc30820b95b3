"""Layer normalisation against Flax, gradients included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from norm_cases import SHAPES, check_layer_norm

from mmjax.layers.normalisation import LayerNorm

pytestmark = pytest.mark.usefixtures("formulation")


@pytest.mark.parametrize("shape", [*SHAPES, (6, 5)])
def test_layer_norm_is_that_of_flax(shape):
    check_layer_norm(*shape)


def test_parameters_are_those_of_flax():
    x = jnp.ones((2, 3, 4))
    got, want = (norm().init(jax.random.key(0), x) for norm in (LayerNorm, nn.LayerNorm))
    assert jax.tree.map(lambda a: a.tolist(), got) == jax.tree.map(lambda a: a.tolist(), want)
