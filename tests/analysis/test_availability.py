"""What stands in for a missing modality, which rows lack one, and scores with each subset."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import representatives
from small import make_split, make_task

import mmjax.data.chunks
from mmjax.analysis.availability import availability_rows
from mmjax.comparison.arm import all_strategies, make_arm
from mmjax.comparison.scores import score_rows
from mmjax.data.missing import lose
from mmjax.errors import UnknownNameError, UsageError
from mmjax.layers import as_float
from mmjax.registry import ABSENCES
from mmjax.tasks import load_task
from mmjax.training.fit import fit
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def task():
    return make_task()


def rows_lacking(name):
    rows = make_split(6, seed=0).batch()
    rows.present[name] = np.arange(6) % 2 == 0
    return rows


def predict(model, rows, params=None):
    params = init_params(model, rows, 0) if params is None else params
    return model.apply({"params": params}, *rows[:2], train=False).prediction


@pytest.mark.parametrize("absent", representatives(ABSENCES, ["mask", "learned"]))
@pytest.mark.parametrize("name", ["image", "vector"])
def test_what_an_absent_input_holds_is_irrelevant(task, absent, name):
    model = make_model(task, "concat", {"image": "mlp"}, absent=absent)
    rows = rows_lacking(name)
    want = predict(model, rows)
    for junk in (np.nan, 1e30):
        inputs = dict(rows.inputs)
        inputs[name] = jnp.asarray(as_float(inputs[name])).at[1::2].set(junk)
        chex.assert_trees_all_equal(predict(model, rows._replace(inputs=inputs)), want)


def test_zero_and_mean_are_inputs_like_any_other(task):
    rows = rows_lacking("vector")
    everywhere = {name: np.ones(6, bool) for name in rows.present}
    mean = np.nanmean(task.train.inputs["vector"], axis=0)
    for absent, value in {"zero": 0, "mean": mean}.items():
        model = make_model(task, "concat", {"image": "mlp"}, absent=absent)
        filled = rows.inputs["vector"].copy()
        filled[1::2] = value
        present = rows._replace(inputs={**rows.inputs, "vector": filled}, present=everywhere)
        np.testing.assert_allclose(predict(model, rows), predict(model, present), rtol=1e-5)


def test_zero_is_the_mean_of_standardised_inputs(task):
    split = lambda s: replace(s, inputs={"vector": s.inputs["vector"] + 1000})
    parts = {role: split(s) for role, s in task.only("vector").splits.items()}
    far = replace(task.only("vector"), standardise=True, **parts)
    model = make_model(far, "early", absent="zero")
    rows = far.valid.batch()
    rows.present["vector"][::2] = False
    tokens = (
        model.apply({"params": init_params(model, rows, 0)}, *rows[:2], train=False)
        .tokens["vector"]
        .values
    )
    assert (tokens[::2] == 0).all()
    assert 0.1 < np.abs(tokens[1::2]).mean() < 2


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 23])
def test_the_mean_is_that_of_the_rows_that_have_the_modality(task, chunk_bytes, monkeypatch):
    monkeypatch.setattr(mmjax.data.chunks, "_CHUNK_BYTES", chunk_bytes)
    half = lose(task, {"image": 0.5})
    have = half.train.present["image"]
    assert 0.2 < have.mean() < 0.8
    means = make_model(half, "concat", absent="mean").means
    want = np.asarray(as_float(half.train.inputs["image"][have])).mean(axis=0)
    np.testing.assert_allclose(means["image"], want, rtol=1e-5)
    assert np.isfinite(means["vector"]).all()  # rows without the vector hold NaN


def test_policies_differ_only_where_something_is_absent(task):
    rows = make_split(6, seed=0).batch()
    model = partial(make_model, task, "concat", {"image": "mlp"})
    models = {absent: model(absent=absent) for absent in ABSENCES}
    # Without biases an encoder makes nothing of zeros.
    generic = lambda model: jax.tree.map(lambda x: x + 0.1, init_params(model, rows, 0))
    params, learned = generic(models["mask"]), generic(models["learned"])
    assert set(learned) - set(params) == {f"absent_{name}" for name in task.modalities}
    want = predict(models["mask"], rows, params)
    for absent, model in models.items():
        np.testing.assert_array_equal(predict(model, rows, {**learned, **params}), want, absent)
    lacking = rows_lacking("vector")
    got = {n: predict(model, lacking, {**learned, **params}) for n, model in models.items()}
    for first, second in combinations(got, 2):
        np.testing.assert_allclose(got[first][::2], want[::2], rtol=1e-5, atol=1e-6)
        assert np.abs(got[first] - got[second])[1::2].max() > 1e-4, (first, second)


@pytest.mark.slow
def test_learned_tokens_learn_from_rows_that_lack_the_modality(task):
    model = make_model(task.only("sequence", "vector"), "concat", absent="learned")

    def grads(rows):
        params = init_params(model, rows, 0)
        return jax.grad(lambda p: (predict(model, rows, p) ** 2).sum())(params)

    lacking, whole = grads(rows_lacking("vector")), grads(make_split(6, seed=0).batch())
    assert np.abs(lacking["absent_vector"]).max() > 0
    assert not np.any(lacking["absent_sequence"])
    assert not np.any(whole["absent_vector"])


def test_an_unknown_stand_in_is_refused(task):
    with pytest.raises(UnknownNameError, match="Did you mean 'mask'"):
        make_model(task, "concat", absent="masked")


def test_the_share_of_rows_is_lost_and_no_row_loses_all():
    task = load_task("synthetic", options={"size": "4000"})
    less = lose(task, {"a": 0.6, "b": 0.5})
    a, b = less.train.present["a"], less.train.present["b"]
    assert (a | b).all()
    # A row that would lose both (0.3) keeps both.
    assert a.mean() == pytest.approx(0.4 + 0.3, abs=0.04)
    assert b.mean() == pytest.approx(0.5 + 0.3, abs=0.04)
    np.testing.assert_array_equal(lose(task, {"a": 0.6, "b": 0.5}).train.present["a"], a)
    assert (lose(task, {"a": 0.6, "b": 0.5}, seed=1).train.present["a"] != a).any()
    assert less.test is task.test
    assert less.digest() != task.digest()
    assert lose(task, {}).digest() == task.digest()


def test_the_share_of_one_modality_changes_nothing_for_another():
    task = load_task("synthetic", options={"size": "1000"})
    first, second = (lose(task, {"a": share, "b": 0.2}).train.present["b"] for share in (0.0, 0.1))
    kept_all = lose(task, {"a": 0.1}).train.present["a"]
    np.testing.assert_array_equal(first[kept_all], second[kept_all])


def test_shares_that_are_none_are_refused(task):
    with pytest.raises(
        UsageError, match=r"missing: expected probabilities from 0 to 1, got vector=1\.5"
    ):
        lose(task, {"vector": 1.5})
    with pytest.raises(
        UsageError, match="missing: expected probabilities from 0 to 1, got vector=nan"
    ):
        lose(task, {"vector": float("nan")})
    with pytest.raises(UnknownNameError, match="vektor"):
        lose(task, {"vektor": 0.5})


@pytest.mark.slow
def test_a_model_is_scored_with_every_subset_hidden():
    task = load_task("synthetic", options={"kind": "redundant", "size": "200"})
    arm = make_arm(task, "concat", seeds=(0, 1), steps=60)
    trained = fit(arm.recipe, arm.task)
    rows = availability_rows(arm, trained.predict, trained.params)
    assert [(row["hidden"], row["seed"]) for row in rows] == [
        (hidden, seed) for hidden in ("a", "b", "a+b") for seed in (0, 1)
    ]
    assert {row["split"] for row in rows} == {"test"}
    # Each modality tells all, and nothing tells nothing.
    assert all(row["accuracy"] > 0.9 for row in rows if row["hidden"] != "a+b")
    assert all(row["accuracy"] == 0.5 for row in rows if row["hidden"] == "a+b")
    (want,) = (r for r in score_rows(arm, trained.predict, trained.params, ["a"]) if r == rows[0])
    assert want["nll"] > 0


def test_as_float_of_a_mean_has_the_shape_of_a_sample(task):
    for name, mean in make_model(task, "concat", absent="mean").means.items():
        assert mean.shape == task.shapes[name]
        assert jnp.asarray(mean).dtype == jnp.float32


def test_strategies_on_every_subset(task):
    names = all_strategies(task, ["gmu"], subsets=True)
    alone = [f"{name}_only" for name in ("image", "sequence", "vector")]
    pairs = ["gmu@image+sequence", "gmu@image+vector", "gmu@sequence+vector"]
    assert names == [*alone, "gmu", *pairs]
    arm = make_arm(task, "gmu@image+vector")
    assert arm.strategy == "gmu@image+vector"
    assert arm.task.modalities == ("image", "vector")
    with pytest.raises(UnknownNameError, match="vektor"):
        make_arm(task, "gmu@image+vektor")
