"""Training speed, case by case, and the share of the machine's peak that it reaches."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mmjax.analysis.cost import count, training_cost
from mmjax.analysis.peaks import copy_gb_s, matmul_gflops
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, identify, versions
from mmjax.training.lanes import how
from mmjax.training.mesh import num_devices, place_lanes
from mmjax.training.program import compile_recipe
from mmjax.types import Prepared


def identify_case(arm: Arm) -> Row:
    """All that determines the measurements of a case: its settings, how it runs, and the machine.

    ``how`` is the mesh, or without one the result of ``mmjax.training.lanes.how``.
    """
    recipe, device = arm.recipe, jax.local_devices()[0]
    runs = recipe.mesh or how(len(recipe.seeds))
    devices = jax.local_device_count() if runs == "shard" else 1
    return {
        **identify(arm),
        "batch_size": recipe.batch_size,
        "dtype": recipe.dtype,
        "lanes": len(recipe.seeds),
        "devices": num_devices(recipe.mesh) if recipe.mesh else devices,
        "how": runs,
        "recipe": repr(recipe),
        "data": arm.task.digest(),
        "device": device.device_kind,
        "platform": device.platform,
        "versions": versions(),
    }


def measure(arm: Arm) -> Row:
    """Compiles and times the training of a case, and measures the peak rates of its devices.

    As in ``cost.cost_row``, ``step_ms`` (a median, with quartiles) is one lane's share of a
    step, and ``step_flops`` and ``step_bytes`` are those of one lane and batch. Operations are
    counted before XLA optimises and bytes after, whether from memory or from a cache. The
    operations are a lower bound (``flops_are``): the body of a loop, such as that of a recurrent
    encoder, counts once. Both are those of a step without C++ kernels, which XLA does not see into.

    ``gflops`` is the rate of those operations over all lanes, and ``share`` is that rate divided by
    ``matmul_gflops``, measured alongside with the same devices and dtype. A share outside (0, 1] is
    impossible: it is omitted and ``refused`` says why. ``refused`` also gives the error of a case
    that cannot run, for example because memory is insufficient.
    """
    facts = identify_case(arm)
    try:
        return {**facts, **_measure(arm, jax.local_devices()[: facts["devices"]])}
    except jax.errors.JaxRuntimeError as error:
        return {**facts, "refused": str(error).splitlines()[0]}


def _measure(arm: Arm, devices: Sequence[jax.Device]) -> dict[str, Any]:
    recipe = arm.recipe
    jax.clear_caches()  # otherwise later cases would reuse what the first one compiled
    program = compile_recipe(recipe, arm.task)
    train, *_ = next(iter(program.feed(recipe, arm.task)(0, 1)))
    lanes = place_lanes(program.init(recipe, Prepared()), program.mesh)
    carried = (lanes, np.zeros(len(recipe.seeds), bool), program.zeros)
    lanes, *_ = program.advance(carried, train, 0, 0)
    cost = training_cost(program, lanes, train)
    step_bytes = count(program.step.lower().compile(), "bytes accessed")
    per_second = 1e3 / cost["step_ms"] if cost["step_ms"] > 0 else math.inf
    rate, peak = 1e-9 * cost["step_flops"] * per_second, matmul_gflops(recipe.dtype, devices)
    return {
        **cost,
        "step_bytes": step_bytes,
        "intensity": cost["step_flops"] / step_bytes,
        "flops_are": "a lower bound",
        "samples_per_second": recipe.batch_size * per_second,
        "gflops": rate,
        "matmul_gflops": peak,
        "copy_gb_s": copy_gb_s(devices),
        **judge_share(rate, peak),
    }


def judge_share(rate: float, peak: float) -> dict[str, Any]:
    """``share``, the rate divided by the peak, if possible; and ``refused``, why not, or "".

    Example:
        >>> judge_share(25.0, peak=100.0)
        {'share': 0.25, 'refused': ''}
        >>> judge_share(125.0, peak=100.0)["refused"]
        '125 GFLOP/s against a measured peak of 100 is impossible'
    """
    share = rate / peak
    if 0 < share <= 1:
        return {"share": share, "refused": ""}
    reason = f"{rate:.4g} GFLOP/s against a measured peak of {peak:.4g} is impossible"
    return {"share": None, "refused": reason}
