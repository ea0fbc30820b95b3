"""Rows of a task under every applicable corruption."""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import jax
import numpy as np

from mmjax.analysis.corruptions.corruption import NUM_SEVERITIES, Corruption
from mmjax.analysis.corruptions.table import CORRUPTIONS
from mmjax.data.chunks import chunks_where
from mmjax.data.scale import find_byte_scale, find_input_scale
from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.layers import tokens
from mmjax.layers.platform import compiler_options
from mmjax.types import Batch

as_float = cast(Callable[[np.ndarray], np.ndarray], tokens.as_float)  # accepts NumPy arrays, too
_KINDS = {1: "vector", 2: "sequence", 3: "pixels", 4: "pixels"}  # by the axes of a sample


class Condition(NamedTuple):
    """One modality of the sampled rows, corrupted.

    Attributes:
        modality: its name.
        corruption: key of ``CORRUPTIONS``.
        severity: 1 to 5.
        values: [rows, ...], of the same shape and dtype as in the task.

    Example:
        >>> modality, corruption, severity, values = Condition("image", "blur", 5, np.ones((2, 4)))
        >>> corruption in CORRUPTIONS
        True
    """

    modality: str
    corruption: str
    severity: int
    values: np.ndarray


class Sweep(NamedTuple):
    """Clean rows and their corruptions, the same for every arm.

    Attributes:
        split: "test", or "valid" where test rows have no labels.
        rows: the sampled rows.
        conditions: the corruptions, one modality at a time.

    Example:
        >>> blurred = Condition("image", "blur", 5, np.full((2, 4), 0.5))
        >>> sweep = Sweep("test", Batch({"image": np.eye(2, 4)}, {}, np.arange(2)), [blurred])
        >>> spoilt = sweep.rows._replace(inputs={"image": sweep.conditions[0].values})
        >>> spoilt.inputs["image"].shape == sweep.rows.inputs["image"].shape
        True
    """

    split: str
    rows: Batch
    conditions: Sequence[Condition]


def make_sweep(
    task: Task, *, severities: Sequence[int] = (1, 3, 5), max_rows: int = 512, seed: int = 0
) -> Sweep:
    """Applies every applicable corruption to every modality that some training row has.

    If the task holds recordings, they are corrupted before their features are computed. Vectors and
    sequences are corrupted after standardisation on the training rows, images after scaling to
    [0, 1]; all are then mapped back to the scale of the task. Every frame of a video, or slice of a
    volume, is corrupted alike. Padding stays as it is.

    Args:
        task: with all of its modalities.
        severities: some of 1 to 5.
        max_rows: number of rows to sample; no group comes twice before every group came once.
        seed: of the sample and the corruptions.

    Raises:
        UsageError: there is no severity, or one is not from 1 to 5.

    Example:
        >>> from mmjax import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> sweep = make_sweep(task, severities=[3], max_rows=8)
        >>> sorted({condition.corruption for condition in sweep.conditions})
        ['conflicting', 'desynchronised', 'feature_dropout', 'vector_noise']
    """
    if not severities or not set(severities) <= set(range(1, NUM_SEVERITIES + 1)):
        raise UsageError(
            "severities", expected=f"some of 1 to {NUM_SEVERITIES}", got=repr(tuple(severities))
        )
    split_name = "test" if task.test.labelled else "valid"
    split = task.splits[split_name]
    split = split.take(sample_rows(split.group, max_rows, seed))
    conditions = []
    for modality in task.modalities:
        if not task.train.present[modality].any():
            continue  # it has no scale, and no model was trained on it
        kinds = _fitting_kinds(task, split, modality)
        for name, corruption in CORRUPTIONS.items():
            if corruption.kind not in kinds:
                continue
            corrupt = _make_corrupt(corruption, task, split, modality)
            # One key for all severities, so that the same noise differs only in strength.
            key = jax.random.fold_in(
                jax.random.key(seed), zlib.crc32(f"{modality}/{name}".encode())
            )
            conditions += [Condition(modality, name, s, corrupt(key, s)) for s in severities]
    return Sweep(split_name, split.batch(), conditions)


