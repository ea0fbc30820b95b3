"""How a task is stored: arrays under flat names, and the other fields as JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax.data.codings import describe_coding, parse_coding
from mmjax.data.scale import Scale
from mmjax.data.task import Split, Task


def columns(split: Split) -> dict[str, np.ndarray]:
    """All arrays of a split under flat names, such as "inputs/image"."""
    nested = {"inputs": split.inputs, "present": split.present, "meta": split.meta}
    flat = {f"{kind}/{name}": a for kind, arrays in nested.items() for name, a in arrays.items()}
    return {"target": split.target, "group": split.group, **flat}


def describe(task: Task) -> dict[str, Any]:
    """The fields of a task other than its rows, its name and ``out_dim``."""
    scale = task.scale and [part.tolist() for part in task.scale]
    return {
        "standardise": task.standardise,
        "names": list(task.names),
        "scale": scale,
        "padded": list(task.padded),
        "kinds": dict(task.kinds),
        "codings": {name: describe_coding(coding) for name, coding in task.codings.items()},
    }


def parse(about: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``describe``: arguments of ``Task``.

    Raises:
        TypeError, ValueError, KeyError: ``describe`` did not write this.
    """
    scale = about["scale"]
    if scale is not None:
        mean, deviation = (np.array(part, np.float64) for part in scale)
        scale = Scale(mean, deviation)
    names = tuple(about["names"])
    padded, kinds = tuple(about.get("padded", ())), dict(about.get("kinds", {}))
    text = (*names, *padded, *kinds, *kinds.values())
    if not isinstance(about["standardise"], bool) or not all(isinstance(n, str) for n in text):
        raise ValueError(f"{about}"[:300])
    codings = {name: parse_coding(coding) for name, coding in about.get("codings", {}).items()}
    said = {"standardise": about["standardise"], "names": names, "scale": scale}
    return {**said, "padded": padded, "kinds": kinds, "codings": codings}
