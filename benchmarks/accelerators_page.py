"""Writes what was measured on this machine into docs/accelerators.md, with the roofline figure.

    mmjax bench --out runs/bench
    python benchmarks/accelerators_page.py runs/bench --page docs/accelerators.md

benchmarks/gpu.sh makes all that belongs to a GPU. The text of the page is written by hand; what
stands between the markers is replaced.
"""

import shutil
from pathlib import Path
from statistics import median
from typing import Literal

import tyro
from page import fill
from performance_page import ratio, read
from speed import device_name

from mmjax.comparison.scores import versions
from mmjax.errors import DataError
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import read_rows

PEERS = ("eager", "tuned", "compile")


def main(
    run: tyro.conf.Positional[Path],
    page: Path = Path("docs/accelerators.md"),
    kind: Literal["measured", "gpu"] = "measured",
    peers: Path | None = None,
) -> None:
    """Replaces a table of the page, and the figure beside it.

    Args:
        run: folder of `mmjax bench`.
        page: the page to fill.
        kind: which of its tables: that of a CPU, or that of a GPU.
        peers: folder of benchmarks/speed.py, for a comparison with PyTorch.

    Raises:
        DataError: the page has no place for the table, or there is nothing to put there.
    """
    table = (run / "bench.md").read_text(encoding="utf-8").strip()
    devices = {row["device"] for row in read_rows(run / "bench.jsonl")} - {"cpu"}
    parts = [f"{', '.join(sorted(devices)) or device_name()}; {versions()}.", table]
    if peers:
        parts.append(compare_peers(peers))
    figure = page.with_name(f"{page.stem}{'-gpu' if kind == 'gpu' else ''}.png")
    shutil.copyfile(run / "roofline.png", figure)
    fill(page, "\n\n".join(parts), kind)


def compare_peers(folder: Path) -> str:
    """How many times as fast as each side of PyTorch mmjax trains, case by case.

    Raises:
        DataError: the folder has no rows of training.
    """
    rows = {(row.case, row.side): row for row in read(folder / "rows.jsonl")}
    cases = dict.fromkeys(case for case, _ in rows if case.work == "train")
    if not cases:
        raise DataError(folder, expected="rows of training", got="none")
    lines = []
    for case in cases:
        ours = rows[case, "mmjax"]
        cells = [case.model, case.batch_size, case.dtype, case.seeds]
        cells.append(f"{case.samples / median(ours.seconds):,.0f}")
        known = [rows.get((case, peer)) for peer in PEERS]
        lines.append([*cells, *(str(ratio(ours, peer)) if peer else "-" for peer in known)])
    facts = ours.facts
    heads = ["model", "batch", "type", "seeds", "samples/s", *(f"against {p}" for p in PEERS)]
    said = f"{facts['device']}; {facts['versions']}. Samples of all seeds; so many times PyTorch's."
    return f"{said}\n\n{markdown_table(heads, lines)}"


if __name__ == "__main__":
    tyro.cli(main)
