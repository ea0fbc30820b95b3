"""run.json: what a run was asked for."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from mmjax.errors import DataError
from mmjax.files import json_digest, write_text
from mmjax.fusion.searched import NUM_LEVELS
from mmjax.reading import reading
from mmjax.search import Cells
from mmjax.settings import Settings, parse_settings


class RunFile(NamedTuple):
    """What a run folder's run.json keeps.

    Attributes:
        settings: as given.
        strategies: names.
        cells: those that a search has found, if the strategy is searched.
    """

    settings: Settings
    strategies: list[str]
    cells: Cells


def write_run_file(
    out: Path, settings: Settings, strategies: Sequence[str], cells: Cells = ()
) -> None:
    """Writes run.json, with a digest by which damage is found."""
    content = {"strategies": list(strategies), "cells": cells, **asdict(settings)}
    content["sha256"] = json_digest(content)
    write_text(out / "run.json", json.dumps(content, indent=1) + "\n")


def read_run_file(folder: Path) -> RunFile:
    """What the run.json of a run folder says.

    Raises:
        DataError: there is no such file, it is no run.json, or it is not as it was written.
    """
    with reading(folder / "run.json", "the settings of a run") as (path, refuse):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256", None) not in (None, json_digest(content)):
            raise DataError(
                path,
                expected="the settings as they were written",
                got="others",
                fix="It is damaged; if you have edited it yourself, remove its sha256.",
            )
        strategies, cells = content.pop("strategies"), tuple(map(tuple, content.pop("cells", ())))
        if not isinstance(strategies, list) or not all(isinstance(n, str) for n in strategies):
            refuse(f"strategies {strategies!r}"[:300])
        if not all(number in range(NUM_LEVELS) for cell in cells for number in cell):
            refuse(f"cells {cells}"[:300])
        return RunFile(parse_settings(content), strategies, cells)
