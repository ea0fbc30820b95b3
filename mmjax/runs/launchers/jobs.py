"""Jobs: commands that have been started, so many at once."""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

TRIES = 3
"""How often a job is started whose worker is lost."""

LOST = -int(signal.SIGKILL)
"""The exit code of a command whose worker is gone without a word."""

PAUSE = 0.2
"""Seconds between two looks at what runs."""


class Job(Protocol):
    """A command that has been started; ``subprocess.Popen`` is one."""

    def poll(self) -> int | None:
        """Its exit code, None until it has one; as of Popen, negative for a signal."""

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""


Start = Callable[[Sequence[str], Path], Job]
"""``(command, log) -> Job``: the output is appended to the file ``log``."""


def run_all(
    names: Sequence[str],
    start: Callable[[str], Job],
    *,
    workers: int,
    on_end: Callable[[str, int], None],
    heed: Callable[[], None] = lambda: None,
) -> None:
    """Runs jobs, so many at once; one whose worker is lost begins again.

    However this function ends, all jobs have ended or been told to.

    Args:
        names: of the jobs, in the order in which they begin.
        start: begins a job.
        workers: jobs at once.
        on_end: called with a name and an exit code; that of a lost worker after ``TRIES`` of them.
        heed: called several times a second; what it raises ends all jobs.
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
    """Whether an exit code is that of a signal: -n, or 128 + n where a shell or mmjax says it."""
    return code < 0 or code > 128
