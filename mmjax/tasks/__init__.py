"""The tasks: loaders that turn files, or a recipe, into arrays.

Each is called as ``loader(data=None, **options)``; ``data`` is the folder that it reads.
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
    """Loads a task by name, with options as text, as a command line has them.

    Args:
        name: a key of ``TASKS``.
        data: the folder that the loader reads, if it reads one.
        options: keyword arguments of the loader.

    Raises:
        UnknownNameError: no such task, or the loader has no such option.
        UsageError: an option's text is not a value of its type.
        DataError: the data is not what the task promises.
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
        raise UsageError("seed", expected="an integer from 0", got=str(seed))
    return loader(data, **values)
