"""run.json: what a run was asked for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.comparison.cell_search import Cells
from mmjax.comparison.outcomes import parse_examine
from mmjax.errors import DataError
from mmjax.fusion.searched import NUM_LEVELS
from mmjax.runs.settings import Settings, parse_settings
from mmjax.storage.files import json_digest, write_text
from mmjax.storage.manifest import read_manifest
from mmjax.storage.reading import MAX_SMALL, reading

RUN = "run.json"


class RunFile(NamedTuple):
    """What a run folder's run.json keeps.

    Attributes:
        settings: as given.
        strategies: names.
        examine: what is measured of each arm, of ``EXAMINATIONS``.
        command: the command line that makes the run; none of a comparison made in Python.
        cells: those that a search has found, if the strategy is searched.
        tuned_width: that of the fusion, if tuning has found one.
    """

    settings: Settings
    strategies: Sequence[str]
    examine: Sequence[str] = ()
    command: str | None = None
    cells: Cells = ()
    tuned_width: int | None = None


def write_run_file(out: Path, run: RunFile) -> None:
    """Writes run.json, with a digest by which damage is found."""
    write_text(out / RUN, _content(run))


def restore_run_file(out: Path, run: RunFile) -> None:
    """Writes the run.json of a run that was done again, if it is known to be what it was.

    Raises:
        DataError: the run was another, or more was found by a search than ``run`` says.
    """
    listed = read_manifest(out)["files"][RUN]
    if hashlib.sha256(_content(run).encode()).hexdigest() != listed:
        fix = "It is damaged, and cannot be made again: name another folder."
        raise DataError(out / RUN, expected="the settings as given now", got="others", fix=fix)
    write_text(out / RUN, _content(run))


def _content(run: RunFile) -> str:
    content = dump_run(run)
    return json.dumps({**content, "sha256": json_digest(content)}, indent=1) + "\n"


def read_run_file(folder: Path) -> RunFile:
    """What the run.json of a run folder says.

    Raises:
        DataError: there is no such file, it is no run.json, or it is not as it was written.
    """
    with reading(folder / RUN, "the settings of a run", limit=MAX_SMALL) as (path, _):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256", None) not in (None, json_digest(content)):
            raise DataError(
                path,
                expected="the settings as they were written",
                got="others",
                fix="It is damaged; if you have edited it yourself, remove its sha256.",
            )
        return parse_run(content)


def dump_run(run: RunFile) -> dict[str, Any]:
    """The run as what JSON can hold."""
    beside = {name: value for name, value in run._asdict().items() if name != "settings"}
    return {**beside, **asdict(run.settings)}


def parse_run(content: Mapping[str, Any]) -> RunFile:
    """The inverse of ``dump_run``.

    Raises:
        ValueError: a value cannot be one of a run.
        TypeError: likewise, or a name is none of a run's.
    """
    settings = dict(content)
    strategies, cells = settings.pop("strategies"), tuple(map(tuple, settings.pop("cells", ())))
    width, command = settings.pop("tuned_width", None), settings.pop("command", None)
    examine = parse_examine(settings.pop("examine", ()))
    if not isinstance(strategies, list) or not all(isinstance(n, str) for n in strategies):
        raise ValueError(f"strategies {strategies!r}"[:300])
    if not all(number in range(NUM_LEVELS) for cell in cells for number in cell):
        raise ValueError(f"cells {cells}"[:300])
    if width is not None and (type(width) is not int or width < 1):
        raise ValueError(f"tuned_width {width!r}"[:300])
    if not isinstance(command, str | None):
        raise ValueError(f"command {command!r}"[:300])
    return RunFile(parse_settings(settings), strategies, examine, command, cells, width)
