"""Recipes that are alike share their functions, and only those."""

from dataclasses import replace
from functools import partial, wraps

import flax.linen as nn
import jax
import numpy as np
import pytest
from small import make_task

from mmjax.augmentations import Noise
from mmjax.comparison.arm import make_arm
from mmjax.data.folds import fold_task
from mmjax.data.missing import lose
from mmjax.fusion import ConcatFusion
from mmjax.layers import platform
from mmjax.methods import METHODS
from mmjax.objectives import cross_entropy, focal
from mmjax.tasks.synthetic import synthetic
from mmjax.training import program
from mmjax.training.functions import make_functions
from mmjax.training.optimiser import Adam
from mmjax.training.recipe import join_lanes
from mmjax.training.step import init_params
from mmjax.types import Prepared


@pytest.fixture(scope="module")
def task():
    return synthetic(size=60)


def recipe_of(task, fusion="sum", **settings):
    return make_arm(task, fusion, steps=4, seeds=(0, 1), **settings).recipe


def are_shared(one, other):
    return make_functions(one, 10, None) is make_functions(other, 10, None)


def test_equal_recipes_of_any_seeds_share(task):
    recipe = recipe_of(task, augment={"a": (Noise(),)})
    assert are_shared(recipe, recipe_of(task, augment={"a": (Noise(),)}))
    assert are_shared(recipe, replace(recipe, seeds=(5, 2)))


def test_what_is_an_argument_of_the_program_is_shared(task):
    recipe = recipe_of(task, dropout=0.1)
    assert are_shared(recipe, replace(recipe, dropout=0.3, patience=2))
    join = lambda *rates: join_lanes([replace(recipe, tx=Adam(rate)) for rate in rates])
    assert are_shared(join(0.1, 0.2), join(0.3, 0.4))
    assert not are_shared(join(0.1, 0.2), join(0.1, 0.2, 0.3))
    start = lambda recipe: make_functions(recipe, 10, None).init(
        recipe, Prepared(), rows=task.train.batch()
    )
    dropout = start(replace(recipe, dropout=(0.2, 0.4))).state.dropout
    np.testing.assert_array_equal(dropout, np.float32([0.2, 0.4]))
    rates = np.float32([0.3, 0.3, 0.4, 0.4])
    state = start(join(0.3, 0.4)).state.opt_state
    assert any(np.array_equal(rates, x) for x in jax.tree.leaves(state))


@pytest.fixture
def compilations():
    """Grows with each program that XLA compiles."""
    seen = []
    note = lambda name, seconds, **facts: "backend_compile" in name and seen.append(name)
    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


def test_equal_shapes_are_compiled_once(compilations):
    folds = [fold.task for fold in fold_task(synthetic(size=60), folds=3).folds]
    lost = lose(folds[1], {"a": 0.5})
    assert len({fold.train.size for fold in folds}) == 1
    for task in (*folds, lost):
        compilations.clear()
        recipe = make_arm(task, "sum", steps=4, seeds=(0, 1), dropout=0.2).recipe
        program.compile_recipe(recipe, task)
        program.compile_recipe(replace(recipe, seeds=(8, 9), dropout=0.3, patience=3), task)
        assert bool(compilations) == (task is folds[0])


def test_what_changes_a_program_is_not_shared(task, monkeypatch):
    recipe = recipe_of(task)
    others = [
        replace(recipe, seeds=(0, 1, 2)),
        replace(recipe, steps=5),
        replace(recipe, tx=Adam(1e-4)),
        replace(recipe, dropout=0.3),
        recipe_of(task, "max"),
        recipe_of(task, method=METHODS["ogm_ge"]()),
        recipe_of(task, absent="mean"),
        replace(recipe, augment={"a": (Noise(),)}),
        replace(recipe, augment={"a": (Noise(0.2),)}),
        replace(recipe, mixup=0.2),
        replace(recipe, class_weights=(1.0, 2.0)),
        replace(recipe, sampling="balanced"),
    ]
    for other in others:
        assert not are_shared(recipe, other), other
    assert make_functions(recipe, 10, None) is not make_functions(recipe, 12, None)
    before = make_functions(recipe, 10, None)
    monkeypatch.setenv("MMJAX_LANES", "vmap")
    assert make_functions(recipe, 10, None) is not before


