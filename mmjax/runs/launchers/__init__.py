"""Launchers: what starts commands on this machine, by SLURM, on a Ray cluster.

Clients of clusters are imported where they are used: they are extras, and Ray takes a second.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmjax.registry import parse_pairs
from mmjax.runs.launchers.jobs import Start
from mmjax.runs.launchers.local import open_local
from mmjax.runs.launchers.ray import open_ray
from mmjax.runs.launchers.submitit import open_submitit
from mmjax.runs.settings import Launch

__all__ = ["LAUNCHERS", "open_launcher"]

LAUNCHERS = {"local": open_local, "submitit": open_submitit, "ray": open_ray}


@contextmanager
def open_launcher(launch: Launch) -> Iterator[Start]:
    """Gives what starts commands, as long as the block lasts.

    Raises:
        UsageError: the launcher's package is not installed, or it refuses the request.
    """
    pairs = parse_pairs("request", launch.request)
    with LAUNCHERS[str(launch.launcher)](
        {name: _parse(text) for name, text in pairs.items()}
    ) as start:
        yield start


def _parse(text: str) -> Any:
    """Numbers, lists and the like as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
