"""What a strategy costs: operations, memory, compilation, training and prediction time."""

import time
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.data.task import Task
from mmjax.training.epochs import Lane
from mmjax.training.feed import Block
from mmjax.training.fit import Fit
from mmjax.training.lanes import num_lanes, over_seeds
from mmjax.training.program import Program
from mmjax.types import Batch

_SECONDS, _CALLS = 0.1, 5  # a call is repeated for so long, and so often, at least
_STEPS = 3  # of a call that is timed


def cost_row(arm: Arm, trained: Fit) -> dict[str, Any]:
    """What the arm costs on this device, as one flat row.

    The forward pass of one row: ``params``, ``flops`` and ``bytes``, what XLA expects to read and
    write. Training as it was run: ``step_flops`` of one seed and batch, ``peak_bytes`` of all seeds
    with the training rows, ``compile_seconds``, compiled or loaded from the cache, and ``step_ms``,
    a seed's share of a step, a median with its quartiles. Prediction from host memory to host
    memory: ``latency_1_us``, a median for one row and one seed, and ``latency_256_us``, a row's and
    a seed's share of a batch of 256.

    Operations are counted before XLA optimises, because afterwards a GPU's library calls hide
    theirs; the body of a loop, as of a recurrent encoder, counts once. Times hold for an otherwise
    idle machine only.

    Args:
        arm: the strategy and its task.
        trained: its training; nothing of it changes.
    """
    task, num_seeds, program = arm.task, len(arm.recipe.seeds), trained.program
    lanes = jax.tree.map(jnp.copy, Lane(trained.state, trained.params))
    train, *_ = next(iter(program.feed(arm.recipe, task)(0, _STEPS)))
    training = training_cost(program, lanes, train)
    one, many = (_first_rows(task, size) for size in (1, 256))
    first = jax.tree.map(lambda x: x[:1], trained.params)
    alone = _compile_predict(arm, first, one)
    alone_seconds = np.median(time_call(lambda: jax.device_get(alone(first, one))))
    many_seconds = np.median(time_call(lambda: trained.predict(trained.params, many)))
    return {
        "task": task.name,
        "strategy": arm.strategy,
        **program.sizes._asdict(),
        "bytes": alone.cost_analysis()["bytes accessed"],
        "batch_size": min(arm.recipe.batch_size, task.train.size),
        **training,
        "latency_1_us": 1e6 * float(alone_seconds),
        "latency_256_us": 1e6 * float(many_seconds) / (256 * num_seeds),
        "device": jax.devices()[0].device_kind,
    }


def training_cost(program: Program, lanes: Lane, train: Batch) -> dict[str, Any]:
    """The part of ``cost_row`` that is about training.

    Args:
        program: the training.
        lanes: [seeds, ...] where the program has put them, used up.
        train: the training rows, on the device.
    """
    num_seeds = num_lanes(lanes)
    carried = (lanes, np.zeros(num_seeds, bool), program.zeros)
    training = program.advance.lower(carried, train, 0, 0).compile()  # that is done already
    low, median, high = (1e3 * time_step(program, lanes, train) / num_seeds).tolist()
    return {
        "step_flops": program.step.lower().cost_analysis()["flops"],
        "peak_bytes": peak_bytes(training),
        "compile_seconds": program.seconds,
        "step_ms": median,
        "step_ms_low": low,
        "step_ms_high": high,
    }


def peak_bytes(program: jax.stages.Compiled) -> int:
    """Arguments, outputs that do not take the place of an argument, and temporary arrays."""
    memory = program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return held - memory.alias_size_in_bytes + memory.temp_size_in_bytes


def time_call(call: Callable[[], Any]) -> np.ndarray:
    """Wall time of each of several calls, in seconds, until the results are there: [calls]."""
    jax.block_until_ready(call())
    times, start = [], time.perf_counter()
    while len(times) < _CALLS or time.perf_counter() - start < _SECONDS:
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return np.array(times)


def time_step(program: Program, lanes: Lane, train: Batch | Block) -> np.ndarray:
    """Quartiles of the wall time of a train step of all seeds, in seconds: [3].

    What a call takes without a step, such as shuffling the rows once an epoch, is subtracted.

    Args:
        program: the training.
        lanes: [seeds, ...], used up.
        train: training rows of the program, on the device.
    """
    same = np.zeros(len(lanes.state.step), bool)

    def advance(steps: int) -> Lane:
        nonlocal lanes
        lanes, *_ = program.advance((lanes, same, program.zeros), train, 0, steps)
        return lanes

    idle = np.median(time_call(lambda: advance(0)))
    return (np.quantile(time_call(lambda: advance(_STEPS)), [0.25, 0.5, 0.75]) - idle) / _STEPS


def _compile_predict(arm: Arm, params: chex.ArrayTree, rows: Batch) -> jax.stages.Compiled:
    """The forward pass compiled for a batch."""

    def predict(params, rows):
        outputs = arm.recipe.model.apply({"params": params}, rows.inputs, rows.present, train=False)
        return outputs.prediction

    return over_seeds(predict).lower(params, rows).compile()


def _first_rows(task: Task, size: int) -> Batch:
    return task.valid.take(np.arange(size) % task.valid.size).batch()


def pareto_front(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Which points no other beats: [points] bool.

    A point is beaten by one that costs no more and is at least as accurate, and better in one of
    the two; equal points do not beat each other. A point with NaN is never on the front.

    Args:
        cost: [points], lower is better.
        accuracy: [points], higher is better.
    """
    cheaper, equal = cost[None] < cost[:, None], cost[None] == cost[:, None]
    better, as_good = accuracy[None] > accuracy[:, None], accuracy[None] >= accuracy[:, None]
    beaten = (cheaper & as_good) | (equal & better)
    return ~beaten.any(axis=1) & ~np.isnan(cost) & ~np.isnan(accuracy)