def test_arrays_in_a_model_are_compared_by_value():
    task = make_task()
    recipe = recipe_of(task, absent="mean")
    moved = {name: mean + np.float32(1) for name, mean in recipe.model.means.items()}
    for mean in moved.values():
        mean.setflags(write=False)
    assert recipe.model.means
    assert are_shared(recipe, recipe_of(task, absent="mean"))
    assert not are_shared(recipe, replace(recipe, model=recipe.model.clone(means=moved)))


class Mine(ConcatFusion):
    """A fusion of the user's, which may read what has changed."""


def my_loss(outputs, batch):
    return cross_entropy(outputs, batch)


def test_code_of_the_users_is_not_shared(task):
    recipe = recipe_of(task)
    mine = replace(recipe, model=recipe.model.clone(fusion=Mine(out_dim=2)))
    assert not are_shared(mine, mine)
    assert not are_shared(*[replace(recipe, objective=my_loss)] * 2)
    assert not are_shared(*[replace(recipe, objective=partial(my_loss))] * 2)
    library = partial(cross_entropy)
    assert are_shared(*[replace(recipe, objective=library)] * 2)


@pytest.mark.parametrize("wrap", [wraps(cross_entropy), jax.custom_jvp, jax.jit])
def test_an_objective_of_the_users_in_a_wrapper_is_not_shared(task, wrap):
    recipe = replace(recipe_of(task), objective=wrap(my_loss))
    assert not are_shared(recipe, recipe)


@pytest.mark.parametrize("wrap", [nn.jit, nn.remat])
def test_a_fusion_of_the_users_in_a_wrapper_is_not_shared(task, wrap):
    recipe = recipe_of(task)
    recipe = replace(recipe, model=recipe.model.clone(fusion=wrap(Mine)(out_dim=2)))
    assert not are_shared(recipe, recipe)


def test_arrays_that_can_be_written_to_are_not_shared(task):
    focus = np.array(0.0, np.float32)
    recipe = replace(recipe_of(task), objective=partial(focal, focus=focus))
    assert not are_shared(recipe, recipe)
    focus.setflags(write=False)
    assert are_shared(recipe, recipe)


def test_a_seed_starts_alike_whatever_is_beside_it(task):
    recipe, rows = recipe_of(task), task.train.batch()
    start = lambda *seeds: make_functions(replace(recipe, seeds=seeds), 10, None).init(
        replace(recipe, seeds=seeds), Prepared(), rows=rows
    )
    both, alone = start(3, 2**31), start(2**31)
    for x, y in zip(jax.tree.leaves(both.best), jax.tree.leaves(alone.best), strict=True):
        np.testing.assert_array_equal(x[1], y[0])
    assert any(x[0].any() and (x[0] != x[1]).any() for x in jax.tree.leaves(both.best))


def test_small_work_is_compiled_with_little_effort(task, monkeypatch):
    asked = []
    make = lambda *arguments: asked.append(arguments[3]) or make_functions(*arguments)
    monkeypatch.setattr(program, "make_functions", make)
    recipe = recipe_of(task)
    for steps in (4, 10**7):
        program.make_program(replace(recipe, steps=steps), task)
    assert asked == ["low", "normal"]
    assert make_functions(recipe, 10, None) is not make_functions(recipe, 10, None, "low")


def test_effort_changes_rounding_only(task, monkeypatch):
    normal = {"xla_backend_optimization_level": 1}  # as for users: tests are in a hurry
    monkeypatch.setitem(platform._EFFORTS, "normal", normal)
    monkeypatch.setitem(platform._EFFORTS, "low", {**normal, **platform._LOW})
    recipe = recipe_of(task, "gmu")
    params = jax.tree.map(lambda x: x[None], init_params(recipe.model, task.valid.batch(), 0))
    evaluate = lambda effort: make_functions(recipe, 10, None, effort).evaluate
    low, normal = (evaluate(e).predict(params, task.valid.batch()) for e in ("low", "normal"))
    np.testing.assert_allclose(low, normal, rtol=1e-5, atol=1e-6)
