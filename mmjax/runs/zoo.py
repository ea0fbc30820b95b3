"""The contents of the registries, with the summary and reference from each entry's docstring."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmjax.errors import UsageError, look_up
from mmjax.registry import AUGMENTATIONS, ENCODERS, FUSIONS, METHODS, METRICS, OBJECTIVES, TASKS

TABLES: dict[str, Mapping[str, Any]] = {
    "fusions": FUSIONS,
    "encoders": ENCODERS,
    "objectives": OBJECTIVES,
    "methods": METHODS,
    "augmentations": AUGMENTATIONS,
    "metrics": METRICS,
    "tasks": TASKS,
}

Entry = dict[str, Any]


def list_zoo(kinds: Sequence[str] = ()) -> dict[str, list[Entry]]:
    """{table: entries} of some kinds, or all, each with name, summary and reference.

    Fusions also have a level. Those from which an ablation can remove components list them as
    ``removable``.

    A plugin that cannot be imported has ``broken``, and the error as its summary.

    Raises:
        UnknownNameError: there is no such kind.

    Example:
        >>> from mmjax.runs.zoo import list_zoo
        >>> zoo = list_zoo()
        >>> [*zoo]
        ['fusions', 'encoders', 'objectives', 'methods', 'augmentations', 'metrics', 'tasks']
        >>> [entry["level"] for entry in zoo["fusions"] if entry["name"] == "gmu"]
        ['feature']
    """
    tables = {kind: look_up("kinds", kind, TABLES) for kind in kinds or TABLES}
    return {kind: [_entry(name, table) for name in table] for kind, table in tables.items()}


def show_zoo(zoo: Mapping[str, list[Entry]], console: Console, *, as_json: bool) -> None:
    """Prints the registries."""
    if as_json:
        print(json.dumps(zoo, indent=1))
    else:
        console.print(*zoo_tables(zoo))


def zoo_tables(zoo: Mapping[str, list[Entry]]) -> Iterator[Table]:
    """The zoo as tables for the terminal."""
    for title, entries in zoo.items():
        table = Table(title=f"{len(entries)} {title}", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("name", no_wrap=True)
        table.add_column("what it is")
        for entry in entries:
            table.add_row(entry["name"], _describe(entry), end_section=True)
        yield table


def _describe(entry: Entry) -> Text:
    text = Text(entry["summary"])
    if entry["reference"]:
        text.append(f"\n{entry['reference']}", style="dim")
    if "params" in entry:
        cost = f"{entry['params']:,} parameters, {entry['flops'] / 1e6:.2f} MFLOP"
        text.append(f"\n{entry['level']} level, {cost}")
    if "removable" in entry:
        text.append(f"\ncan do without: {', '.join(entry['removable'])}", style="dim")
    return text


def _entry(name: str, members: Mapping[str, Any]) -> Entry:
    try:
        member = members[name]
    except UsageError as error:
        return {"name": name, "summary": f"{error}", "reference": "", "broken": True}
    text = getattr(member, "about", None) or inspect.getdoc(member) or ""
    text = text.replace("``", "`")  # as Markdown, which reads well in a terminal
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", text)]
    label = "Reference: "
    components = list(getattr(member, "removable", ()))
    cited = [label + p.split(label)[1] for p in paragraphs if label in p]
    return {
        "name": name,
        **({"level": member.level} if hasattr(member, "level") else {}),
        "summary": paragraphs[0],
        "reference": "".join(cited).removeprefix(label),
        **({"removable": components} if components else {}),
    }
