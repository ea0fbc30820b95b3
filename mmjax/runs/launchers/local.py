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
    """Gives what starts a process here; there is nothing to request.

    A session of its own keeps Ctrl-C from it, so that who runs jobs can end them in order.
    """
    yield partial(start_command, Path.cwd(), start_new_session=True)
