"""Whether the files of a run folder are what was written to it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmjax import checkpoint
from mmjax.errors import DataError
from mmjax.reading import read_npz
from mmjax.report.rows import read_rows
from mmjax.run_file import read_run_file


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
    """Reads every file of a folder of ``mmjax train`` or ``mmjax compare`` in full.

    Settings, arrays and checkpoints have checksums. Of rows it is seen that they can be read, and
    that every strategy has some.
    """
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
