"""Parameters and the description of the model in one safetensors file."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import chex
import numpy as np

from mmjax.comparison.frozen import source_of
from mmjax.data.task import Split, Task
from mmjax.errors import MmjaxError, import_extra
from mmjax.model import MultimodalModel
from mmjax.runs.run_file import RunFile, dump_run, parse_run
from mmjax.runs.trained import TrainedRun, make_found_arm, shape_params
from mmjax.storage.files import json_digest
from mmjax.storage.reading import reading
from mmjax.storage.trees import digest_array, flatten, unflatten
from mmjax.tasks.description import describe, parse

WEIGHTS = "model.safetensors"
FACTS = "mmjax"
"""Metadata key of the model's description, as JSON."""

# Far above real models, but a hostile file may claim more: values of all placeholder rows, values
# of one row, outputs, and arrays.
_MAX_VALUES, _MAX_ROW, _MAX_OUT_DIM, _MAX_ARRAYS = 1 << 30, 1 << 26, 1 << 22, 1 << 14
_MAX_UNHELD = 1000  # width, or number of modalities, that the arrays need not bear out


def dump_weights(run: TrainedRun, found: RunFile) -> bytes:
    """The content of ``model.safetensors``: the parameters of every seed, [seeds, ...] each.

    Raises:
        UsageError: safetensors is not installed.
    """
    numpy = import_extra("export", "safetensors.numpy", "export")
    task, model = source_of(run.arm.task), run.arm.recipe.model
    facts = {
        "run": dump_run(_reduce(found, run)),
        "task": task.name,
        "inputs": {n: [str(x.dtype), *x.shape[1:]] for n, x in task.train.inputs.items()},
        "kind": task.kind,
        "out_dim": int(task.out_dim),
        **describe(task),
        "best_seed": run.best_seed,
    }
    flat = flatten({"params": run.params, **_constants(model)})
    arrays = {name: np.ascontiguousarray(x) for name, x in flat.items()}
    content = {**facts, "sha256": digest_weights(facts, arrays)}
    return numpy.save(arrays, {FACTS: json.dumps(content)})


def load_export(folder: str | Path) -> TrainedRun:
    """Reads ``model.safetensors`` back; the run folder and the data are not needed.

    Predictions are bitwise those of the exported run. The task has the name and shapes of the
    original, and a few placeholder rows of zeros.

    Args:
        folder: a folder that ``export_run`` wrote.

    Raises:
        DataError: the file is missing or malformed.
        UsageError: safetensors is not installed.
    """
    safetensors = import_extra("export", "safetensors", "export")
    with reading(Path(folder, WEIGHTS), "a model that mmjax has exported") as (path, refuse):
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[FACTS])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts.pop("sha256") != digest_weights(facts, arrays):
            refuse("a checksum mismatch")
        run = parse_run(facts["run"])
        _check_sizes(run, facts, arrays)
        try:
            arm = make_found_arm(run, _shape_task(facts))
        except MmjaxError as error:  # which names no file
            refuse(f"{error}"[:300])
        like = {"params": shape_params(arm), **_constants(arm.recipe.model)}
        for name, (dtype, *_) in facts["inputs"].items():
            if dtype == "uint8" and f"scales.{name}.mean" not in arrays:
                like["scales"].pop(name, None)  # pictures need none; zeros do not look like them
        tree = unflatten(arrays, like, path)
        if facts["best_seed"] not in arm.recipe.seeds:
            refuse(f"best seed {facts['best_seed']!r}"[:300])
    params = tree.pop("params")
    model = arm.recipe.model.clone(**tree)
    arm = replace(arm, recipe=replace(arm.recipe, model=model))
    return TrainedRun(arm, params, facts["best_seed"])


def digest_weights(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 of the description and the arrays, in hex."""
    return json_digest({**facts, "arrays": {n: digest_array(x) for n, x in arrays.items()}})


def _constants(model: MultimodalModel) -> dict[str, chex.ArrayTree]:
    """Statistics of the training rows that the model holds besides its parameters."""
    return {"means": dict(model.means), "scales": dict(model.scales)}


def _reduce(found: RunFile, run: TrainedRun) -> RunFile:
    """The run with its width fixed, and without data folder, unused encoders and match_params."""
    used = lambda pair: pair.partition("=")[0] in run.arm.task.shapes
    encoders = tuple(filter(used, found.settings.encoders))
    settings = replace(found.settings, data=None, encoders=encoders, match_params=None)
    width = getattr(run.arm.recipe.model.fusion, "width", None)
    return found._replace(settings=settings, tuned_width=width)


def _check_sizes(run: RunFile, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError for sizes that the arrays contradict, before any work depends on them."""
    settings, inputs, out_dim = run.settings, facts["inputs"], facts["out_dim"]
    numbers = sum(x.size for x in arrays.values())
    lanes = {x.shape[:1] for name, x in arrays.items() if name.startswith("params.")}
    if lanes != {(settings.seeds,)} or not settings.seeds <= numbers or len(arrays) > _MAX_ARRAYS:
        raise ValueError(f"{len(arrays)} arrays of {lanes} seeds, not {settings.seeds}"[:300])
    if len(run.strategies) != 1 or settings.match_params is not None:
        raise ValueError(f"strategies {run.strategies}, settings {settings}"[:300])
    width = max(settings.width or 0, run.tuned_width or 0)
    depth = max(settings.num_layers or 0, len(run.cells))
    if width > max(numbers, _MAX_UNHELD) or depth > len(arrays):
        raise ValueError(f"width {width} and {depth} layers in {numbers} numbers")
    if type(out_dim) is not int or not 1 <= out_dim <= min(numbers, _MAX_OUT_DIM):
        raise ValueError(f"{out_dim!r} outputs in {numbers} numbers"[:300])
    if len(inputs) > max(len(arrays), _MAX_UNHELD):
        raise ValueError(f"{len(inputs)} modalities in {len(arrays)} arrays")
    for dtype, *shape in inputs.values():
        sized = all(type(n) is int and n > 0 for n in shape)
        if dtype not in ("float32", "uint8", "int32") or not sized:
            raise ValueError(f"inputs of {dtype!r} and shape {shape}"[:300])
    row = sum(math.prod(shape) for _, *shape in inputs.values())
    if row > _MAX_ROW or row * out_dim > _MAX_VALUES:
        raise ValueError(f"rows of {row} numbers for {out_dim} outputs")


def _shape_task(facts: Mapping[str, Any]) -> Task:
    """A task with the shapes of the original and placeholder rows, enough to build the model."""
    inputs, out_dim = facts["inputs"], facts["out_dim"]
    target = _TARGETS[facts["kind"]](out_dim)
    zeros = lambda dtype, *shape: np.broadcast_to(np.zeros((), dtype), (len(target), *shape))
    split = Split({n: zeros(*kind) for n, kind in inputs.items()}, target, np.arange(len(target)))
    return Task(facts["task"], split, split, split, out_dim, **parse(facts))


_TARGETS: dict[
    str, Callable[[int], np.ndarray]
] = {  # the shortest targets in which every class or label occurs
    "classes": np.arange,
    "labels": lambda out_dim: np.array([[0] * out_dim, [1] * out_dim]),
    "numbers": lambda out_dim: np.array([[0] * out_dim, [1] * out_dim], np.float32),
}
