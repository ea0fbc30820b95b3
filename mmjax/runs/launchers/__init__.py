"""Launchers start commands on this machine, through SLURM or on a Ray cluster.

Cluster clients are imported where they are used: they are extras, and Ray takes a second to import.
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
    """Context manager that yields a function which starts commands.

    Raises:
        UsageError: the launcher's package is not installed, or rejects the request.

    Example:
        >>> import sys
        >>> from pathlib import Path
        >>> from mmjax.runs.launchers import open_launcher
        >>> from mmjax.runs.settings import Launch
        >>> with open_launcher(Launch("local")) as start:
        ...     job = start([sys.executable, "-c", "print('hello')"], Path("log.txt"))
        ...     code = job.wait()  # a Popen here; jobs of all launchers have poll and terminate
        >>> code, Path("log.txt").read_text()
        (0, 'hello\\n')
    """
    pairs = parse_pairs("request", launch.request)
    with LAUNCHERS[str(launch.launcher)](
        {name: _parse(text) for name, text in pairs.items()}
    ) as start:
        yield start


def _parse(text: str) -> Any:
    """Parses JSON values, such as numbers and lists; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
