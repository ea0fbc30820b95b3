"""Pickles of a dictionary per split, as published with CMU-MOSI, CMU-MOSEI and their like."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.splits import ROLES, SYNONYMS
from mmjax.errors import look_up, tell
from mmjax.storage.reading import reading
from mmjax.tasks.readers.formats import MAX_MAPPED
from mmjax.tasks.readers.labels import Labels
from mmjax.tasks.readers.pickles import ATOMS, read_pickle
from mmjax.tasks.readers.samples import Stacked

MODALITIES = ("audio", "text", "vision")
GROUPS = ("recording", "row")
_LAYOUT = "{split: {modality: features, labels, id}} with arrays in a pickle"
_CLIP = re.compile(r"(.+?)(?:\$_\$.*|\[\d+\])", re.DOTALL)
_MAX_TEXT = 1000  # characters of an id or a class


def read_split_pickle(
    path: Path, *, target: str = "labels", group: str = "recording"
) -> tuple[dict[str, Stacked], Labels]:
    """Reads ``{split: {"audio", "text" and "vision": features, "labels": targets, "id": names}}``.

    Splits are called as in ``Task.from_arrays``, such as "train", "valid" and "test". At least one
    modality is there, the same ones in each split: numbers [rows, features] or [rows, length,
    features], of which infinite ones become 0. Targets are numbers or text, [rows] or
    [rows, columns]. Ids are text or numbers, [rows]; or [rows, parts], where the first part is the
    recording. Other keys are skipped, and reported on stderr.

    Args:
        path: the file.
        target: key of the targets.
        group: "recording", so that rows of one recording belong together, which is the first part
            of an id, or what precedes ``$_$`` or ``[5]`` in it; or "row". A key ``group``, [rows],
            has precedence.

    Raises:
        DataError: the file is missing, malformed, has another layout, or is no plain data.
        UnknownNameError: there is no such group.

    Example:
        >>> import pickle
        >>> part = {"text": np.ones((2, 5)), "labels": [-1.5, 3.0], "id": ["a[0]", "a[1]"]}
        >>> splits = {"train": part, "test": {**part, "id": ["b[0]", "b[1]"]}}
        >>> _ = Path("mosi.pkl").write_bytes(pickle.dumps(splits))
        >>> samples, labels = read_split_pickle(Path("mosi.pkl"))
        >>> samples["text"].values.shape, labels.ids, labels.group
        ((4, 5), ['a[0]', 'a[1]', 'b[0]', 'b[1]'], ['a', 'a', 'b', 'b'])
    """
    look_up("group", group, dict.fromkeys(GROUPS))
    data = read_pickle(path)
    with reading(path, _LAYOUT, limit=MAX_MAPPED):
        parts = _check_layout(data, target)
        keys = {key for part in parts.values() for key in part}
        skipped = keys - {*MODALITIES, target, "id", "group"}
        if skipped:
            tell(f"{path}: skipped {', '.join(sorted(skipped))[:300]}")
        rows = {split: len(part[target]) for split, part in parts.items()}
        column = lambda key: np.concatenate([_column(key, p[key]) for p in parts.values()])
        samples = {
            name: _stack(path, name, [part[name] for part in parts.values()])
            for name in MODALITIES
            if name in keys
        }
        ids = [
            n for split, part in parts.items() for n in _names(part.get("id"), split, rows[split])
        ]
        labels = Labels(
            [*map("_".join, ids)],
            _flatten(column(target)),
            (),
            column("group") if "group" in keys else _find_groups(path, ids, group),
            np.repeat([*rows], [*rows.values()]),
        )
    return samples, labels


def _check_layout(data: Any, target: str) -> Mapping[str, Mapping[str, Any]]:
    """The data as they are: splits of the same keys, each with as many rows in what is read."""
    if not isinstance(data, dict) or not all(isinstance(part, dict) for part in data.values()):
        raise ValueError("no dictionary of dictionaries")
    if not data or not {*data} <= {*ROLES, *SYNONYMS}:
        raise ValueError(f"splits {', '.join(data)}"[:300])
    for split, part in data.items():
        if target not in part:
            keys = ", ".join(part)[:300]
            raise ValueError(f"no {target} in {split}, but {keys}; pass target=KEY")
    for key in (*MODALITIES, "id", "group"):
        there = [split for split, part in data.items() if key in part]
        if there and len(there) < len(data):
            raise ValueError(f"{key} in {', '.join(there)} only")
        for split in there:
            if len(data[split][key]) != len(data[split][target]):
                raise ValueError(f"another number of rows in {key} than in {target} of {split}")
    if not any(name in part for part in data.values() for name in MODALITIES):
        raise ValueError(f"none of {', '.join(MODALITIES)}")
    return data


def _stack(path: Path, name: str, parts: Sequence[Any]) -> Stacked:
    """The numbers of a modality in all splits."""
    for part in parts:
        numbers = isinstance(part, np.ndarray) and part.dtype.kind in "fiub"
        if not numbers or part.ndim not in (2, 3) or part.shape[1:] != parts[0].shape[1:]:
            found = getattr(part, "shape", ""), getattr(part, "dtype", type(part).__name__)
            raise ValueError(f"{name} of shape {found[0]} and type {found[1]}")
    values = np.concatenate(parts)
    if values.dtype.kind == "f" and (infinite := np.isinf(values)).any():
        tell(f"{path}: {infinite.sum()} infinite numbers of {name} became 0")
        values[infinite] = 0
    return Stacked(values, np.ones(len(values), bool))


def _column(key: str, values: Any) -> np.ndarray:
    """Numbers as they are; anything else, as a list or an array, as objects [rows]."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values
    listed = _list(key, values)
    if not all(isinstance(value, ATOMS) for value in listed):
        raise ValueError(f"{key} that are neither numbers nor text")
    if any(isinstance(value, str | bytes) and len(value) > _MAX_TEXT for value in listed):
        raise ValueError(f"{key} of more than {_MAX_TEXT} characters")
    column = np.empty(len(listed), object)
    column[:] = listed
    return column


