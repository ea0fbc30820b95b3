"""The tasks: loaders that read files, or generate data, and return a Task.

Each is called as ``loader(data=None, **options)``; ``data`` is the folder it reads.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.registry import TASKS
from mmjax.tasks.dataset import from_dataset

__all__ = ["TASKS", "from_dataset", "load_task", "parse_options"]


def load_task(
    name: str, data: str | Path | None = None, options: Mapping[str, str] | None = None
) -> Task:
    """Loads a task by name, with its options as text, as on the command line.

    Args:
        name: a key of ``TASKS``.
        data: the folder to read, if the loader reads one.
        options: keyword arguments of the loader.

    Raises:
        UnknownNameError: there is no such task, or the loader has no such option.
        UsageError: an option cannot be converted to its type.
        DataError: the data is not what the task expects.

    Example:
        >>> load_task("synthetic", options={"kind": "and", "size": "80"})
        Task('synthetic/and': a (12,), b (12,) -> 2 classes; rows: 48 train, 16 valid, 16 test)
    """
    loader, values = parse_options(name, options or {})
    return loader(data, **values)


def parse_options(name: str, options: Mapping[str, str]) -> tuple[Callable[..., Task], dict]:
    """A task's loader, and the options of the text converted to their types; nothing is loaded.

    Raises:
        UnknownNameError: as in ``load_task``.
        UsageError: as in ``load_task``.

    Example:
        >>> from mmjax.tasks import parse_options
        >>> loader, options = parse_options("synthetic", {"size": "80"})
        >>> loader.__name__, options
        ('synthetic', {'size': 80})
    """
    loader = look_up("task", name, TASKS)
    known = dict(inspect.signature(loader).parameters)
    del known["data"]
    values: dict[str, Any] = {}
    for option, text in options.items():
        kind = type(look_up(f"option of task {name}", option, known).default)
        try:
            values[option] = kind(text) if kind in (int, float) else text
        except ValueError as error:
            raise UsageError(option, expected=f"{kind.__name__}", got=repr(text)) from error
    if isinstance(seed := values.get("seed"), int) and seed < 0:
        raise UsageError("seed", expected="a non-negative integer", got=str(seed))
    return loader, values
