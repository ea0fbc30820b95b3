"""Prints the contents of tasks and registries."""

import json
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmjax.errors import UsageError
from mmjax.report.console import PlainConsole
from mmjax.runs.folder import check_new_file
from mmjax.runs.from_settings import make_task
from mmjax.runs.settings import Settings
from mmjax.runs.zoo import add_sizes, list_zoo, zoo_tables


def inspect_task(settings: Settings, picture: Path | None, console: Console) -> None:
    """Prints facts about a task, and draws a few samples to a PNG file if one is given."""
    from mmjax.report.figures.samples import samples_figure, task_facts, task_tables
    from mmjax.report.figures.scores_figure import save

    if picture:
        if picture.suffix.lower() != ".png":
            raise UsageError("out", expected="a file name that ends in .png", got=str(picture))
        check_new_file(picture)
    task = make_task(settings)
    console.print(task_facts(task), *task_tables(task))
    if picture:
        save(samples_figure(task), picture)
        console.print(f"Picture: {picture}", soft_wrap=True)


def show_zoo(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Prints the registries, with the sizes of every fusion's model for a task."""
    task, zoo = make_task(settings), list_zoo()
    progress = PlainConsole(stderr=True)
    for entry in track(zoo["fusions"], "sizes", console=progress, transient=True):
        add_sizes(entry, task)
    if as_json:
        print(json.dumps(zoo, indent=1))
    else:
        console.print(*zoo_tables(zoo))
