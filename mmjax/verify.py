"""Whether the files of a run folder are what was written to it."""

import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmjax import checkpoint
from mmjax.errors import DataError
from mmjax.reading import read_npz
from mmjax.report.rows import read_rows
from mmjax.run_file import read_run_file

STUDY, TRIALS = "study.db", "trials.jsonl"
"""What a folder of ``mmjax tune`` has: the study, unless it is elsewhere; at last, its trials."""


class Finding(NamedTuple):
    """What has come of one check.

    Attributes:
        state: of what was checked; a run that is not done is unfinished, not damaged.
        about: the file that is ok, or what is wrong and where.
    """

    state: Literal["ok", "damaged", "unfinished"]
    about: str

    def __str__(self) -> str:
        return f"{self.state:<10}  {self.about}"


def verify_run(folder: Path) -> list[Finding]:
    """Reads every file of a folder of ``mmjax train``, ``compare`` or ``tune`` in full.

    Settings, arrays and checkpoints have checksums. Of rows it is seen that they can be read, and
    that every strategy has some; of a study, that SQLite finds its database whole.
    """
    if (folder / STUDY).exists() or (folder / TRIALS).exists():
        return _verify_study(folder)
    checks = {
        folder / "run.json": lambda path: read_run_file(path.parent),
        **dict.fromkeys(sorted(folder.rglob("*.jsonl")), read_rows),
        **dict.fromkeys(sorted(folder.rglob("*.npz")), read_npz),
        **dict.fromkeys(sorted(folder.glob("checkpoint")), checkpoint.verify),
        **dict.fromkeys(sorted(folder.rglob("checkpoints/*/steps/[0-9]*")), checkpoint.verify),
    }
    findings = [_check(read, path) for path, read in checks.items()]
    if any(finding.state == "damaged" for finding in findings):
        return findings
    return findings + _missing(folder)


def _verify_study(folder: Path) -> list[Finding]:
    checks = {folder / STUDY: _read_database, folder / TRIALS: read_rows}
    findings = [_check(read, path) for path, read in checks.items() if path.exists()]
    if (folder / TRIALS).exists():
        return findings
    return [*findings, Finding("unfinished", f"{folder / TRIALS}: not all trials have ended")]


def _read_database(path: Path) -> None:
    """Raises DataError for a database that is damaged."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DataError(path, expected="a whole SQLite database", got=found)


def _check(read: Callable[[Path], Any], path: Path) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a line that was cut short is lost
            read(path)
    except (DataError, UserWarning) as error:
        return Finding("damaged", str(error))
    return Finding("ok", str(path))


def _missing(folder: Path) -> list[Finding]:
    strategies, rows = read_run_file(folder).strategies, folder / "rows.jsonl"
    done = {row.get("strategy") for row in read_rows(rows)} if rows.exists() else set()
    if missing := [name for name in strategies if name not in done]:
        return [Finding("unfinished", f"{rows}: no rows of {', '.join(missing)}")]
    if len(strategies) == 1 and not (folder / "checkpoint").exists():
        return [Finding("damaged", f"{folder / 'checkpoint'}: expected a checkpoint, got none.")]
    return []
