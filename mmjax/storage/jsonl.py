"""rows.jsonl: one flat JSON object per line, appended as results come in."""

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import DataError
from mmjax.storage.files import whole_file
from mmjax.storage.locks import held
from mmjax.storage.reading import reading

Row = dict[str, Any]


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a file; floats that JSON lacks (NaN, infinity) become null.

    The rows of a call belong together, as the scores of a strategy do: a crash or a full disk
    leaves the file as it was or with all of them, because the file is replaced as a whole.
    Processes that append at the same time take turns. A truncated last line is removed, with a
    warning.

    Raises:
        OSError: the rows cannot be written; the file is unchanged.

    Example:
        >>> path = Path("rows.jsonl")
        >>> append_rows(path, [{"seed": 0, "nll": 0.5}, {"seed": 1, "nll": float("nan")}])
        >>> _ = path.write_text(path.read_text() + '{"seed": 2, "n')  # as a power cut may leave it
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     read_rows(path)
        [{'seed': 0, 'nll': 0.5}, {'seed': 1, 'nll': None}]
    """
    added = _lines(rows)
    with held(path, wait=True) as file:
        file.seek(0)
        kept = b"".join(line + b"\n" for line in _whole_lines(path, file.read()))
        with whole_file(path) as fresh:
            fresh.write(kept + added)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a file of rows, replacing any that is there.

    Raises:
        OSError: the rows cannot be written; the file is unchanged.
    """
    with whole_file(path) as file:
        file.write(_lines(rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a file; a truncated last line is skipped, with a warning.

    Raises:
        DataError: there is no such file, or a line is not a JSON object.
    """
    with reading(path, "a file of rows") as (path, _):
        content = path.read_bytes()
    lines = _whole_lines(path, content)
    return [parse_row(path, number, line) for number, line in enumerate(lines, start=1)]


def parse_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parses a line of a file.

    Raises:
        DataError: the line is not a JSON object.
    """
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # refuses text with half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}", expected="JSON", got=str(error)) from error
    if not isinstance(row, dict):
        got = line[:80].decode(errors="replace")
        raise DataError(f"{path}, line {number}", expected="a JSON object", got=got)
    return row


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    dump = lambda row: json.dumps({k: _finite(v) for k, v in row.items()}, allow_nan=False)
    return "".join(dump(row) + "\n" for row in rows).encode()


def _whole_lines(path: Path, content: bytes) -> list[bytes]:
    """All lines but a last one that lacks its newline and is no JSON; no part of an object is."""
    *lines, last = content.split(b"\n")
    if not last:
        return lines
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        warnings.warn(f"{path}: line {len(lines) + 1} is truncated and was skipped", stacklevel=3)
        return lines
    return [*lines, last]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