def _list(key: str, values: Any) -> Sequence[Any]:
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(listed, list | tuple):
        raise ValueError(f"{key} that are neither an array nor a list")
    return listed


def _flatten(target: np.ndarray) -> np.ndarray:
    """[rows, 1, ...] as [rows]."""
    return target.reshape(len(target)) if target.size == len(target) else target


def _names(ids: Any, split: str, rows: int) -> list[list[str]]:
    """The parts of each row's id as text."""
    if ids is None:
        return [[f"{split} {row}"] for row in range(rows)]
    parts = (row if isinstance(row, list | tuple) else [row] for row in _list("id", ids))
    return [[*map(_text, row)] for row in parts]


def _text(part: Any) -> str:
    """Part of an id as text that can be written to a file."""
    plain = part.decode() if isinstance(part, bytes) else part
    if not isinstance(plain, str | int | float) or len(str(plain)) > _MAX_TEXT:
        raise ValueError(f"an id that is not text of at most {_MAX_TEXT} characters")
    str(plain).encode()  # raises ValueError for half a surrogate pair
    return str(plain)


def _find_groups(path: Path, ids: Sequence[Sequence[str]], group: str) -> list[str] | None:
    """The recording of each row, if ids tell."""
    if group == "row":
        return None
    clips = [_CLIP.fullmatch(parts[0]) for parts in ids]
    if all(clips):
        found = [clip[1] for clip in clips if clip]
    elif all(len(parts) > 1 for parts in ids):
        found = [parts[0] for parts in ids]
    else:
        return None
    tell(
        f"{path}: assumed {len(set(found))} recordings, such as {found[0]}, by how ids begin, each "
        "of them a group; override by group=row"
    )
    return found
