"""rows.jsonl: one flat JSON object per line, appended as results come in."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import DataError
from mmjax.files import reading


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a file; floats that JSON lacks (NaN, infinity) become null."""
    lines = [json.dumps({k: _finite(v) for k, v in row.items()}, allow_nan=False) for row in rows]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a file.

    Raises:
        DataError: there is no such file, or a line is not a JSON object.
    """
    with reading(path, "a file of rows") as (path, _), path.open(encoding="utf-8") as file:
        return [_parse(path, number, line) for number, line in enumerate(file, start=1)]


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # refuses text with half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}", expected="JSON", got=str(error)) from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}", expected="an object", got=line[:80])
    return row


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
