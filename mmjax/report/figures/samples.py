"""Figures of a few samples of a task."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.special import softmax

from mmjax.data.task import Split, Task
from mmjax.errors import printable
from mmjax.report.figures.style import Figure, class_name, plain_text
from mmjax.types import Coding

_NUM_WRONG = 10
_MAX_LINES = 9  # of a text in a panel
_MAX_SIDE = 400  # values along an axis: more would be invisible in a picture this small


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
    titles = [_in_words(target[i], task.names) for i in shown]
    figure = _rows_figure(task.train, shown, titles, task.codings)
    figure.suptitle(f"{task.name}: {what}", fontsize="medium")
    return figure


def _in_words(target: np.ndarray, names: Sequence[str]) -> str:
    """The class, the labels or the numbers of a row, as text."""
    match target.dtype.kind, target.ndim:
        case "f", _:
            return " ".join(f"{value:.2f}" for value in target)
        case _, 0:
            return class_name(int(target), names)
    shown = np.flatnonzero(target).tolist()
    return ",".join(names[i] if names else str(i) for i in shown) or "none"


def misclassified_figure(
    split: Split,
    logits: np.ndarray,
    codings: Mapping[str, Coding] = {},
    names: Sequence[str] = (),
) -> Figure | None:
    """The rows misclassified with the highest confidence; None if there are none.

    Args:
        split: the rows.
        logits: [seeds, rows, classes]; probabilities are averaged over seeds.
        codings: of the task.
        names: of the classes; by default their numbers.

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
    say = lambda target: _in_words(target, names)
    titles = [f"{say(split.target[i])} → {say(predicted[i])}\n{confidence[i]:.0%}" for i in shown]
    return _rows_figure(split, shown, titles, codings)


def _rows_figure(
    split: Split, shown: np.ndarray, titles: Sequence[str], codings: Mapping[str, Coding]
) -> Figure:
    """One row of panels per modality, one titled column per row of the split."""
    size = (1.2 * len(shown) + 0.8, 1.2 * len(split.inputs) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(split.inputs), len(shown), squeeze=False)
    for row, name in zip(axes, sorted(split.inputs), strict=True):
        for axis, index in zip(row, shown, strict=True):
            sample = np.asarray(split.inputs[name][index])
            if not split.present[name][index]:
                axis.text(0.5, 0.5, "absent", ha="center", va="center", transform=axis.transAxes)
            elif name in codings:
                _write(axis, codings[name].say(sample))
            else:
                _draw(axis, sample)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize="medium")
    return figure


def _draw(axis: Axes, sample: np.ndarray) -> None:
    """Draws an image as it is, a sequence with time to the right, a vector as steps.

    Of a video or a volume, the middle frame or slice.
    """
    if sample.ndim == 4:
        there = np.flatnonzero(~np.isnan(sample[:, 0, 0, 0]))  # without padding
        sample = sample[there[len(there) // 2] if len(there) else 0]
    sample = sample[tuple(slice(None, None, math.ceil(n / _MAX_SIDE)) for n in sample.shape[:2])]
    if sample.ndim == 3:
        axis.imshow(_as_colours(sample), cmap="gray")
    elif sample.ndim == 2:
        axis.imshow(sample.T, aspect="auto", origin="lower", cmap="magma")
    else:
        axis.stairs(sample, fill=True)


def _write(axis: Axes, text: str) -> None:
    """Writes the beginning of a text in a panel; the font has no other alphabets."""
    lines = textwrap.wrap(text.encode("latin-1", "replace").decode("latin-1"), 15)
    words = "\n".join(printable(line) for line in lines[:_MAX_LINES])
    axis.text(0.04, 0.96, words, fontsize=6, va="top", transform=axis.transAxes, clip_on=True)


def _as_colours(image: np.ndarray) -> np.ndarray:
    """The first three channels as red, green and blue; with fewer, the first in grey."""
    if image.shape[-1] < 3:
        return image[..., 0]
    shown = image[..., :3]
    if shown.dtype == np.uint8:
        return shown
    above = shown.astype(np.float64) - shown.min()
    return above / (above.max() or 1)
