"""SLURM jobs through submitit, which runs local processes where there is no SLURM."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmjax.errors import import_extra
from mmjax.runs.launchers.commands import apart, exit_code, refused, run_command
from mmjax.runs.launchers.jobs import LOST, Job, Start

_DAY = 24 * 60  # minutes; submitit's default is five


@contextmanager
def open_submitit(request: Mapping[str, Any]) -> Iterator[Start]:
    """Context manager that yields a function which submits jobs.

    Args:
        request: parameters of ``submitit.AutoExecutor``; the default time limit is a day.

    Raises:
        UsageError: submitit is not installed, or rejects the request. A request that only SLURM
            rejects is reported when the first job is submitted.
    """
    submitit = import_extra("launcher", "submitit", "slurm")

    def make_executor(folder: str | Path) -> Any:
        executor = submitit.AutoExecutor(folder)
        try:
            executor.update_parameters(**{"timeout_min": _DAY, **request})
        except (AssertionError, NameError, ValueError) as error:
            raise refused("submitit", error) from error
        return executor

    def start(command: Sequence[str], log: Path) -> Job:
        executor, here = make_executor(log.parent / "submitit"), Path.cwd()
        try:
            with apart():
                job = executor.submit(run_command, here, command, log)
        except RuntimeError as error:
            raise refused("SLURM", error) from error
        return _Submitted(job, log)

    with TemporaryDirectory() as folder:
        make_executor(folder)  # rejects the request before anything is written
    yield start


class _Submitted:
    def __init__(self, job: Any, log: Path) -> None:
        self._job, self._log, self._cancelled = job, log, False

    def poll(self) -> int | None:
        if self._cancelled:
            return LOST  # SLURM may take minutes to confirm it
        if not self._job.done():
            return None
        return exit_code(self._job.result, self._log)

    def terminate(self) -> None:
        self._cancelled = True
        self._job.cancel(check=False)
