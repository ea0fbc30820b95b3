"""Verifies that the files of a run folder are intact."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmjax.errors import DataError
from mmjax.runs.columns import COLUMNS, read_table
from mmjax.runs.folder import finished_arms
from mmjax.runs.run_file import RUN, read_run_file
from mmjax.storage.manifest import MANIFEST, find_damage, read_manifest
from mmjax.storage.reading import check_picture, find_pictures, open_database, read_npz
from mmjax.training import checkpoint

STUDY = "study.db"
_NO_RUN = (STUDY, "trials.jsonl", "bench.jsonl", "model.safetensors")
"""Files that mark a folder of ``mmjax tune``, ``bench`` or ``export``, which has no run.json."""


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        state: "unfinished" is a run that has not completed; that is no damage.
        about: the file, or what is wrong and where.
    """

    state: Literal["ok", "damaged", "unfinished"]
    about: str

    def __str__(self) -> str:
        return f"{self.state:<10}  {self.about}"


def verify_run(folder: Path) -> list[Finding]:
    """Reads every file in the folder of a run, study, benchmark or export in full.

    In a completed folder, each file is compared with its sha256 in the manifest. In an unfinished
    one, or if the manifest is damaged, settings, arrays, checkpoints and the results of completed
    arms are compared with checksums of their own; other rows are only parsed.

    Example:
        >>> from pathlib import Path
        >>> from mmjax.runs.run_file import RunFile, write_run_file
        >>> from mmjax.runs.settings import Settings
        >>> from mmjax.runs.verify import verify_run
        >>> write_run_file(Path(), RunFile(Settings(), ["sum"]))  # as a run does first
        >>> print(*verify_run(Path()), sep="\\n")
        ok          run.json
        unfinished  rows.jsonl: no rows for sum
    """
    if not (folder / MANIFEST).exists() and not any(map(Path.exists, _find_files(folder))):
        problem = "it is not the folder of a run, study, benchmark or export"
        raise DataError(folder, problem, fix="Name the folder that a command printed.")
    findings = list(_verify_listed(folder))
    if not findings:
        findings = _check_all(folder)
    if any(finding.state == "damaged" for finding in findings):
        return findings
    return [*findings, *_find_missing(folder)]


def _verify_listed(folder: Path) -> Iterator[Finding]:
    """A finding for each file in the manifest; none without a manifest."""
    if not (folder / MANIFEST).exists():
        return
    try:
        listed = read_manifest(folder)["files"]
    except DataError as error:
        yield Finding("damaged", str(error))
        yield from _check_all(folder)
        return
    damage, reads = find_damage(folder, listed), _find_files(folder)
    for name in listed:
        path = folder / name
        if name not in damage:
            yield Finding("ok", str(path))
            continue
        found = _check(reads[path], path) if path in reads else None  # may name the line
        yield found if found and found.state == "damaged" else Finding("damaged", f"{damage[name]}")


def _check_all(folder: Path) -> list[Finding]:
    """A finding for each file that has a reader, without the manifest."""
    return [_check(read, path) for path, read in _find_files(folder).items()]


def _find_files(folder: Path) -> dict[Path, Callable[[Path], Any]]:
    """{file or checkpoint: its reader} of a folder."""
    is_run = not any((folder / name).exists() for name in _NO_RUN)
    tables = [path for path in sorted(folder.rglob("*.jsonl")) if path.stem in COLUMNS]
    return {
        **({folder / RUN: lambda path: read_run_file(path.parent)} if is_run else {}),
        **dict.fromkeys(tables, _read_table),
        **dict.fromkeys(sorted(folder.rglob("*.npz")), read_npz),
        **dict.fromkeys(find_pictures(folder), check_picture),
        **dict.fromkeys(sorted(folder.glob(STUDY)), _read_database),
        **dict.fromkeys(sorted(folder.glob("checkpoint")), checkpoint.verify),
        **dict.fromkeys(sorted(folder.rglob("checkpoints/*/steps/[0-9]*")), checkpoint.verify),
    }


def _read_table(path: Path) -> None:
    read_table(path.parent, path.stem)


def _read_database(path: Path) -> None:
    """Raises DataError if a database is damaged."""
    with open_database(path) as database:
        (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        database.execute("SELECT count(*) FROM trials")
    if found != "ok":
        raise DataError(path, expected="an intact SQLite database", got=found)


def _check(read: Callable[[Path], Any], path: Path) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a truncated line is lost data
            read(path)
    except (DataError, UserWarning) as error:
        return Finding("damaged", str(error))
    return Finding("ok", str(path))


def _find_missing(folder: Path) -> Iterator[Finding]:
    """What an undamaged folder lacks to be complete."""
    if (folder / RUN).exists():
        strategies, rows = read_run_file(folder).strategies, folder / "rows.jsonl"
        noted = [row["strategy"] for row in read_table(folder, "arms") if row["error"] is None]
        if lost := sorted(set(noted) - set(finished_arms(folder))):
            yield Finding("damaged", f"{rows}: results of {', '.join(lost)} are incomplete")
        done = {row["strategy"] for row in read_table(folder, "rows")}
        if missing := [name for name in strategies if name not in done]:
            yield Finding("unfinished", f"{rows}: no rows for {', '.join(missing)}")
            return
        if len(strategies) == 1 and not (folder / "checkpoint").exists():
            yield Finding("damaged", f"{folder / 'checkpoint'}: the checkpoint is missing")
            return
    if not (folder / MANIFEST).exists():
        about = "not written yet; the run is still active, or was stopped and can be resumed"
        yield Finding("unfinished", f"{folder / MANIFEST}: {about} with --resume")
