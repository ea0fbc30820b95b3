"""rows.jsonl: one flat JSON object per line, appended as results come in."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import DataError


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a file; floats that JSON lacks (NaN, infinity) become null."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(rows))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a file of rows, in place of one that is there."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(_lines(rows), encoding="utf-8")
    fresh.replace(path)


def _lines(rows):
    dump = lambda row: json.dumps({k: _finite(v) for k, v in row.items()}, allow_nan=False)
    return "".join(dump(row) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a file.

    Raises:
        DataError: there is no such file, or a line is not a JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, expected="a file of rows", got=str(error)) from error
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1)]


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}, line {number}", expected="JSON", got=str(error)) from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}", expected="an object", got=line[:80])
    return row


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
