"""Jobs of a SLURM cluster, by submitit; processes of submitit's where there is no SLURM."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmjax.errors import import_extra
from mmjax.runs.launchers.commands import apart, exit_code, refused, run_command
from mmjax.runs.launchers.jobs import LOST, Job, Start

_DAY = 24 * 60  # minutes; submitit grants five unless told


@contextmanager
def open_submitit(request: Mapping[str, Any]) -> Iterator[Start]:
    """Gives what submits jobs.

    Args:
        request: parameters of ``submitit.AutoExecutor``; a job may take a day by default.

    Raises:
        UsageError: submitit is not installed, or it refuses the request. What only SLURM refuses
            is raised by the start of the first job.
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
        make_executor(folder)  # refuses before anything has been written
    yield start


class _Submitted:
    def __init__(self, job: Any, log: Path) -> None:
        self._job, self._log, self._cancelled = job, log, False

    def poll(self) -> int | None:
        if self._cancelled:
            return LOST  # SLURM sees to it; until it says so may take minutes
        if not self._job.done():
            return None
        return exit_code(self._job.result, self._log)

    def terminate(self) -> None:
        self._cancelled = True
        self._job.cancel(check=False)
