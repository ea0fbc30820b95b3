"""run.json: the configuration of a run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.comparison.ablation import Ablation, parse_ablation
from mmjax.comparison.cell_search import Cells
from mmjax.errors import DataError
from mmjax.fusion.searched import NUM_LEVELS
from mmjax.runs.settings import Settings, parse_examine, parse_settings
from mmjax.storage.files import json_digest, write_text
from mmjax.storage.manifest import read_manifest
from mmjax.storage.reading import MAX_SMALL, reading

RUN = "run.json"


class RunFile(NamedTuple):
    """The content of run.json.

    Attributes:
        settings: as given.
        strategies: their names.
        examine: measurements of each arm, from ``EXAMINATIONS``.
        command: command line that reproduces the run; None for a comparison made in Python.
        cells: cells found by an architecture search, if the strategy has one.
        tuned_width: fusion width found by tuning, if any.
        ablation: what the strategies vary, if they are the variants of an ablation.
    """

    settings: Settings
    strategies: Sequence[str]
    examine: Sequence[str] = ()
    command: str | None = None
    cells: Cells = ()
    tuned_width: int | None = None
    ablation: Ablation | None = None


def write_run_file(out: Path, run: RunFile) -> None:
    """Writes run.json, with a checksum."""
    write_text(out / RUN, _content(run))


def restore_run_file(out: Path, run: RunFile) -> None:
    """Rewrites the damaged run.json of a completed run, if the manifest confirms its content.

    Raises:
        DataError: it held another configuration, or results of a search that ``run`` lacks.
    """
    listed = read_manifest(out)["files"][RUN]
    if hashlib.sha256(_content(run).encode()).hexdigest() != listed:
        problem = "the file is damaged and cannot be rebuilt from the current settings"
        raise DataError(out / RUN, problem, fix="Choose another folder.")
    write_text(out / RUN, _content(run))


def _content(run: RunFile) -> str:
    content = dump_run(run)
    return json.dumps({**content, "sha256": json_digest(content)}, indent=1) + "\n"


def read_run_file(folder: Path) -> RunFile:
    """Reads run.json from a run folder.

    Raises:
        DataError: the file is missing, malformed or fails its checksum.
    """
    with reading(folder / RUN, "the settings of a run", limit=MAX_SMALL) as (path, _):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256", None) not in (None, json_digest(content)):
            raise DataError(
                path,
                expected="the settings of a run",
                got="a checksum mismatch",
                fix="The file is damaged, or was edited: if you edited it, remove its sha256.",
            )
        return parse_run(content)


def dump_run(run: RunFile) -> dict[str, Any]:
    """The run as a JSON object."""
    beside = {name: value for name, value in run._asdict().items() if name != "settings"}
    if run.ablation:
        beside["ablation"] = run.ablation._asdict()
    return {**beside, **asdict(run.settings)}


def parse_run(content: Mapping[str, Any]) -> RunFile:
    """The inverse of ``dump_run``.

    Raises:
        ValueError: a value is invalid.
        TypeError: a value has the wrong type, or a name is unknown.
    """
    settings = dict(content)
    strategies, cells = settings.pop("strategies"), tuple(map(tuple, settings.pop("cells", ())))
    width, command = settings.pop("tuned_width", None), settings.pop("command", None)
    ablation = parse_ablation(settings.pop("ablation", None))
    examine = parse_examine(settings.pop("examine", ()))
    if not isinstance(strategies, list) or not all(isinstance(n, str) for n in strategies):
        raise ValueError(f"strategies {strategies!r}"[:300])
    if not all(number in range(NUM_LEVELS) for cell in cells for number in cell):
        raise ValueError(f"cells {cells}"[:300])
    if width is not None and (type(width) is not int or width < 1):
        raise ValueError(f"tuned_width {width!r}"[:300])
    if not isinstance(command, str | None):
        raise ValueError(f"command {command!r}"[:300])
    return RunFile(parse_settings(settings), strategies, examine, command, cells, width, ablation)
