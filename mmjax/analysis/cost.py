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

_SECONDS, _CALLS = 0.05, 5  # a timed call is repeated at least this long and this often
_STEPS = 3  # per timed call


def cost_row(arm: Arm, trained: Fit) -> dict[str, Any]:
    """The cost of the arm on this device, as one flat row.

    The forward pass of one row: ``params``, ``flops``, and ``bytes``, the memory traffic that XLA
    expects. Training as it was run: ``step_flops`` of one seed and batch; ``peak_bytes`` of all
    seeds, training rows included; ``compile_seconds``, whether compiled or loaded from the cache;
    and ``step_ms``, one seed's share of a step, a median with quartiles. Prediction from host
    memory to host memory: ``latency_1_us``, the median for one row and one seed, and
    ``latency_256_us``, the share of one row and one seed in a batch of 256.

    Operations are counted before XLA optimises, because library calls on a GPU hide theirs
    afterwards; the body of a loop, such as that of a recurrent encoder, counts once. Times are
    meaningful only on an otherwise idle machine.

    Args:
        arm: the strategy and its task.
        trained: its training, which is not changed.
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
        "bytes": count(alone, "bytes accessed"),
        "batch_size": min(arm.recipe.batch_size, task.train.size),
        **training,
        "latency_1_us": 1e6 * float(alone_seconds),
        "latency_256_us": 1e6 * float(many_seconds) / (256 * num_seeds),
        "device": jax.devices()[0].device_kind,
    }


def training_cost(program: Program, lanes: Lane, train: Batch | Block) -> dict[str, Any]:
    """The training part of ``cost_row``.

    Args:
        program: the training.
        lanes: [seeds, ...] where the program has put them; they are donated.
        train: the training rows, on the device.
    """
    num_seeds = num_lanes(lanes)
    carried = (lanes, np.zeros(num_seeds, bool), program.zeros)
    advance: Any = program.advance  # a compiled function, which has ``lower``
    training = advance.lower(carried, train, 0, 0).compile()  # compiled before: cached
    low, median, high = (1e3 * time_step(program, lanes, train) / num_seeds).tolist()
    return {
        "step_flops": count(program.step.lower(), "flops"),
        "peak_bytes": peak_bytes(training),
        "compile_seconds": program.seconds,
        "step_ms": median,
        "step_ms_low": low,
        "step_ms_high": high,
    }


def count(program: jax.stages.Lowered | jax.stages.Compiled, what: str) -> float:
    """A figure of XLA's cost analysis, such as "flops" or "bytes accessed".

    Example:
        >>> product = jax.jit(jnp.matmul).lower(jnp.ones((8, 8)), jnp.ones((8, 8)))
        >>> count(product, "flops")  # 2 n^3
        1024.0
    """
    analysis: Any = program.cost_analysis()
    return analysis[what]


def peak_bytes(program: jax.stages.Compiled) -> int:
    """Memory of arguments, of outputs that do not reuse an argument's, and of temporary arrays.

    Example:
        >>> add = jax.jit(lambda x: x + 1).lower(jnp.ones(256)).compile()
        >>> peak_bytes(add) >= 2 * 256 * 4  # the argument and the output
        True
    """
    memory: Any = program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return held - memory.alias_size_in_bytes + memory.temp_size_in_bytes


def time_call(call: Callable[[], Any]) -> np.ndarray:
    """Wall time of each of several calls in seconds, until their results are ready: [calls].

    Example:
        >>> time_call(lambda: time.sleep(0.01)).min() >= 0.01
        np.True_
    """
    jax.block_until_ready(call())
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < _CALLS or time.perf_counter() - start < _SECONDS:
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return np.array(times)


def time_step(program: Program, lanes: Lane, train: Batch | Block) -> np.ndarray:
    """Quartiles of the wall time of a train step of all seeds, in seconds: [3].

    The time of a call without any step, such as shuffling the rows once an epoch, is subtracted.

    Args:
        program: the training.
        lanes: [seeds, ...], which are donated.
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
    """Compiles the forward pass for a batch."""

    def predict(params, rows):
        outputs: Any = arm.recipe.model.apply(
            {"params": params}, rows.inputs, rows.present, train=False
        )
        return outputs.prediction

    jitted: Any = over_seeds(predict)
    return jitted.lower(params, rows).compile()


def _first_rows(task: Task, size: int) -> Batch:
    return task.valid.take(np.arange(size) % task.valid.size).batch()


def pareto_front(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Which points are not dominated by another: [points] bool.

    A point is dominated by one that costs no more and is at least as accurate, and is strictly
    better in one of the two; equal points do not dominate each other. A point with NaN is never on
    the front.

    Args:
        cost: [points], lower is better.
        accuracy: [points], higher is better.

    Example:
        >>> pareto_front(np.array([1.0, 2.0, 3.0]), np.array([0.8, 0.7, 0.9])).tolist()
        [True, False, True]
    """
    cheaper, equal = cost[None] < cost[:, None], cost[None] == cost[:, None]
    better, as_good = accuracy[None] > accuracy[:, None], accuracy[None] >= accuracy[:, None]
    beaten = (cheaper & as_good) | (equal & better)
    return ~beaten.any(axis=1) & ~np.isnan(cost) & ~np.isnan(accuracy)
