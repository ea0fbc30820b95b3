"""Commands: started here, or run by the workers of a cluster."""

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
        folder: its working directory.
        command: program and arguments.
        log: file to which its output is appended.
        **how: further arguments of ``subprocess.Popen``.
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
    """Runs a command in a worker, and terminates it if the worker is interrupted.

    Returns:
        its exit code.
    """
    process = start_command(folder, command, log)
    try:
        while process.poll() is None:
            time.sleep(PAUSE)  # Ray could not interrupt process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def apart() -> chdir:
    """Context manager that changes to the root folder, which has nothing to import.

    Cluster workers import from the folder that submits them before the standard library: a user's
    ``random.py`` there would break them.
    """
    return chdir(os.sep)


def exit_code(ask: Callable[[], int], log: Path) -> int:
    """The exit code that a worker returned, or ``LOST`` after logging the error."""
    try:
        return ask()
    except Exception as error:  # clusters lose workers in many ways
        with log.open("a", encoding="utf-8") as file:
            file.write(f"worker lost: {type(error).__name__}: {error}\n")
        return LOST


def refused(package: str, error: Exception) -> UsageError:
    """The error for a request that a cluster or its client rejects."""
    return UsageError("request", f"rejected by {package}: {error}")