def sample_rows(group: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Sorted positions of at most ``size`` rows; every group comes once before any comes twice.

    Example:
        >>> group = np.array([7, 7, 7, 8, 9])
        >>> group[sample_rows(group, size=3, seed=0)].tolist()
        [7, 8, 9]
    """
    order = np.random.default_rng(seed).permutation(len(group))
    _, index, count = np.unique(group[order], return_inverse=True, return_counts=True)
    turn = np.empty(len(group), int)
    turn[np.argsort(index, kind="stable")] = np.concatenate([np.arange(n) for n in count])
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])


def _fitting_kinds(task: Task, split: Split, modality: str) -> set[str]:
    coding = task.codings.get(modality)
    own = _KINDS[len(task.shapes[modality])] if coding is None else coding.encoder
    own = "waveform" if modality in split.raw else own
    return {own, "pairs"} if len(task.modalities) > 1 else {own}


def _make_corrupt(
    corruption: Corruption, task: Task, split: Split, modality: str
) -> Callable[[jax.Array, int], np.ndarray]:
    """Makes ``(key, severity) -> values``; rows that lack the modality do not change."""
    apply = _compile(corruption.apply)  # one program for all severities
    inputs, present = split.inputs[modality], split.present[modality]
    if corruption.kind == "pairs":
        return _make_exchange(apply, split, modality)
    if corruption.kind == "waveform":
        raw = split.raw[modality]
        heard, to_input = raw.values[raw.index], _compile(raw.to_input)
        spoil = lambda key, severity: to_input(apply(key, heard, severity))
    elif modality in task.codings:
        spoil = lambda key, severity: apply(key, inputs, severity)
    else:
        train = task.train
        offset, unit = _scale(corruption.kind, train.inputs[modality], train.present[modality])
        scaled = (as_float(inputs) - offset) / unit
        if inputs.ndim == 5:
            apply = jax.vmap(apply, (None, 1, None), 1)
        spoil = lambda key, severity: apply(key, scaled, severity) * unit + offset
    changes = present.reshape(-1, *[1] * (inputs.ndim - 1))
    if modality in task.padded:
        changes = changes & ~np.isnan(inputs)

    def corrupt(key: jax.Array, severity: int) -> np.ndarray:
        values = _as_stored(np.asarray(spoil(key, severity)), inputs.dtype)
        return np.where(changes, values, inputs)

    return corrupt


def _compile(f: Callable) -> Callable:
    return jax.jit(f, compiler_options=compiler_options("low"))


def _make_exchange(apply: Callable, split: Split, modality: str) -> Callable[..., np.ndarray]:
    inputs, present = split.inputs[modality], split.present[modality]
    group = np.unique(split.group, return_inverse=True)[1]  # JAX would truncate 64 bits to 32
    target = np.unique(split.target, axis=0, return_inverse=True)[1].reshape(-1)  # labels, too

    def corrupt(key: jax.Array, severity: int) -> np.ndarray:
        source = np.asarray(apply(key, target, group, severity))
        both = present & present[source]
        return inputs[np.where(both, source, np.arange(split.size))]

    return corrupt


def _scale(kind: str, train: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and unit by which inputs are scaled, from the training rows that have them."""
    if kind == "pixels":
        return _range(train, present)
    one = as_float(np.ones([1] * len(train.shape), train.dtype))  # of bytes, 1 / 255
    mean, deviation = find_input_scale(train, present)
    return mean * one, deviation * one


def _range(train: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = 0.0, 1.0
    for rows in filter(len, chunks_where(train, present)):
        seen = as_float(rows)
        low, high = min(low, float(np.nanmin(seen))), max(high, float(np.nanmax(seen)))
    if train.dtype == np.uint8 and find_byte_scale(train, present, False):
        high = 1 / 255  # they are 0 and 1
    return np.array(low, np.float32), np.array(high - low, np.float32)


def _as_stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype == np.uint8:
        return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return values.astype(dtype)
