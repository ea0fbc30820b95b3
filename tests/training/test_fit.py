"""The loop: choice on validation, early stopping per seed, the two stages."""

from dataclasses import replace

import chex
import jax
import numpy as np
import pytest
from small import make_task

from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.methods import TwoStage
from mmjax.objectives import mse
from mmjax.training.early_stopping import Validation
from mmjax.training.fit import fit
from mmjax.training.predict import make_evaluate
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe, make_model


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector")


def test_the_returned_parameters_are_those_of_the_best_validation(task):
    recipe = Recipe(make_model(task, "concat"), steps=40, batch_size=32, seeds=(0, 1))
    taken = []
    trained = fit(recipe, task, progress=taken.append)
    assert sum(taken) == 40
    predicted = trained.predict(trained.params, task.valid.batch())
    for index in range(2):
        best = max(epoch["valid_accuracy"][index] for epoch in trained.history)
        assert task.scores(predicted[index], task.valid.target)["accuracy"] == best > 0.5
        at = {epoch["step"]: epoch["valid_accuracy"][index] for epoch in trained.history}
        assert at[trained.best_step[index]] == best


@pytest.mark.slow  # test_step has it for one epoch
def test_a_seed_does_not_depend_on_the_seeds_beside_it(task):
    model = make_model(task, "concat")
    both = fit(Recipe(model, steps=24, batch_size=32, seeds=(0, 1), patience=2), task)
    alone = fit(Recipe(model, steps=24, batch_size=32, seeds=(1,), patience=2), task)
    second = jax.tree.map(lambda x: x[1:], both.params)
    chex.assert_trees_all_close(second, alone.params, rtol=1e-6)
    assert both.best_step[1] == alone.best_step[0]


def test_a_seed_that_has_settled_stays_settled_and_all_settled_ends_training():
    watch = Validation(2, patience=2)
    for step, score in enumerate([(0, 1), (0, 1), (0, 1), (1, 1)], start=1):
        watch.update(step, np.array(score), nll=np.ones(2))
    assert watch.best_step.tolist() == [1, 1]  # the first got better only after its patience
    assert watch.settled


def test_ties_go_to_the_lower_loss_and_nan_never_wins():
    watch = Validation(1, patience=9)
    for step, nll in enumerate([0.3, 0.1, 0.2, np.nan], start=1):
        watch.update(step, np.array([0.9]), nll=np.array([nll]))
    assert watch.best_step.tolist() == [2]


@pytest.mark.slow
def test_two_stage_trains_encoders_alone_then_keeps_them():
    task = make_task().only("vector", "sequence")
    shared = {"steps": 12, "batch_size": 32, "seeds": (0,)}
    encoders = {"sequence": "mlp"}
    recipe = Recipe(make_model(task, "concat", encoders), method=TwoStage(), **shared)
    assert recipe.planned_steps == 36
    taken = []
    trained = fit(recipe, task, progress=taken.append)
    assert sum(taken) == 36
    for name in task.modalities:
        alone = task.only(name)
        unimodal = fit(Recipe(make_model(alone, "concat", encoders), mse, **shared), alone)
        part = f"encoders_{name}"
        chex.assert_trees_all_equal(trained.params[part], unimodal.params[part])
    again = fit(recipe, task, params={k: v for k, v in trained.params.items() if k != "fusion"})
    chex.assert_trees_all_equal(again.params, trained.params)


def test_a_batch_larger_than_the_data_is_all_of_it(task):
    trained = fit(Recipe(make_model(task, "concat"), steps=19, batch_size=10_000, seeds=(0,)), task)
    assert [entry["step"] for entry in trained.history] == [8, 16, 19]
    assert [entry["step"] for entry in trained.losses] == [*range(1, 20)]
    for first, entry in zip((0, 8, 16), trained.history, strict=True):
        within = [each["recent_loss"] for each in trained.losses[first : entry["step"]]]
        np.testing.assert_allclose(np.mean(within, axis=0), entry["loss"], rtol=1e-5)


def test_prediction_does_not_depend_on_how_rows_are_chunked(task):
    trained = fit(Recipe(make_model(task, "concat"), steps=1, seeds=(0,)), task)
    predict = make_evaluate(trained.recipe.model).predict
    rows = task.test.batch()
    whole = predict(trained.params, rows)
    assert whole.shape == (1, 300, 3)
    last = jax.tree.map(lambda x: x[-7:], rows)
    np.testing.assert_allclose(predict(trained.params, last), whole[:, -7:], atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("patience", 0),
        ("seeds", ()),
        ("seeds", (1, 1)),
        ("dropout", 1.0),
    ],
)
def test_a_recipe_refuses_what_cannot_work(task, field, value):
    with pytest.raises(UsageError, match=field):
        Recipe(make_model(task, "concat"), **{field: value})


def test_a_recipe_prints_on_one_line_without_addresses(task):
    text = repr(Recipe(make_model(task, "gmu"), method=TwoStage()))
    assert text.startswith("Recipe(model=MultimodalModel(encoders={'vector': MLPEncoder(")
    assert "objective=cross_entropy, method=TwoStage(first=mse, second=Joint())" in text
    assert "0x" not in text
    assert "\n" not in text


@pytest.mark.slow
def test_training_ends_after_the_round_that_is_told_to_be_the_last(task):
    recipe = Recipe(make_model(task, "concat"), steps=24, batch_size=32, seeds=(0, 1))
    whole, seen = fit(recipe, task), []
    steps = [epoch["step"] for epoch in whole.history]

    def on_round(epoch):
        seen.append(epoch)
        return epoch["step"] == steps[1]

    taken = []
    ended = fit(recipe, task, progress=taken.append, on_round=on_round)
    assert sum(taken) == steps[1] < recipe.steps
    chex.assert_trees_all_equal(seen, ended.history, whole.history[:2])


def test_a_recipe_compiled_ahead_is_not_compiled_again(task):
    recipe = Recipe(make_model(task, "concat"), steps=5, batch_size=32, seeds=(0, 1))
    compiled = []
    listen = lambda event, seconds, **_: "backend_compile" in event and compiled.append(event)
    jax.monitoring.register_event_duration_secs_listener(listen)
    want = fit(recipe, task)
    assert compiled
    program = compile_recipe(recipe, task)
    compiled.clear()
    got = fit(recipe, task, program=program)
    jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled
    chex.assert_trees_all_equal(got.params, want.params)


@pytest.mark.slow
@pytest.mark.parametrize(("fusion", "sizes"), [("concat", {}), ("transformer", {"num_layers": 1})])
def test_dropout_can_differ_between_lanes(task, fusion, sizes):
    model = make_model(task, FUSIONS[fusion](out_dim=task.out_dim, **sizes))
    rates = (0.1, 0.6)
    recipe = Recipe(model, batch_size=16, steps=6, seeds=(0, 1), dropout=rates)
    both = fit(recipe, task)
    for index, rate in enumerate(rates):
        own = model.clone(fusion=model.fusion.clone(dropout=rate))
        alone = fit(Recipe(own, batch_size=16, steps=6, seeds=(index,)), task)
        for together, epoch in zip(both.history, alone.history, strict=True):
            np.testing.assert_allclose(together["loss"][index], epoch["loss"][0], rtol=1e-4)
    same = fit(replace(recipe, dropout=0.1), task)
    np.testing.assert_allclose(same.history[0]["loss"][0], both.history[0]["loss"][0], rtol=1e-4)
    assert abs(same.history[0]["loss"][1] - both.history[0]["loss"][1]) > 1e-3
