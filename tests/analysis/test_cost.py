"""Costs of programs whose operations can be counted by hand, and fronts against brute force."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.text import Text
from small import make_task

from mmjax.analysis import cost
from mmjax.analysis.cost import cost_row, pareto_front, peak_bytes, time_call, time_step
from mmjax.analysis.summary import Summary
from mmjax.comparison.arm import make_arm
from mmjax.metrics import METRICS
from mmjax.report.figures.cost_figures import cost_figure, spread_heights
from mmjax.training.epochs import Lane
from mmjax.training.fit import fit
from mmjax.training.optimiser import as_vector
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


class Clock:
    """In place of ``time``: stands still but for what is told to it, and a tick a look."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cost, "time", clock)
    return clock


@pytest.mark.parametrize(("seconds", "calls"), [(0.25, 5), (0.125, 8)])
def test_calls_are_timed_one_by_one_so_often_and_so_long(clock, monkeypatch, seconds, calls):
    monkeypatch.setattr(cost, "_SECONDS", 1.0)
    monkeypatch.setattr(cost, "_CALLS", 5)

    def call():
        clock.now += seconds

    assert time_call(call).tolist() == [seconds] * calls


def test_a_step_is_timed_without_what_an_epoch_adds(clock):
    """An epoch of half a second, and an eighth of one for a step; the last call takes longer."""
    calls = []

    def advance(carried, train, first, last):
        calls.append(last - first)
        clock.now += 0.5 + 0.125 * (last - first) + 0.75 * (calls.count(last) == 5 and last > 0)
        return carried

    cost_calls = 4
    lanes = Lane(TrainState(jnp.zeros(2, int), {}, {}, None), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "_CALLS", cost_calls)
        low, median, high = time_step(
            Program(None, advance, {}, None, None, 0.0, None, 1), lanes, None
        )
    assert calls == [0] * 5 + [3] * 5  # one of each is not timed
    assert low == median == 0.125
    assert high == pytest.approx(0.125 + 0.25 * 0.75 / 3)  # a quarter of the way to the last


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
    """With a clock by which every call takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "time", Clock(tick=1.0))
        return cost_row(arm, trained)


def test_the_row_says_what_it_measured(arm, program, row):
    assert (row["task"], row["strategy"], row["batch_size"]) == ("small", "concat", 32)
    assert (row["params"], row["flops"]) == sizes(arm.recipe.model, arm.task)
    assert row["compile_seconds"] == program.seconds
    assert all(isinstance(value, str | int | float) for value in row.values())


def test_the_operations_of_a_step_are_those_of_one_seed_and_batch(arm, trained, row):
    recipe = arm.recipe
    tx = as_vector(recipe.tx.build(recipe.steps))
    step = make_step(recipe.model, recipe.objective, tx, recipe.method)
    state = jax.tree.map(lambda x: x[0], trained.state)
    batch = arm.task.train.take(np.arange(32)).batch()
    alone = jax.jit(step).lower(state, batch).cost_analysis()["flops"]
    assert row["step_flops"] == alone > 32 * 2 * row["flops"]


def test_training_holds_parameters_their_best_and_two_moments_of_every_seed(arm, row):
    rows = arm.task.train.size * 4 * 5
    assert row["peak_bytes"] > 4 * 2 * 4 * row["params"] + rows
    assert row["bytes"] > 4 * row["params"]


def test_latencies_are_of_a_row_and_a_seed(row):
    assert row["latency_1_us"] == 1e6
    assert row["latency_256_us"] == 1e6 / (2 * 256)
    assert [row[name] for name in ("step_ms_low", "step_ms", "step_ms_high")] == [0.0] * 3


def test_the_training_is_as_it_was(arm, trained, program, row):
    again = fit(arm.recipe, arm.task, program=program)
    jax.tree.map(np.testing.assert_array_equal, trained.params, again.params)
    assert trained.state.step.tolist() == [3, 3]


def test_nothing_is_compiled_again(arm, trained, program, row):
    """Training is asked for its own compiled program, which is there."""
    compiled = []
    listen = lambda event, seconds, **_: "backend_compile" in event and compiled.append(event)
    lanes = Lane(trained.state, trained.params)
    carried = (lanes, np.zeros(2, bool), program.zeros)
    arguments = (carried, jax.device_put(arm.task.train.batch()), 0, 0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    program.advance.lower(*arguments).compile()
    jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


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
        name, name.endswith("_only"), METRICS["accuracy"], mean + seeds, *[seeds] * 2, 1, 1
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
