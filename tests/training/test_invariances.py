"""In which type, parts and memory a step computes makes no difference beyond rounding."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import FUSIONS as CHOSEN
from representatives import representatives, slow
from small import make_task

from mmjax.errors import UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.methods import TwoStage
from mmjax.methods.greedy import Greedy
from mmjax.methods.mla import MLA
from mmjax.methods.pmr import PMR
from mmjax.objectives import cross_entropy
from mmjax.runs.settings import Settings, as_flags
from mmjax.training.epochs import take_rows
from mmjax.training.fit import fit
from mmjax.training.optimiser import Adam
from mmjax.training.recipe import Recipe, make_model
from mmjax.training.step import init_params, init_state, make_forward, make_step


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture(scope="module")
def rows(task):
    return take_rows(jax.device_put(task.train.batch()), np.arange(32))


def without_dropout(task, fusion):
    model = make_model(task, fusion, {"sequence": "mlp"})
    return model.clone(fusion=model.fusion.clone(dropout=0.0))


def step_once(task, rows, fusion="concat", **how):
    """Parameters and metrics after a step of a model without dropout."""
    model, tx = without_dropout(task, fusion), Adam(clip=1e9).build(3)
    state = init_state(init_params(model, rows, 0), tx, 0)
    return jax.jit(make_step(model, cross_entropy, tx, **how))(state, rows)


@pytest.mark.parametrize("count", [2, slow(8), slow(32)])
def test_the_mean_gradient_of_parts_is_that_of_the_batch(task, rows, count):
    whole, in_parts = step_once(task, rows), step_once(task, rows, accumulate=count)
    np.testing.assert_allclose(in_parts[1]["loss"], whole[1]["loss"], rtol=1e-5)
    # Adam's first moment is a tenth of the gradient; its update hides the gradient's size.
    first_moment = lambda done: jax.tree.leaves(done[0].opt_state)
    for got, want in zip(first_moment(in_parts), first_moment(whole), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_parts_draw_masks_of_their_own(task, rows):
    model = make_model(task, "concat", {"sequence": "mlp"})
    seen = []

    def objective(outputs, batch):
        jax.debug.callback(lambda x: seen.append(np.array(x)), outputs.prediction)
        return cross_entropy(outputs, batch)

    tx = Adam().build(3)
    state = init_state(init_params(model, rows, 0), tx, 0)
    same = jax.tree.map(lambda x: jnp.concatenate([x[:16], x[:16]]), rows)
    jax.block_until_ready(jax.jit(make_step(model, objective, tx, accumulate=2))(state, same))
    jax.effects_barrier()
    first, second = seen
    assert np.abs(first - second).max() > 1e-3


def test_a_batch_that_does_not_divide_is_refused(task):
    model = make_model(task, "concat", {"sequence": "mlp"})
    with pytest.raises(UsageError, match="accumulate: expected a divisor of the batch size 64"):
        Recipe(model, accumulate=3)
    with pytest.raises(UnknownNameError, match="float32"):
        Recipe(model, dtype="float16")


@pytest.mark.parametrize("method", [MLA(), Greedy(), PMR(), TwoStage(second=Greedy())])
def test_methods_that_count_steps_take_no_parts_for_steps(task, method):
    model = make_model(task, "concat", {"sequence": "mlp"})
    assert Recipe(model, method=method).accumulate == 1
    with pytest.raises(UsageError, match=rf"accumulate: expected 1 for {type(method).__name__}"):
        Recipe(model, method=method, accumulate=2)
    assert Recipe(model, method=TwoStage(), accumulate=2).accumulate == 2


@pytest.mark.slow
def test_a_batch_of_all_rows_is_cut_to_equal_parts(task):
    model = make_model(task, "concat", {"sequence": "mlp"})
    trained = fit(Recipe(model, batch_size=100, accumulate=5, steps=2, seeds=(0,)), task)
    assert np.isfinite(trained.history[-1]["loss"]).all()


def test_more_parts_than_rows_are_refused(task):
    recipe = Recipe(make_model(task, "concat"), batch_size=200, accumulate=100, seeds=(0,))
    with pytest.raises(UsageError, match="accumulate: expected at most 96, the rows per step"):
        fit(recipe, task)


@pytest.mark.parametrize("fusion", representatives(FUSIONS, CHOSEN[:-1]))
def test_every_fusion_computes_in_bfloat16(task, rows, fusion):
    model = make_model(task, fusion, {"sequence": "mlp"})
    if hasattr(model.fusion, "cells"):
        model = model.clone(fusion=model.fusion.clone(cells=((0, 0, 0),)))
    params = init_params(model, rows, 0)
    forward = make_forward(model, dtype="bfloat16")
    outputs = jax.eval_shape(forward, params, rows, jax.random.key(0))
    assert outputs.prediction.dtype == jnp.float32
    program = str(jax.make_jaxpr(forward)(params, rows, jax.random.key(0)))
    made = [line.split("=")[0] for line in program.splitlines() if "dot_general[" in line]
    assert sum(":bf16" in product for product in made) > len(made) / 2

    predict = lambda params, inputs: (
        model.apply({"params": params}, inputs, rows.present, train=False).prediction
    )
    narrow = predict(*jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, rows.inputs)))
    wide = predict(params, rows.inputs)
    np.testing.assert_allclose(narrow.astype(float), wide, atol=0.05 * (1 + np.abs(wide).max()))


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["transformer", "bottleneck"])
def test_blocks_that_are_computed_again_give_the_same_gradient(task, rows, fusion):
    kept, again = step_once(task, rows, fusion), step_once(task, rows, fusion, remat=True)
    for got, want in zip(
        *(jax.tree.leaves(done[0].opt_state) for done in (again, kept)), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.slow
def test_of_blocks_that_are_computed_again_little_is_kept(task, rows):
    model = without_dropout(task, "transformer")
    deep = model.clone(fusion=model.fusion.clone(num_layers=8, width=32))
    params = init_params(deep, rows, 0)

    def kept(remat):
        forward = make_forward(deep, remat=remat)
        loss = lambda p: cross_entropy(forward(p, rows, jax.random.key(0)), rows)[0]
        _, gradient = jax.vjp(loss, params)
        return sum(x.nbytes for x in jax.tree.leaves(gradient))

    assert kept(remat=True) < 0.3 * kept(remat=False)


@pytest.mark.slow
def test_training_in_bfloat16_learns_and_keeps_float32(task):
    recipe = Recipe(
        make_model(task, "gmu", {"sequence": "mlp"}), batch_size=16, steps=60, seeds=(0, 1)
    )
    narrow, wide = (fit(replace(recipe, dtype=dtype), task) for dtype in ("bfloat16", "float32"))
    assert {x.dtype for x in jax.tree.leaves(narrow.params)} == {np.dtype(np.float32)}
    best = lambda trained: max(epoch["valid_accuracy"].mean() for epoch in trained.history)
    assert best(narrow) > 0.6
    assert abs(best(narrow) - best(wide)) < 0.15


def test_the_command_line_says_them_again():
    settings = Settings(accumulate=4, dtype="bfloat16", remat=True)
    assert as_flags(settings) == "--accumulate 4 --dtype bfloat16 --remat"
    with pytest.raises(UsageError, match="remat: expected bool, got 1"):
        Settings(remat=1)
