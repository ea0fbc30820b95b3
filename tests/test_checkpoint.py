"""Checkpoints come back bit for bit, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax import checkpoint
from mmjax.errors import DataError
from mmjax.train import init_state


@pytest.fixture
def state():
    params = {"a.b": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "c": jnp.ones(2, jnp.bfloat16)}
    return init_state(params, optax.adam(1e-3), 5)


def test_a_state_comes_back_with_its_structure_and_bits(tmp_path, state):
    checkpoint.save(tmp_path / "new", state)
    got = checkpoint.restore(tmp_path / "new", state)
    assert jax.tree.structure(got) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s._replace(step=jnp.float32(0)),
        lambda s: s._replace(params={**s.params, "c": jnp.ones(3, jnp.bfloat16)}),
        lambda s: s._replace(params={**s.params, "new": jnp.ones(3)}),
        lambda s: s._replace(params={"c": s.params["c"]}),
    ],
)
def test_another_dtype_shape_or_name_is_refused(tmp_path, state, change):
    checkpoint.save(tmp_path / "new", state)
    with pytest.raises(DataError, match="the arrays of this model"):
        checkpoint.restore(tmp_path / "new", change(state))


def test_what_is_no_checkpoint_is_refused(tmp_path, state):
    with pytest.raises(DataError, match="no such folder"):
        checkpoint.restore(tmp_path / "missing", state)
    with pytest.raises(DataError, match="expected a checkpoint"):
        checkpoint.restore(tmp_path, state)
