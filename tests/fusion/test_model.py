"""The model: absent modalities have no influence, one name is a unimodal baseline."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import make_split, make_task

from mmjax.fusion import FUSIONS
from mmjax.layers import as_float
from mmjax.model import MultimodalModel
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def task():
    return make_task()


def loss_and_grad(model, params, rows):
    def loss(params):
        return model.apply({"params": params}, *rows[:2], train=False).prediction.sum()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize("fusion", ["concat", "early"])
def test_an_absent_modality_has_exactly_no_influence(task, fusion):
    model = make_model(task, fusion)
    rows = make_split(4, seed=0).batch()
    rows.present["vector"] = np.array([True, False, True, False])
    params = init_params(model, rows, 0)
    want = loss_and_grad(model, params, rows)
    for junk in (np.nan, 1e30):
        rows.inputs["vector"][1::2] = junk
        chex.assert_trees_all_equal(loss_and_grad(model, params, rows), want)


def test_with_one_encoder_it_is_the_unimodal_model(task):
    both = make_model(task.only("sequence", "vector"), "concat")
    alone = make_model(task.only("vector"), "concat")
    assert set(alone.encoders) == {"vector"}
    assert both.encoders["vector"] == alone.encoders["vector"]
    rows = make_split(4, seed=0).batch()
    out = alone.apply({"params": init_params(alone, rows, 0)}, *rows[:2], train=False)
    assert set(out.tokens) == {"vector"}
    assert out.prediction.shape == (4, 3)


def test_the_order_of_the_encoders_changes_nothing(task):
    model = make_model(task, "concat")
    reverse = MultimodalModel(dict(reversed(model.encoders.items())), model.fusion)
    rows = make_split(4, seed=0).batch()
    chex.assert_trees_all_equal(init_params(model, rows, 0), init_params(reverse, rows, 0))


def test_unsigned_integers_are_scaled_to_one():
    np.testing.assert_allclose(as_float(jnp.array([0, 51, 255], jnp.uint8)), [0, 0.2, 1])
    np.testing.assert_allclose(as_float(jnp.array([65535], jnp.uint16)), [1])
    floats = jnp.array([3.0, -1.0])
    assert as_float(floats) is floats


def test_encoders_follow_from_the_shape_unless_named(task):
    kind = lambda model: {n: type(e).__name__ for n, e in model.encoders.items()}
    default = {"image": "CNN", "sequence": "CNN1D", "vector": "MLPEncoder"}
    assert kind(make_model(task, "concat")) == default
    assert set(kind(make_model(task, "early")).values()) == {"Raw"}
    named = make_model(task, "concat", {"sequence": "gru", "unknown": "gru"})
    assert kind(named) == default | {"sequence": "GRU"}


def test_fusions_of_the_table_need_only_out_dim():
    assert all(fusion(out_dim=3).out_dim == 3 for fusion in FUSIONS.values())
