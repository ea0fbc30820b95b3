"""Writes what `mmjax bench` measured on this machine into docs/accelerators.md, with its figure.

    mmjax bench --out runs/bench
    python benchmarks/accelerators_page.py runs/bench --page docs/accelerators.md

The text of the page is written by hand; what stands between its two markers is replaced.
"""

import shutil
from pathlib import Path

import tyro
from page import fill
from speed import device_name

from mmjax.comparison.scores import versions


def main(run: tyro.conf.Positional[Path], page: Path = Path("docs/accelerators.md")) -> None:
    """Replaces the table of the page, and the figure beside it.

    Raises:
        DataError: the page has no place for the table.
    """
    table = (run / "bench.md").read_text(encoding="utf-8").strip()
    fill(page, f"{device_name()}; {versions()}.\n\n{table}")
    shutil.copyfile(run / "roofline.png", page.with_suffix(".png"))


if __name__ == "__main__":
    tyro.cli(main)
