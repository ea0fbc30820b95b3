"""Benchmarks that write a folder."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmjax.analysis.bench import identify_case, measure
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row
from mmjax.errors import UsageError
from mmjax.runs.columns import read_table
from mmjax.runs.damage import begin_changes, end_changes, find_damage
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.settings import Settings
from mmjax.storage.files import write_text
from mmjax.storage.jsonl import append_rows
from mmjax.storage.locks import locked
from mmjax.storage.manifest import check_listed
from mmjax.training.mesh import make_mesh, undivided

TABLE = "bench"


def bench_in(out: Path, cases: Sequence[Arm], console: Console) -> list[Row]:
    """Measures the cases that the folder has no rows for, and prints all of them.

    Args:
        out: receives bench.jsonl, with each row as soon as it is measured, bench.md and
            roofline.png.
        cases: from ``make_cases``.
        console: for progress and the table.

    Raises:
        UsageError: another process is writing to the folder.
        DataError: its rows are malformed or fail their checksum.
    """
    wanted = [identify_case(case) for case in cases]
    with locked(out):
        check_listed(out, ".jsonl")
        damage = find_damage(out)
        begin_changes(out, damage, console)
        found = _find(out, wanted)
        missing = [case for case, row in zip(cases, found, strict=True) if row is None]
        for case in track(missing, "cases", console=console, disable=not missing):
            append_rows(out / f"{TABLE}.jsonl", [measure(case)])
        rows = [row for row in _find(out, wanted) if row is not None]
        _show(out, rows, console)
        end_changes(out, damage, console)
    return rows


def _find(out: Path, wanted: Sequence[Row]) -> list[Row | None]:
    """The last row of each case in the folder, or None."""
    rows = read_table(out, TABLE)
    last = lambda facts: [row for row in rows if facts.items() <= row.items()][-1:]
    return [next(iter(last(facts)), None) for facts in wanted]


def _show(out: Path, rows: Sequence[Row], console: Console) -> None:
    from mmjax.report.figures.roofline import bench_markdown, bench_table, refusals, roofline_figure
    from mmjax.report.figures.scores_figure import save

    save(roofline_figure(rows), out / "roofline.png")
    write_text(out / "bench.md", bench_markdown(rows))
    console.print(bench_table(rows))
    for refusal in refusals(rows):
        console.print(refusal, style="bold")
    console.print(f"Rows, table and roofline: {out}", soft_wrap=True)


def make_cases(
    settings: Settings,
    strategies: Sequence[str],
    *,
    batch_sizes: Sequence[int] = (),
    dtypes: Sequence[str] = (),
    lanes: Sequence[int] = (),
    meshes: Sequence[str] = (),
) -> list[Arm]:
    """An arm for each combination; those that a mesh cannot divide evenly are skipped.

    Arguments that are not given are taken from the settings.

    Raises:
        UnknownNameError: a name is not registered.
        UsageError: there are too few training rows or devices; or no combination is left.

    Example:
        >>> from mmjax.runs.measure import make_cases
        >>> from mmjax.runs.settings import Settings
        >>> cases = make_cases(Settings("synthetic"), ["sum", "gmu"], batch_sizes=[32, 64])
        >>> [(case.strategy, case.recipe.batch_size) for case in cases]
        [('sum', 32), ('gmu', 32), ('sum', 64), ('gmu', 64)]
    """
    if not strategies:
        raise UsageError("strategies", expected="one or more", got="none")
    for named in meshes or filter(None, [settings.mesh]):
        make_mesh(named)  # reports too few devices before anything is measured
    task, cases = make_task(settings), []
    placed: Sequence[str | None] = meshes or [settings.mesh]
    for batch_size, dtype, seeds, mesh in product(
        batch_sizes or [settings.batch_size],
        dtypes or [settings.dtype],
        lanes or [settings.seeds],
        placed,
    ):
        if batch_size > task.train.size:
            expected = f"at most {task.train.size}, the number of training rows"
            raise UsageError("batch_size", expected=expected, got=str(batch_size))
        if mesh is None or not undivided(mesh, seed=seeds, data=batch_size):
            chosen = replace(settings, batch_size=batch_size, dtype=dtype, seeds=seeds, mesh=mesh)
            cases += make_arms(chosen, task, strategies)
    if not cases:
        raise UsageError("mesh", expected="one that divides rows and seeds", got=str([*meshes]))
    return cases
