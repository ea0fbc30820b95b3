"""Commands: started, run by workers of a cluster, asked for their exit code."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from mmjax.errors import UsageError
from mmjax.runs.launchers.jobs import LOST, PAUSE


def start_command(
    folder: Path, command: Sequence[str], log: Path, **how: Any
) -> "subprocess.Popen[bytes]":
    """Starts a command.

    Args:
        folder: where it runs.
        command: its words.
        log: file to which its output is appended.
        **how: more arguments of ``subprocess.Popen``.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            **how,
        )


def run_command(folder: Path, command: Sequence[str], log: Path) -> int:
    """What a worker does: runs a command, which ends first if the worker is asked to end.

    Returns:
        its exit code.
    """
    process = start_command(folder, command, log)
    try:
        while process.poll() is None:
            time.sleep(PAUSE)  # out of a wait without end Ray could not call it
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def apart() -> chdir:
    """Inside it, the current folder is the root, which has nothing to import.

    Workers of clusters import from the folder in which they were asked for, before the standard
    library: a ``random.py`` of the user's there would break them.
    """
    return chdir(os.sep)


def exit_code(ask: Callable[[], int], log: Path) -> int:
    """The exit code that a worker has sent, or ``LOST``; then the log has what is known."""
    try:
        return ask()
    except Exception as error:  # clusters lose workers in many ways
        with log.open("a", encoding="utf-8") as file:
            file.write(f"worker lost: {type(error).__name__}: {error}\n")
        return LOST


def refused(package: str, error: Exception) -> UsageError:
    """The error of a request that a cluster or its client refuses."""
    return UsageError("request", expected=f"what {package} accepts", got=str(error))
