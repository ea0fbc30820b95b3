"""Processes on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmjax.runs.launchers.commands import start_command
from mmjax.runs.launchers.jobs import Start


@contextmanager
def open_local(request: Mapping[str, Any]) -> Iterator[Start]:
    """Context manager that yields a function which starts processes; it has no options.

    A process has its own session, so that Ctrl-C reaches only the caller, which terminates it.
    """
    yield partial(start_command, Path.cwd(), start_new_session=True)
