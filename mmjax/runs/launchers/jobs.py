"""Jobs: commands that have been started, a limited number at a time."""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

TRIES = 3
"""Attempts at a job whose worker is lost each time."""

LOST = -int(signal.SIGKILL)
"""Exit code of a command whose worker disappeared."""

PAUSE = 0.2
"""Polling interval in seconds."""


class Job(Protocol):
    """A command that has been started; ``subprocess.Popen`` is one."""

    def poll(self) -> int | None:
        """The exit code, None while it runs; as for Popen, negative for a signal."""

    def terminate(self) -> None:
        """Asks it to terminate, without waiting."""


Start = Callable[[Sequence[str], Path], Job]
"""``(command, log) -> Job``; output is appended to the file ``log``."""


def run_all(
    names: Sequence[str],
    start: Callable[[str], Job],
    *,
    workers: int,
    on_end: Callable[[str, int], None],
    heed: Callable[[], None] = lambda: None,
) -> None:
    """Runs jobs, at most ``workers`` at a time; a job whose worker is lost is retried.

    On an exception, running jobs are terminated and awaited.

    Args:
        names: of the jobs, in starting order.
        start: starts a job.
        workers: number of concurrent jobs.
        on_end: called with a name and an exit code, for a lost worker after ``TRIES`` attempts.
        heed: called several times a second; an exception from it terminates all jobs.

    Example:
        >>> import subprocess, sys
        >>> from mmjax.runs.launchers.jobs import run_all
        >>> start = lambda code: subprocess.Popen([sys.executable, "-c", f"exit({code})"])
        >>> run_all(["0", "3"], start, workers=1, on_end=lambda name, code: print(name, code))
        0 0
        3 3
    """
    waiting, starts = deque(names), Counter[str]()
    running: dict[str, Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name = waiting.popleft()
                running[name] = start(name)
                starts[name] += 1
            for name, code in [(name, job.poll()) for name, job in running.items()]:
                if code is None:
                    continue
                del running[name]
                if is_lost(code) and starts[name] < TRIES:
                    waiting.append(name)
                else:
                    on_end(name, code)
            heed()
            time.sleep(PAUSE)
    finally:
        for job in running.values():
            job.terminate()
        while any(job.poll() is None for job in running.values()):
            time.sleep(PAUSE)


def is_lost(code: int) -> bool:
    """Whether an exit code is a signal's: -n, or 128 + n from a shell or mmjax."""
    return code < 0 or code > 128
