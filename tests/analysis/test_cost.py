"""Costs of programs whose operations can be counted by hand, and fronts against brute force."""

import time
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.text import Text
from small import make_task

from mmjax.analysis.cost import cost_row, pareto_front, peak_bytes, time_call, time_step
from mmjax.analysis.summary import Summary
from mmjax.comparison.arm import make_arm
from mmjax.report.figures.cost_figures import cost_figure, spread_heights
from mmjax.training.epochs import Lane
from mmjax.training.fit import fit
from mmjax.training.program import Program, compile_recipe
from mmjax.training.sizes import sizes
from mmjax.training.step import make_step
from mmjax.types import TrainState


def test_a_matrix_product_holds_what_it_must():
    """64 x 128 times 128 x 32, in four bytes a number."""
    product = jax.jit(jnp.matmul).lower(jnp.ones((64, 128)), jnp.ones((128, 32))).compile()
    held = 4 * (64 * 128 + 128 * 32 + 64 * 32)
    assert held <= peak_bytes(product) < 1.1 * held


def test_a_donated_argument_counts_once_and_temporary_arrays_count():
    add = lambda **options: jax.jit(lambda x: x + 1, **options).lower(jnp.ones(1000)).compile()
    assert peak_bytes(add()) == 8000
    assert peak_bytes(add(donate_argnums=0)) == 4000
    # The sine is needed whole before its order is known.
    sorting = jax.jit(lambda x: jnp.argsort(jnp.sin(x))[:1]).lower(jnp.ones(1000)).compile()
    assert peak_bytes(sorting) > 8000


def test_calls_are_timed_one_by_one():
    times = time_call(lambda: time.sleep(0.003))
    assert len(times) >= 5
    assert 0.003 <= np.median(times) < 0.02


def test_a_step_is_timed_without_what_an_epoch_adds():
    """An epoch of 20 ms, and 5 ms a step."""

    def advance(carried, train, first, last):
        time.sleep(0.02 + 0.005 * (last - first))
        return carried

    lanes = Lane(TrainState(jnp.zeros(2, int), {}, {}, None), {})
    low, median, high = time_step(Program(advance, {}, None, None, 0.0, None), lanes, None)
    assert 0.004 < median < 0.01
    assert low <= median <= high


@pytest.fixture(scope="module")
def arm():
    task = make_task().only("vector")
    return make_arm(task, "concat", {"vector": "raw"}, batch_size=32, steps=3, seeds=(0, 1))


@pytest.fixture(scope="module")
def program(arm):
    return compile_recipe(arm.recipe, arm.task)


@pytest.fixture(scope="module")
def trained(arm, program):
    return fit(arm.recipe, arm.task, program=program)


@pytest.fixture(scope="module")
def row(arm, trained):
    return cost_row(arm, trained)


def test_the_row_says_what_it_measured(arm, program, row):
    assert (row["task"], row["strategy"], row["batch_size"]) == ("small", "concat", 32)
    assert (row["params"], row["flops"]) == sizes(arm.recipe.model, arm.task)
    assert row["compile_seconds"] == program.seconds
    assert all(isinstance(value, str | int | float) for value in row.values())


def test_the_operations_of_a_step_are_those_of_one_seed_and_batch(arm, trained, row):
    recipe = arm.recipe
    step = make_step(recipe.model, recipe.objective, recipe.tx.build(recipe.steps), recipe.method)
    state = jax.tree.map(lambda x: x[0], trained.state)
    batch = arm.task.train.take(np.arange(32)).batch()
    alone = jax.jit(step).lower(state, batch).cost_analysis()["flops"]
    assert row["step_flops"] == alone > 32 * 2 * row["flops"]


def test_training_holds_parameters_their_best_and_two_moments_of_every_seed(arm, row):
    rows = arm.task.train.size * 4 * 5
    assert row["peak_bytes"] > 4 * 2 * 4 * row["params"] + rows
    assert row["bytes"] > 4 * row["params"]


def test_times_are_ordered_and_a_row_is_cheaper_among_many(row):
    assert row["step_ms_low"] <= row["step_ms"] <= row["step_ms_high"]
    assert 0 < row["latency_256_us"] < row["latency_1_us"]


def test_the_training_is_as_it_was(arm, trained, program, row):
    again = fit(arm.recipe, arm.task, program=program)
    jax.tree.map(np.testing.assert_array_equal, trained.params, again.params)
    assert trained.state.step.tolist() == [3, 3]


def test_nothing_is_compiled_again(arm, trained, program, row):
    """Training is asked for its own compiled program, which is there in no time."""
    start = time.perf_counter()
    lanes = Lane(trained.state, trained.params)
    carried = (lanes, np.zeros(2, bool), program.zeros)
    arguments = (carried, jax.device_put(arm.task.train.batch()), 0, 0)
    program.advance.lower(*arguments).compile()
    assert time.perf_counter() - start < 0.1 * row["compile_seconds"]


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    cost, accuracy = rng.integers(0, 6, 40) * 1.0, rng.integers(0, 6, 40) * 1.0
    beats = lambda i, j: (
        cost[i] <= cost[j]
        and accuracy[i] >= accuracy[j]
        and (cost[i], accuracy[i]) != (cost[j], accuracy[j])
    )
    want = [not any(beats(i, j) for i in range(40)) for j in range(40)]
    got = pareto_front(cost, accuracy)
    assert 0 < sum(want) < 40
    np.testing.assert_array_equal(got, want)
    order = rng.permutation(40)
    np.testing.assert_array_equal(pareto_front(cost[order], accuracy[order]), got[order])


def test_equal_points_share_the_front_and_missing_ones_have_no_place():
    cost, accuracy = np.array([1.0, 1, 1, 2, np.nan, 0]), np.array([3.0, 3, 2, 3, 9, np.nan])
    assert pareto_front(cost, accuracy).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
def test_names_are_spread_in_order_and_within_the_axes(count):
    heights = np.sort(np.random.default_rng(count).uniform(0.8, 1, count))
    got = spread_heights(heights, 0.05)
    assert ((got >= 0) & (got <= 1 + 1e-9)).all()
    gap = min(0.05, 1 / max(count - 1, 1))
    assert (np.diff(got) >= gap - 1e-9).all()


def test_names_far_apart_stay_where_they_are():
    np.testing.assert_allclose(spread_heights(np.array([0.1, 0.5, 0.9]), 0.05), [0.1, 0.5, 0.9])


def make_summaries(accuracies):
    seeds = np.array([-0.001, 0.001])
    make = lambda name, mean: Summary(
        name, name.endswith("_only"), "accuracy", mean + seeds, *[seeds] * 2, 1, 1
    )
    return [make(name, mean) for name, mean in accuracies.items()]


@pytest.mark.parametrize(("count", "named"), [(12, 14), (18, 18)])
def test_the_figure_names_all_or_the_front_and_no_names_overlap(count, named):
    accuracies = {f"strategy_{k}": 0.9 + k / 1000 for k in range(count)}
    accuracies |= {"beaten": 0.8, "a_only": 0.7, "unknown": 0.99}
    costs = [{"strategy": name, "flops": 1e5 * (k + 1)} for k, name in enumerate(accuracies)]
    figure = cost_figure(make_summaries(accuracies), costs[:-1])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    names = ["a_only", "beaten", *list(accuracies)[:count]]  # by score
    assert [text.get_text() for text in axes.texts] == names[-named:]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the point
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    assert all(figure.bbox.containsx(box.x1) and figure.bbox.containsy(box.y1) for box in boxes)
    assert all(box.x0 > axes.bbox.x1 for box in boxes)
    assert len(axes.containers) == count + 2
