"""Cached encodings give the two-stage protocol exactly."""

from dataclasses import replace

import chex
import flax.linen as nn
import numpy as np
import pytest
from representatives import slow
from small import make_coded_task, make_task

from mmjax.comparison.arm import make_arm
from mmjax.comparison.encoded_arms import fit_each, make_encoded_arms
from mmjax.comparison.encodings import encode
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.methods import TwoStage
from mmjax.training.fit import fit
from mmjax.types import Tokens

SEEDS = (0, 3)
RECIPE = {"steps": 9, "batch_size": 32}


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture(scope="module")
def alone(task):
    arms = {n: make_arm(task, f"{n}_only", seeds=SEEDS, **RECIPE) for n in task.modalities}
    return {n: fit(arm.recipe, arm.task) for n, arm in arms.items()}


@pytest.mark.slow
def test_encodings_are_what_the_fusion_would_see(task, alone):
    tasks = encode(task, alone)
    assert [t.name for t in tasks] == ["small/encoded"] * 2
    for name, trained in alone.items():
        whole = np.stack([t.test.inputs[name] for t in tasks])
        logits = trained.predict(trained.params, task.test.batch())
        fusion = {k: np.asarray(v) for k, v in _flat(trained.params["fusion"]).items()}
        for i in range(len(SEEDS)):
            pooled = whole[i].mean(axis=1)
            joint = pooled @ fusion[f"joint/{name}/kernel"][i] + fusion["joint/bias"][i]
            got = np.maximum(joint, 0) @ fusion["readout/kernel"][i] + fusion["readout/bias"][i]
            np.testing.assert_allclose(got, logits[i], rtol=1e-4, atol=1e-5)


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree}
    return {k: v for n, t in tree.items() for k, v in _flat(t, f"{prefix}{n}/").items()}


@pytest.mark.slow
def test_a_fusion_on_encodings_is_the_second_stage_over_frozen_encoders(task, alone):
    arms = make_encoded_arms(encode(task, alone), "concat", SEEDS, **RECIPE)
    first, program = fit_each(arms)
    again, _ = fit_each(arms, program)
    for (_, one), (_, other) in zip(first, again, strict=True):
        chex.assert_trees_all_equal(one.params, other.params)

    arm = make_arm(task, "concat", method=TwoStage(), seeds=SEEDS, **RECIPE)
    encoders = {f"encoders_{n}": t.params[f"encoders_{n}"] for n, t in alone.items()}
    whole = fit(arm.recipe, arm.task, params=encoders)
    for index, seed in enumerate(SEEDS):
        settled, one = first[index]
        assert settled.recipe.seeds == (seed,)
        for part, values in _flat(one.params["fusion"]).items():
            want = _flat(whole.params["fusion"])[part][index]
            np.testing.assert_allclose(values[0], want, rtol=1e-3, atol=1e-5, err_msg=part)


class Masking(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return Tokens(nn.Dense(4)(x), (x > 0).any(axis=-1))


@pytest.mark.slow
def test_an_encoder_that_masks_tokens_is_refused(task, alone):
    arm = make_arm(task, "sequence_only", seeds=SEEDS, **RECIPE)
    model = arm.recipe.model.clone(encoders={"sequence": Masking()})
    trained = fit(replace(arm.recipe, model=model), arm.task)
    with pytest.raises(UsageError, match="encoder of sequence"):
        encode(task, {**alone, "sequence": trained})


@pytest.mark.parametrize("absent", ["mask", slow("zero")])
def test_a_modality_is_present_where_the_fusion_sees_tokens_of_it(task, absent):
    arm = make_arm(task, "vector_only", absent=absent, seeds=SEEDS, **RECIPE)
    (encoded, _) = encode(task.only("vector"), {"vector": fit(arm.recipe, arm.task)})
    lacks = ~task.train.present["vector"]
    assert lacks.any()
    assert (encoded.train.present["vector"] == (~lacks if absent == "mask" else True)).all()


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["gru", slow("cnn1d")])
def test_encodings_of_rows_of_unequal_length_are_padded_if_their_tokens_are(encoder):
    rng = np.random.default_rng(0)
    steps = [rng.normal(size=(row % 4 + 4, 2)) for row in range(40)]
    task = Task.from_arrays({"steps": steps}, np.arange(40) % 2, kind="classes")
    arm = make_arm(task, "steps_only", {"steps": encoder}, seeds=(0,), steps=2)
    (encoded,) = encode(task, {"steps": fit(arm.recipe, arm.task)})
    if encoder == "cnn1d":
        assert encoded.padded == ()
        return
    assert encoded.padded == ("steps",)
    for before, after in zip(task.splits.values(), encoded.splits.values(), strict=True):
        padding = np.isnan(before.inputs["steps"])[..., 0]
        np.testing.assert_array_equal(np.isnan(after.inputs["steps"]).all(axis=2), padding)


@pytest.mark.slow
@pytest.mark.parametrize("encoders", [{}, slow({"note": "bag", "who": "ft_transformer"})])
def test_token_ids_and_tables_become_encodings(encoders):
    task = make_coded_task()
    arms = {n: make_arm(task, f"{n}_only", encoders, seeds=(0,), steps=2) for n in task.modalities}
    (encoded,) = encode(task, {n: fit(arm.recipe, arm.task) for n, arm in arms.items()})
    assert encoded.codings == {}
    assert encoded.padded == (() if encoders else ("note",))
    for before, after in zip(task.splits.values(), encoded.splits.values(), strict=True):
        ids, here = before.inputs["note"], before.present["note"]
        np.testing.assert_array_equal(after.present["note"], here & (ids >= 0).any(axis=1))
        np.testing.assert_array_equal(after.present["who"], before.present["who"])
        if not encoders:
            lost = np.isnan(after.inputs["note"]).all(axis=2)
            np.testing.assert_array_equal(lost[here], (ids < 0)[here])
    ((_, trained),) = fit_each(make_encoded_arms([encoded], "attention_pool", (0,), steps=2))[0]
    assert np.isfinite(trained.predict(trained.params, encoded.test.batch())).all()
