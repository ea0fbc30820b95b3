"""Processes that run a command somewhere: on this machine, by SLURM, on a Ray cluster.

Their clients are imported where they are used: they are extras, and Ray takes a second.
"""

import json
import os
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from mmjax.errors import UsageError
from mmjax.settings import Launch, parse_pairs

TRIES = 3
"""How often a command is started whose worker is lost."""

_LOST = -int(signal.SIGKILL)  # what the command of a worker that says nothing has ended with
_PAUSE = 0.2  # seconds between looks
_DAY = 24 * 60  # minutes; by default submitit grants five


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

    A worker is lost if a signal has ended the command, or if nothing is known about its end.
    However this function ends, no job runs on.

    Args:
        names: of the jobs, in the order in which they begin.
        start: begins a job.
        workers: jobs at once.
        on_end: called with a name and an exit code; that of a lost worker after ``TRIES`` of them.
        heed: called several times a second; what it raises ends all jobs.
    """
    waiting, running, starts = deque(names), {}, Counter()
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
            time.sleep(_PAUSE)
    finally:
        for job in running.values():
            job.terminate()
        while any(job.poll() is None for job in running.values()):
            time.sleep(_PAUSE)


def is_lost(code: int) -> bool:
    """Whether an exit code is that of a signal: -n, or 128 + n where a shell or mmjax says it."""
    return code < 0 or code > 128


@contextmanager
def open_launcher(launch: Launch) -> Iterator[Start]:
    """Gives what starts commands, as long as the block lasts.

    Raises:
        UsageError: the launcher's package is not installed, or it refuses the request.
    """
    pairs = parse_pairs("request", launch.request)
    with _LAUNCHERS[launch.launcher]({name: _parse(text) for name, text in pairs.items()}) as start:
        yield start


@contextmanager
def _local(request: Mapping[str, Any]) -> Iterator[Start]:
    # A session of its own keeps Ctrl-C from it, which this process passes on.
    yield partial(_popen, Path.cwd(), start_new_session=True)


@contextmanager
def _submitit(request: Mapping[str, Any]) -> Iterator[Start]:
    submitit = _import("submitit", "slurm")

    def make_executor(folder: str | Path) -> Any:
        executor = submitit.AutoExecutor(folder)
        executor.update_parameters(**{"timeout_min": _DAY, **request})
        return executor

    def start(command: Sequence[str], log: Path) -> Job:
        executor = make_executor(log.parent / "submitit")
        return _Submitted(executor.submit(_run, Path.cwd(), command, log), log)

    try:
        with TemporaryDirectory() as folder:
            make_executor(folder)
    except (AssertionError, NameError, ValueError) as error:
        raise _refused("submitit", error) from error
    yield start


class _Submitted:
    def __init__(self, job: Any, log: Path) -> None:
        self._job, self._log, self._cancelled = job, log, False

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        if self._cancelled:
            return _LOST  # submitit would look for a result for a while
        return _result(self._job.result, self._log)

    def terminate(self) -> None:
        self._cancelled = True
        self._job.cancel(check=False)


@contextmanager
def _ray(request: Mapping[str, Any]) -> Iterator[Start]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it sends them
    ray = _import("ray", "ray")
    try:
        # Retries are counted in one place, and here lost workers are seen.
        run = ray.remote(_run).options(max_retries=0, **request)
    except (TypeError, ValueError) as error:
        raise _refused("ray", error) from error
    with ray.init(log_to_driver=False, include_dashboard=False, logging_level="warning"):
        yield lambda command, log: _RayTask(ray, run.remote(Path.cwd(), command, log), log)


class _RayTask:
    def __init__(self, ray: Any, task: Any, log: Path) -> None:
        self._ray, self._task, self._log = ray, task, log

    def poll(self) -> int | None:
        ended, _ = self._ray.wait([self._task], timeout=0)
        if not ended:
            return None
        return _result(lambda: self._ray.get(self._task), self._log)

    def terminate(self) -> None:
        self._ray.cancel(self._task)


_LAUNCHERS = {"local": _local, "submitit": _submitit, "ray": _ray}


def _run(folder: Path, command: Sequence[str], log: Path) -> int:
    """What a worker of a cluster does: runs a command, and ends it if it is to end itself."""
    process = _popen(folder, command, log)
    try:
        while process.poll() is None:
            time.sleep(_PAUSE)  # in a wait without end Ray could not cancel
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def _popen(
    folder: Path, command: Sequence[str], log: Path, **how: Any
) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            **how,
        )


def _result(ask: Callable[[], int], log: Path) -> int:
    """The exit code that a worker has sent; what is known where it sent none goes to the log."""
    try:
        return ask()
    except Exception as error:  # clusters lose workers in many ways
        with log.open("a", encoding="utf-8") as file:
            file.write(f"worker lost: {type(error).__name__}: {error}\n")
        return _LOST


def _import(package: str, extra: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            "launcher",
            expected=f"the package {package}",
            got=str(error),
            fix=f'Install it by pip install "mmjax[{extra}]".',
        ) from error


def _refused(package: str, error: Exception) -> UsageError:
    return UsageError("request", expected=f"what {package} knows", got=str(error))


def _parse(text: str) -> Any:
    """Numbers, lists and the like as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
