"""The tables of a run folder, and the columns that are checked whenever one is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjax.comparison.scores import VARIED
from mmjax.errors import DataError
from mmjax.metrics import metric_of, second_metric
from mmjax.storage.jsonl import Row, parse_row, read_rows, write_rows

_NUMBER = (int, float)
_MAYBE = (*_NUMBER, type(None))  # JSON has no NaN
_TEXT = (str, type(None))
_ANY = object  # or absent: Ellipsis, which stands for an absent column, is an object too
_OF_SEED = {"strategy": str, "seed": int}
_METRIC = (str, type(...))
_FOLD = dict.fromkeys(("repeat", "fold"), (int, type(...)))
_SHOWN = ("accuracy", "macro_f1", "r2", "rmse")
COLUMNS: dict[str, Mapping[str, Any]] = {
    "rows": {
        **_OF_SEED,
        **dict.fromkeys(("task", "modalities", "split", "hidden", "data"), str),
        **dict.fromkeys(("params", "seconds"), _NUMBER),
        "nll": _MAYBE,  # None if training diverged
        **dict.fromkeys(_SHOWN, (*_NUMBER, type(...))),
        **dict.fromkeys(("rows", "groups", "best_step", "skipped", "diverged", "flops"), _ANY),
        **dict.fromkeys(("steps", "trials", "recipe", "versions", "device"), _ANY),
        **dict.fromkeys(("fusion", "method", "objective", "encoders"), (str, type(...))),
        **dict.fromkeys(("width", "dropout", "learning_rate"), (*_MAYBE, type(...))),
        "metric": _METRIC,
        **_FOLD,
    },
    "history": {**_OF_SEED, "step": int},
    "robustness": {
        **_OF_SEED,
        **dict.fromkeys(("modality", "corruption"), str),
        "severity": _NUMBER,
        **dict.fromkeys(_SHOWN, (*_MAYBE, type(...))),
        **dict.fromkeys(("task", "modalities", "split", "rows", "nll"), _ANY),
        "metric": _METRIC,
        **_FOLD,
    },
    "representation": {
        **_OF_SEED,
        **_FOLD,
        "embedding": str,
        **dict.fromkeys(("ari", "nmi", "silhouette", "probe_accuracy"), _MAYBE),
        **dict.fromkeys(("task", "modalities"), _ANY),
    },
    "weights": {
        **_OF_SEED,
        **_FOLD,
        "modality": str,
        "weight": _MAYBE,
        **dict.fromkeys(("task", "modalities", "split", "alone"), _ANY),
    },
    "cost": {
        "strategy": str,
        **_FOLD,
        **dict.fromkeys(("params", "flops", "bytes", "peak_bytes", "compile_seconds"), _MAYBE),
        **dict.fromkeys(("step_ms", "latency_1_us", "latency_256_us"), _MAYBE),
        **dict.fromkeys(("task", "batch_size", "step_flops", "device"), _ANY),
        **dict.fromkeys(("step_ms_low", "step_ms_high"), _ANY),
    },
    "arms": {"strategy": str, "error": _TEXT, "sha256": _TEXT},
    "trials": {
        "trial": int,
        "state": str,
        **dict.fromkeys(("nll", "rows", "best_step", "seconds", "retry_of"), _MAYBE),
        **dict.fromkeys(("error", "worker", "versions"), _TEXT),
    },
    "bench": {
        **dict.fromkeys(("strategy", "dtype", "how", "recipe", "data", "device", "refused"), str),
        **dict.fromkeys(("batch_size", "lanes", "devices"), int),
    },
}
"""{table: {column: its types}}, besides the scores; ``type(...)`` marks an optional column."""
_OPEN = ("history", "trials", "bench")
"""Tables with further columns: loss terms, hyperparameters, measurements."""
_SCORED = ("rows", "robustness")
"""Tables with the score of a metric."""


def read_table(folder: Path, name: str) -> list[Row]:
    """Reads a table of a run folder; a missing file has no rows.

    Args:
        folder: the run folder.
        name: a key of ``COLUMNS``.

    Raises:
        DataError: a line is not a JSON object, or a column is missing, invalid or unknown; the
            message names file and line.
    """
    path = folder / f"{name}.jsonl"
    rows = read_rows(path) if path.exists() else []
    for number, row in enumerate(rows, start=1):
        _check(f"{path}, line {number}", name, row)
    return rows


def salvage_table(folder: Path, name: str) -> tuple[list[Row], list[DataError]]:
    """The readable rows of a table, and an error for each of its other lines."""
    path, rows, faults = folder / f"{name}.jsonl", [], []
    content = path.read_bytes() if path.exists() else b""
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_row(path, number, line)
            _check(f"{path}, line {number}", name, row)
            rows.append(row)
        except DataError as error:
            faults.append(error)
    return rows, faults


def put_rows(folder: Path, name: str, strategy: str, rows: Iterable[Row]) -> None:
    """Replaces the rows of a strategy in a table.

    Raises:
        OSError: the file cannot be written, and is unchanged.
        DataError: as in ``read_table``.
    """
    there = read_table(folder, name)
    old = [row["strategy"] == strategy for row in there]
    place = old.index(True) if any(old) else len(there)
    rest = [row for row, is_old in zip(there[place:], old[place:], strict=True) if not is_old]
    write_rows(folder / f"{name}.jsonl", [*there[:place], *rows, *rest])


def _check(where: str, name: str, row: Row) -> None:
    columns = dict(COLUMNS[name])
    if name in _SCORED and isinstance(row.get("metric", ...), _METRIC):
        metric = metric_of(row)
        # Other metrics need not have a value on the rows of a fold.
        kind = _NUMBER if name == "rows" and metric.name in _SHOWN else _MAYBE
        columns |= {f"majority_{n}": (*_NUMBER, type(...)) for n in _SHOWN}
        columns |= {metric.name: kind, f"majority_{metric.name}": (*kind, type(...))}
        if name == "rows":
            columns[second_metric(metric).name] = _NUMBER
    for column, kind in columns.items():
        if not isinstance(row.get(column, ...), kind):
            got = f"{column} {row[column]!r}"[:80] if column in row else f"no {column}"
            expected = "a row of scores" if name == "rows" else f"a row of {name}"
            raise DataError(where, expected=expected, got=got)
    varied = {c for c in row if c.startswith(VARIED) and isinstance(row[c], str)}
    unknown = row.keys() - columns.keys() - (varied if name == "rows" else set())
    if unknown and name not in _OPEN:
        raise DataError(where, expected=f"columns of {name}", got=f"{min(unknown)!r:.80}")
