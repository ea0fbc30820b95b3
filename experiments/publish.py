"""Puts the summary and figures of a run folder into docs/results, and its table into the README.

mmjax compare --out runs/digits
python experiments/publish.py runs/digits digits --readme
"""

import re
import shutil
from pathlib import Path

import tyro

from mmjax.errors import UsageError

ROOT = Path(__file__).parent.parent


def publish(
    run: tyro.conf.Positional[Path],
    name: tyro.conf.Positional[str],
    readme: bool = False,
    root: Path = ROOT,
) -> None:
    """Copies the summary of a run and the figures in it.

    Args:
        run: Folder with summary.md and figures.
        name: What the page in docs/results is called.
        readme: Put the summary into README.md too, between its comments of that name.
        root: The checkout.
    """
    results = root / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    text = (run / "summary.md").read_text(encoding="utf-8")
    for figure in run.glob("*.png"):
        if f"]({figure.name})" not in text:
            continue
        shutil.copyfile(figure, results / f"{name}-{figure.name}")
        text = text.replace(f"]({figure.name})", f"]({name}-{figure.name})")
    (results / f"{name}.md").write_text(text, encoding="utf-8")
    if readme:
        body = shorten(text, name)
        path = root / "README.md"
        page = path.read_text(encoding="utf-8")
        block = re.compile(rf"(<!-- {name}:[^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page, found = block.subn(lambda m: m[1] + body + m[2], page)
        if not found:
            raise UsageError("name", expected=f"<!-- {name}: ... --> in {path}", got="none")
        path.write_text(page, encoding="utf-8")


def shorten(summary: str, name: str) -> str:
    """The verdict and the table of a summary, and a link to the rest."""
    _, headline, *paragraphs = summary.split("\n\n")
    table = next(part for part in paragraphs if part.startswith("|"))
    lines = [line for line in table.splitlines() if "*majority class*" not in line]
    command = re.search(r"Made by (`.*?`)", summary)
    made = f", made by {command[1]}" if command else ""
    shown = "\n".join(lines)
    return f"{headline}\n\n{shown}\n\n[All of it](docs/results/{name}.md){made}.\n"


if __name__ == "__main__":
    tyro.cli(publish)
