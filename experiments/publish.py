"""Puts the summary and figures of a run folder into docs/results, and its table into the README.

mmjax compare --out runs/digits
python experiments/publish.py runs/digits digits --readme

Of a page that has the comments <!-- NAME: ... --> and <!-- /NAME -->, only what is between them is
replaced.
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
    """Copies the summary of a run and what it links to.

    Args:
        run: Folder with summary.md and figures.
        name: What the page in docs/results is called.
        readme: Put the summary into README.md too, between its comments of that name.
        root: The checkout.
    """
    results = root / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    text = (run / "summary.md").read_text(encoding="utf-8")
    for file in [*run.glob("*.png"), *run.glob("*.csv")]:
        if f"]({file.name})" not in text:
            continue
        shutil.copyfile(file, results / f"{name}-{file.name}")
        text = text.replace(f"]({file.name})", f"]({name}-{file.name})")
    page = results / f"{name}.md"
    if not (page.exists() and fill(page, name, text.partition("\n\n")[2])):  # without its title
        page.write_text(text, encoding="utf-8")
    if readme and not fill(root / "README.md", name, shorten(text, name)):
        raise UsageError("name", expected=f"<!-- {name}: ... --> in README.md", got="none")


def fill(page: Path, name: str, body: str) -> bool:
    """Replaces what is between the comments of a name, if the page has them."""
    block = re.compile(rf"(<!-- {name}:[^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, found = block.subn(lambda m: m[1] + body + m[2], page.read_text(encoding="utf-8"))
    if found:
        page.write_text(text, encoding="utf-8")
    return bool(found)


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
