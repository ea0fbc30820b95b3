"""Benchmarks in a folder."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import track

from mmjax.arms import Arm
from mmjax.bench import Case, identify_case, measure
from mmjax.errors import UsageError
from mmjax.files import locked, write_text
from mmjax.lanes import how, on_devices
from mmjax.report.rows import append_rows, read_rows
from mmjax.runs.parts import make_arms, make_task
from mmjax.scoring import Row
from mmjax.settings import Settings

ROWS = "bench.jsonl"


def bench_in(out: Path, cases: Sequence[Case], console: Console) -> list[Row]:
    """Measures the cases that a folder has no rows of, and shows those of all of them.

    Args:
        out: gets bench.jsonl, a row as soon as it is measured, bench.md and roofline.png.
        cases: what is asked for.
        console: where progress and the table go.

    Raises:
        UsageError: another process writes to the folder.
        DataError: its rows cannot be read.
    """
    wanted = [identify_case(case) for case in cases]
    with locked(out):
        found = _find(out, wanted)
        missing = [case for case, row in zip(cases, found, strict=True) if row is None]
        for case in track(missing, "cases", console=console, disable=not missing):
            append_rows(out / ROWS, [measure(case)])
        rows = _find(out, wanted)
        _show(out, rows, console)
    return rows


def _find(out: Path, wanted: Sequence[Row]) -> list[Row | None]:
    """The last row in the folder of each case, or None."""
    rows = read_rows(out / ROWS) if (out / ROWS).exists() else []
    last = lambda facts: [row for row in rows if facts.items() <= row.items()][-1:]
    return [next(iter(last(facts)), None) for facts in wanted]


def _show(out: Path, rows: Sequence[Row], console: Console) -> None:
    from mmjax.report.figures import save
    from mmjax.report.roofline import bench_markdown, bench_table, refusals, roofline_figure

    save(roofline_figure(rows), out / "roofline.png")
    write_text(out / "bench.md", bench_markdown(rows))
    console.print(bench_table(rows))
    for refusal in refusals(rows):
        console.print(refusal, style="bold", markup=False)
    console.print(f"Rows, table and roofline: {out}", highlight=False, soft_wrap=True)


def make_cases(
    settings: Settings,
    strategies: Sequence[str],
    *,
    batch_sizes: Sequence[int] = (),
    dtypes: Sequence[str] = (),
    lanes: Sequence[int] = (),
    devices: Sequence[int] = (1,),
) -> list[Case]:
    """Every combination whose lanes can be dealt out to its devices.

    What is not given is as the settings have it; a mesh of theirs takes all devices.

    Raises:
        UnknownNameError: a name is in none of the tables.
        UsageError: there are too few training rows or devices; or no combination is left.
    """
    task = make_task(settings)
    if settings.mesh:
        devices = (jax.local_device_count(),)
    batch_sizes = batch_sizes or [settings.batch_size]
    _check_at_most(task.train.size, "batch_size", "training rows", batch_sizes)
    _check_at_most(jax.local_device_count(), "devices", "local devices", devices)
    cases = []
    for size, dtype, count in product(
        batch_sizes, dtypes or [settings.dtype], lanes or [settings.seeds]
    ):
        chosen = replace(settings, batch_size=size, dtype=dtype, seeds=count)
        arms = make_arms(chosen, task, strategies)
        cases += [Case(arm, n) for arm, n in product(arms, devices) if _can_deal(arm, n)]
    if not cases:
        raise UsageError(
            "lanes", expected=f"a multiple of the devices, {[*devices]}", got=str([*lanes])
        )
    return cases


def _check_at_most(most: int, argument: str, what: str, values: Sequence[int]) -> None:
    for value in values:
        if not 1 <= value <= most:
            raise UsageError(argument, expected=f"from 1 to {most}, the {what}", got=str(value))


def _can_deal(arm: Arm, devices: int) -> bool:
    if devices == 1 or arm.recipe.mesh:
        return True
    with on_devices(devices):
        return how(len(arm.recipe.seeds)) == "shard"
