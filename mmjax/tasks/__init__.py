"""The tasks: loaders that read files, or generate data, and return a Task.

Each is called as ``loader(data=None, **options)``; ``data`` is the folder it reads.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.registry import Table
from mmjax.tasks.arrays import arrays
from mmjax.tasks.av_mnist import av_mnist
from mmjax.tasks.dataset import from_dataset
from mmjax.tasks.digit_sets import digit_sets
from mmjax.tasks.digit_sum import digit_sum
from mmjax.tasks.digits import digits
from mmjax.tasks.folder import folder
from mmjax.tasks.mnist_fsdd import mnist_fsdd
from mmjax.tasks.spoken_list import spoken_list
from mmjax.tasks.strokes import strokes
from mmjax.tasks.synthetic import synthetic
from mmjax.tasks.tfds import tfds
from mmjax.tasks.written_spoken_digits import written_spoken_digits

__all__ = ["TASKS", "from_dataset", "load_task"]

TASKS: Table[Callable[..., Task]] = Table(
    "mmjax.tasks",
    {
        "arrays": arrays,
        "av_mnist": av_mnist,
        "digit_sets": digit_sets,
        "digit_sum": digit_sum,
        "digits": digits,
        "folder": folder,
        "mnist_fsdd": mnist_fsdd,
        "spoken_list": spoken_list,
        "strokes": strokes,
        "synthetic": synthetic,
        "tfds": tfds,
        "written_spoken_digits": written_spoken_digits,
    },
)


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
    loader = look_up("task", name, TASKS)
    known = dict(inspect.signature(loader).parameters)
    del known["data"]
    values = {}
    for option, text in (options or {}).items():
        kind = type(look_up(f"option of task {name}", option, known).default)
        try:
            values[option] = kind(text) if kind in (int, float) else text
        except ValueError as error:
            raise UsageError(option, expected=f"{kind.__name__}", got=repr(text)) from error
    if isinstance(seed := values.get("seed"), int) and seed < 0:
        raise UsageError("seed", expected="a non-negative integer", got=str(seed))
    return loader(data, **values)
