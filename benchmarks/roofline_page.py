"""Predicts from counted operations, without any accelerator, what training would take on some.

    python benchmarks/roofline_page.py --page docs/accelerators.md

The train step of every fusion on ``digits`` is lowered for a GPU and its operations and bytes are
counted; nothing is timed. Writes a table between two markers of the page, and all figures to a CSV
file beside it. About five minutes.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from page import fill
from rich.progress import track

from mmjax.analysis.cost import count
from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import versions
from mmjax.data.task import Task
from mmjax.layers.platform import stated_platform
from mmjax.registry import FUSIONS
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_csv
from mmjax.tasks import load_task
from mmjax.training.program import make_program

BATCH_SIZE, LANES = 128, (1, 8, 64)


class Peak(NamedTuple):
    """What a manufacturer states: dense matrix products of float32 by JAX's default, and memory.

    JAX rounds float32 operands to TF32 on GPUs, and to bfloat16 on TPU.
    """

    tflops: float
    gb_s: float


PEAKS = {"H100": Peak(495, 3350), "H200": Peak(495, 4800), "TPU v5e": Peak(197, 819)}


class Counts(NamedTuple):
    """One train step of one lane.

    Attributes:
        flops: operations, elementwise ones included.
        least: bytes of the batch, and of the state read once and written once.
        most: bytes if every operation read its operands from memory and wrote its result there.
    """

    flops: float
    least: float
    most: float


def count_step(strategy: str, task: Task) -> Counts:
    """Lowers the step of a strategy for a GPU, and counts."""
    with stated_platform("gpu"):
        arm = make_arm(task, strategy, seeds=(0,), batch_size=BATCH_SIZE)
        program, (lanes, *_) = make_program(arm.recipe, task)
        step = program.step.lower(lowering_platforms=("cuda",))
    rows = task.train.batch()
    batch = _num_bytes(rows) / len(rows.target) * BATCH_SIZE
    state = _num_bytes((lanes.state.params, lanes.state.opt_state, lanes.state.memory))
    return Counts(count(step, "flops"), 2 * state + batch, count(step, "bytes accessed"))


def _num_bytes(tree: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def predict(counts: Counts, peak: Peak, lanes: int) -> tuple[float, float]:
    """Bounds of the roofline on the milliseconds that a step of all lanes takes.

    Example:
        >>> predict(Counts(flops=1e9, least=1e6, most=1e8), Peak(100, 1000), lanes=1)
        (0.01, 0.1)
    """
    arithmetic = counts.flops / (1e9 * peak.tflops)
    low, high = (
        lanes * max(arithmetic, moved / (1e6 * peak.gb_s)) for moved in (counts.least, counts.most)
    )
    return low, high


def main(page: Path, strategies: tuple[str, ...] = tuple(FUSIONS)) -> None:
    """Predicts, and fills the page.

    Args:
        page: the page to fill.
        strategies: names of fusions; by default all.

    Raises:
        DataError: the page has no place for the table.
    """
    task = load_task("digits")
    counted = {name: count_step(name, task) for name in track(strategies, "fusions")}
    columns = ("strategy", "GFLOP", "least MB", "most MB", *PEAKS)
    table = markdown_table(columns, [[name, *_cells(counts)] for name, counts in counted.items()])
    fill(page, f"{versions()}.\n\n{table.strip()}", "predicted")
    head = ["strategy", "lanes", "flops", "least_bytes", "most_bytes"]
    head += [f"{name} {bound} ms" for name in PEAKS for bound in ("least", "most")]
    write_csv(page.with_name(f"{page.stem}-predicted.csv"), [head, *_rows(counted)])


def _cells(counts: Counts) -> Iterator[str]:
    yield f"{1e-9 * counts.flops:.2f}"
    yield from (f"{1e-6 * moved:.1f}" for moved in (counts.least, counts.most))
    for peak in PEAKS.values():
        low, high = predict(counts, peak, max(LANES))
        yield f"{low:.2g} to {high:.2g}"


def _rows(counted: dict[str, Counts]) -> Iterator[list[Any]]:
    for name, counts in counted.items():
        for lanes in LANES:
            bounds = [ms for peak in PEAKS.values() for ms in predict(counts, peak, lanes)]
            all_lanes = (f"{lanes * number:.6g}" for number in counts)
            yield [name, lanes, *all_lanes, *(f"{ms:.3g}" for ms in bounds)]


if __name__ == "__main__":
    tyro.cli(main)
