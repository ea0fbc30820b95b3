"""Writes the number of entries in each table into the pages that state it.

    python experiments/count_zoo.py

A page states it as <!-- count fusions -->56<!-- -->, with the name of a table of `mmjax zoo`.
"""

import re
from pathlib import Path

from mmjax.registry import ENCODERS, FUSIONS, METHODS, METRICS, OBJECTIVES

ROOT = Path(__file__).parent.parent
TABLES = {
    "encoders": ENCODERS,
    "fusions": FUSIONS,
    "methods": METHODS,
    "metrics": METRICS,
    "objectives": OBJECTIVES,
}
_COUNT = re.compile(r"(<!-- count (\w+) -->)\d*(<!-- -->)")


def pages() -> list[Path]:
    """The pages that may state a number."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def count(text: str) -> str:
    """The text with the numbers of today."""
    own = lambda table: sum(one.__module__.startswith("mmjax.") for one in map(table.get, table))
    return _COUNT.sub(lambda found: f"{found[1]}{own(TABLES[found[2]])}{found[3]}", text)


def main() -> None:
    """Rewrites the pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(count(text), encoding="utf-8")


if __name__ == "__main__":
    main()
