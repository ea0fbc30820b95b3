"""The content of a task, as tables for the terminal."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.data.chunks import chunks_where
from mmjax.data.targets import counted, kind_of
from mmjax.data.task import Split, Task
from mmjax.encoders import default_encoder
from mmjax.types import Coding


def task_facts(task: Task) -> str:
    """Name, number of outputs, size of the inputs and digest, on one line.

    Example:
        >>> from mmjax import load_task
        >>> print(task_facts(load_task("synthetic", options={"size": "60"})))
        synthetic/xor: 2 classes, ... MB, digest ...
    """
    arrays = [array for split in task.splits.values() for array in split.inputs.values()]
    num_bytes = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
    size = f"{counted(task.out_dim, task.kind)}, {num_bytes / 1e6:.1f} MB"
    return f"{task.name}: {size}, digest {task.digest()}"


def task_tables(task: Task) -> Iterator[Table]:
    """The splits, the modalities, and the contents that two splits share.

    The encoder shown for a modality is the default for its shape.
    """
    splits = _table("Splits", "split", "rows", "groups", _COUNTED[task.kind])
    for name, split in task.splits.items():
        groups = len(np.unique(split.group))
        splits.add_row(name, f"{split.size:,}", f"{groups:,}", _label_counts(split, task.out_dim))
    yield splits

    columns = "modality encoder split shape dtype present distinct mean std"
    inputs = _table("Modalities", *columns.split())
    pairs = (("train", "valid"), ("train", "test"), ("valid", "test"))
    names = (f"{a} and {b}" for a, b in pairs)
    shared = _table("Distinct contents shared by two splits", "modality", *names)
    for name in task.modalities:
        coding = task.codings.get(name)
        encoder = default_encoder(task.shapes[name], task.kinds.get(name), coding)
        contents = {k: _contents(split, name) for k, split in task.splits.items()}
        for split_name, split in task.splits.items():
            cells = _describe(split, name, distinct=len(contents[split_name]), coding=coding)
            inputs.add_row(name, encoder, split_name, *cells)
        shared.add_row(name, *(str(len(contents[a] & contents[b])) for a, b in pairs))
    yield inputs
    yield shared


_COUNTED = {
    "classes": "rows of each class",
    "labels": "rows with each label",
    "numbers": "mean and standard deviation of each number",
}


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, box=SIMPLE_HEAD, title_justify="left")
    table.collapse_padding, table.pad_edge = True, False  # nine columns fit a terminal of 80
    return table


def _label_counts(split: Split, out_dim: int) -> str:
    if not split.labelled:
        return "unlabelled"
    match kind_of(split.target):
        case "classes":
            return " ".join(map(str, np.bincount(split.target, minlength=out_dim)))
        case "labels":
            return " ".join(map(str, split.target.sum(axis=0)))
    return " ".join(f"{value.mean():.2f}+-{value.std():.2f}" for value in split.target.T)


def _describe(split: Split, name: str, *, distinct: int, coding: Coding | None) -> tuple[str, ...]:
    values, present = split.inputs[name], split.present[name]
    moments = ["-", "-"]  # codes have none
    if coding is None and present.any():
        moments = [f"{moment:.2f}" for moment in _moments(values, present)]
    return (
        "x".join(map(str, values.shape[1:])),
        str(values.dtype),
        f"{present.mean():.0%}",
        f"{distinct:,}",
        *moments,
    )


def _moments(values: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all numbers, without padding, in the rows that have some."""
    total, squares, count = 0.0, 0.0, 0
    for rows in chunks_where(values, present):
        seen = rows[~np.isnan(rows)].astype(np.float64)
        total, squares = total + seen.sum(), squares + np.square(seen).sum()
        count += seen.size
    mean = total / max(count, 1)
    return mean, math.sqrt(max(squares / max(count, 1) - mean**2, 0))


def _contents(split: Split, name: str) -> set[bytes]:
    """A digest of each row that has the modality, as the rows may not fit in memory."""
    parts = chunks_where(split.inputs[name], split.present[name])
    return {
        hashlib.blake2b(row.tobytes(), digest_size=16).digest() for part in parts for row in part
    }
