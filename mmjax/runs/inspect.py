"""What is in a task, and what the fusions cost on it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.report.console import PlainConsole
from mmjax.report.task_tables import task_facts, task_tables
from mmjax.runs.folder import check_new_file
from mmjax.runs.from_settings import make_task
from mmjax.runs.settings import Settings
from mmjax.runs.zoo import Entry
from mmjax.training.recipe import make_model
from mmjax.training.sizes import sizes


def inspect_task(settings: Settings, picture: Path | None, console: Console) -> None:
    """Prints facts about a task, and draws a few samples to a PNG file if one is given."""
    if picture:
        if picture.suffix.lower() != ".png":
            raise UsageError("out", expected="a file name that ends in .png", got=str(picture))
        check_new_file(picture)
    task = make_task(settings)
    console.print(task_facts(task), *task_tables(task))
    if picture:
        from mmjax.report.figures.samples import samples_figure
        from mmjax.report.figures.scores_figure import save

        save(samples_figure(task), picture)
        console.print(f"Picture: {picture}", soft_wrap=True)


def add_costs(fusions: Sequence[Entry], settings: Settings) -> None:
    """Adds what every fusion costs on a task to its entry; shows progress on stderr."""
    task, progress = make_task(settings), PlainConsole(stderr=True)
    for entry in track(fusions, "models counted", console=progress, transient=True):
        add_sizes(entry, task)


def add_sizes(fusion: Entry, task: Task) -> None:
    """Adds ``params`` and ``flops`` of a fusion's whole model for a task to its entry.

    If the model cannot be built for the task, the error is appended to the summary.
    """
    if "broken" in fusion:
        return
    try:
        fusion |= sizes(make_model(task, fusion["name"]), task)._asdict()
    except Exception as error:  # a plugin's fusion may raise anything
        fusion["summary"] += f" No sizes: {type(error).__name__}: {error}"
