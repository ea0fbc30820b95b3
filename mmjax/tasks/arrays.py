"""Any task as a folder of .npy files, with inputs that stay on disk."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.splits import ROLES
from mmjax.data.task import Split, Task
from mmjax.errors import DataError, UsageError, printable
from mmjax.storage.files import write_text
from mmjax.storage.reading import MAX_BYTES, MAX_SMALL, parse_npy, reading
from mmjax.tasks.description import columns, describe, parse
from mmjax.tasks.readers.formats import FIX, data_folder, find

ABOUT = "task.json"


def save(task: Task, folder: str | Path) -> None:
    """Writes a task to ``folder``, for `arrays` to read.

    Raises:
        UsageError: ``folder`` already holds a task.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = synthetic(size=100)
        >>> save(task, "xor")
        >>> arrays("xor").digest() == task.digest()
        True
    """
    for role, split in task.splits.items():
        if (Path(folder) / role).exists():
            got = f"{folder}, which already has {role}"
            raise UsageError("folder", expected="a folder without a task", got=got)
        for name, array in columns(split).items():
            path = Path(folder, role, f"{name}.npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array, allow_pickle=False)
    write_text(Path(folder, ABOUT), json.dumps(describe(task)) + "\n")


def arrays(data: str | Path | None = None) -> Task:
    """Reads a folder of .npy files; inputs are memory-mapped and may be larger than memory.

    The folder has ``train/``, ``valid/`` and ``test/``, each with ``inputs/NAME.npy`` for every
    modality, ``target.npy`` and ``group.npy``, and optionally ``present/NAME.npy`` and
    ``meta/NAME.npy``. These are the arrays of a ``Split``, as ``numpy.save`` writes them. The
    optional ``task.json``, written by `save`, holds the other fields of the task.

    Reference: Kern, A Simple File Format for NumPy Arrays (NumPy Enhancement Proposal 1, 2007).

    Args:
        data: the folder.

    Raises:
        DataError: a file is missing or malformed, its size is not what its header states, or its
            array is not what a task needs.

    Example:
        >>> for part, rows in {"train": 6, "valid": 2, "test": 2}.items():
        ...     _ = Path(part, "inputs").mkdir(parents=True)
        ...     np.save(f"{part}/inputs/audio.npy", np.zeros((rows, 13), np.float32))
        ...     np.save(f"{part}/target.npy", np.arange(rows) % 2)
        ...     np.save(f"{part}/group.npy", np.arange(rows))
        >>> arrays(".").shapes
        {'audio': (13,)}
    """
    folder = data_folder(data)
    splits = {role: _read_split(find(folder, role)) for role in ROLES}
    target = splits["train"].target
    # At least two classes.
    out_dim = int(target.max(initial=1)) + 1 if target.ndim == 1 else target.shape[1]
    return Task(
        f"arrays/{printable(folder.resolve().name)}",
        splits["train"],
        splits["valid"],
        splits["test"],
        out_dim=out_dim,
        **_read_about(folder),
    )


def _read_about(folder: Path) -> dict[str, Any]:
    if not (folder / ABOUT).exists():
        return {}
    with reading(folder / ABOUT, "a file that `save` wrote", FIX, MAX_SMALL) as (path, _):
        return parse(json.loads(path.read_text(encoding="utf-8")))


def _read_split(folder: Path) -> Split:
    read = lambda path: np.array(_map(path, MAX_BYTES))
    part = lambda kind, read: {
        path.stem: read(path) for path in sorted((folder / kind).glob("*.npy"))
    }
    inputs, present = part("inputs", _map), part("present", read)
    target = read(find(folder, "target.npy"))
    if not ((target.dtype.kind in "iu" and target.ndim in (1, 2)) or target.ndim == 2):
        raise DataError(
            folder / "target.npy",
            expected="one integer class per row, or labels or numbers [rows, outputs]",
            got=f"{target.dtype} of shape {target.shape}",
        )
    if not present.keys() <= inputs.keys():
        expected = f"the same file names as in {folder / 'inputs'}"
        raise DataError(folder / "present", expected=expected, got=", ".join(present))
    group = read(find(folder, "group.npy"))
    return Split(inputs, target, group, present, meta=part("meta", read))


def _map(path: Path, limit: float = math.inf) -> np.ndarray:
    with reading(path, "an array in a .npy file", FIX, limit) as (path, _):
        return parse_npy(np.memmap(path, np.uint8, mode="r"))
