"""The content of a task: tables for the terminal, and a figure of a few samples."""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.special import softmax

from mmjax.data.chunks import chunks_where
from mmjax.data.targets import kind_of
from mmjax.data.task import Split, Task
from mmjax.encoders import default_encoder
from mmjax.report.figures.style import Figure, plain_text

_NUM_WRONG = 10
_MAX_SIDE = 400  # values along an axis: more would be invisible in a picture this small


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
        contents = {k: _contents(split, name) for k, split in task.splits.items()}
        for split_name, split in task.splits.items():
            cells = _describe(split, name, distinct=len(contents[split_name]))
            inputs.add_row(name, default_encoder(task.shapes[name]), split_name, *cells)
        shared.add_row(name, *(str(len(contents[a] & contents[b])) for a, b in pairs))
    yield inputs
    yield shared


_COUNTED = {
    "classes": "rows of each class",
    "labels": "rows with each label",
    "numbers": "mean and standard deviation of each number",
}


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, box=SIMPLE_HEAD, title_justify="left")


def _label_counts(split: Split, out_dim: int) -> str:
    if not split.labelled:
        return "unlabelled"
    match kind_of(split.target):
        case "classes":
            return " ".join(map(str, np.bincount(split.target, minlength=out_dim)))
        case "labels":
            return " ".join(map(str, split.target.sum(axis=0)))
    return " ".join(f"{value.mean():.2f}+-{value.std():.2f}" for value in split.target.T)


def _describe(split: Split, name: str, *, distinct: int) -> tuple[str, ...]:
    values, present = split.inputs[name], split.present[name]
    mean, deviation = _moments(values, present)
    return (
        "x".join(map(str, values.shape[1:])),
        str(values.dtype),
        f"{present.mean():.0%}",
        f"{distinct:,}",
        f"{mean:.2f}" if present.any() else "-",
        f"{deviation:.2f}" if present.any() else "-",
    )


def _moments(values: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all numbers in the rows that have the modality."""
    total, squares, count = 0.0, 0.0, 0
    for rows in chunks_where(values, present):
        seen = rows.astype(np.float64)
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


@plain_text
def samples_figure(task: Task) -> Figure:
    """The first training sample of up to ten classes, with a row of panels per modality.

    If targets are not classes, the first ten samples.
    """
    target = task.train.target
    if task.kind == "classes":
        shown = np.unique(target, return_index=True)[1][:10]
        what = "one training sample per class"
    else:
        shown = np.arange(min(task.train.size, 10))
        what = "training samples"
    figure = _rows_figure(task.train, shown, [_in_words(target[i]) for i in shown])
    figure.suptitle(f"{task.name}: {what}", fontsize="medium")
    return figure


def _in_words(target: np.ndarray) -> str:
    """The class, the labels or the numbers of a row, as text."""
    match target.dtype.kind, target.ndim:
        case "f", _:
            return " ".join(f"{value:.2f}" for value in target)
        case _, 0:
            return str(target)
    return ",".join(map(str, np.flatnonzero(target))) or "none"


def misclassified_figure(split: Split, logits: np.ndarray) -> Figure | None:
    """The rows misclassified with the highest confidence; None if there are none.

    Args:
        split: the rows.
        logits: [seeds, rows, classes]; probabilities are averaged over seeds.

    Example:
        >>> from mmjax import load_task
        >>> test = load_task("synthetic", options={"size": "60"}).test
        >>> perfect = 9 * np.eye(2)[None, test.target]
        >>> misclassified_figure(test, perfect) is None
        True
    """
    mean = softmax(logits, axis=-1).mean(axis=0)
    predicted, confidence = mean.argmax(axis=-1), mean.max(axis=-1)
    wrong = np.flatnonzero(predicted != split.target)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:_NUM_WRONG]
    if len(shown) == 0:
        return None
    titles = [f"{split.target[i]} → {predicted[i]}\n{confidence[i]:.0%}" for i in shown]
    return _rows_figure(split, shown, titles)


def _rows_figure(split: Split, shown: np.ndarray, titles: Sequence[str]) -> Figure:
    """One row of panels per modality, one titled column per row of the split."""
    size = (1.2 * len(shown) + 0.8, 1.4 * len(split.inputs) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(split.inputs), len(shown), squeeze=False)
    for row, name in zip(axes, sorted(split.inputs), strict=True):
        for axis, index in zip(row, shown, strict=True):
            _draw(axis, np.asarray(split.inputs[name][index]))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize="medium")
    return figure


def _draw(axis: Axes, sample: np.ndarray) -> None:
    """Draws an image as it is, a sequence with time to the right, a vector as steps."""
    sample = sample[tuple(slice(None, None, math.ceil(n / _MAX_SIDE)) for n in sample.shape[:2])]
    if sample.ndim == 3:
        axis.imshow(_as_colours(sample), cmap="gray")
    elif sample.ndim == 2:
        axis.imshow(sample.T, aspect="auto", origin="lower", cmap="magma")
    else:
        axis.stairs(sample, fill=True)


def _as_colours(image: np.ndarray) -> np.ndarray:
    """The first three channels as red, green and blue; with fewer, the first in grey."""
    if image.shape[-1] < 3:
        return image[..., 0]
    shown = image[..., :3]
    if shown.dtype == np.uint8:
        return shown
    above = shown.astype(np.float64) - shown.min()
    return above / (above.max() or 1)


def task_facts(task: Task) -> str:
    """Name, number of outputs, size of the inputs and digest, on one line.

    Example:
        >>> from mmjax import load_task
        >>> print(task_facts(load_task("synthetic", options={"size": "60"})))
        synthetic/xor: 2 classes, ... MB, digest ...
    """
    arrays = [array for split in task.splits.values() for array in split.inputs.values()]
    num_bytes = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
    size = f"{task.out_dim} {task.kind}, {num_bytes / 1e6:.1f} MB"
    return f"{task.name}: {size}, digest {task.digest()}"
