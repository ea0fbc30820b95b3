"""Tasks of a Ray cluster."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmjax.errors import import_extra
from mmjax.runs.launchers.commands import apart, exit_code, refused, run_command
from mmjax.runs.launchers.jobs import Start


@contextmanager
def open_ray(request: Mapping[str, Any]) -> Iterator[Start]:
    """Context manager that yields a function which starts Ray tasks.

    It connects to the cluster at ``RAY_ADDRESS``, or else starts one on this machine.

    Args:
        request: options of a Ray task.

    Raises:
        UsageError: Ray is not installed, or rejects the request.
        ConnectionError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry by default
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
        # Ray cancels tasks with SIGINT, and its workers would inherit that it is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ray = import_extra("launcher", "ray", "ray")
    try:
        # Ray's own retries would hide lost workers.
        run = ray.remote(run_command).options(max_retries=0, **request)
    except (TypeError, ValueError) as error:
        raise refused("Ray", error) from error
    with apart():
        cluster = ray.init(log_to_driver=False, include_dashboard=False, logging_level="warning")
    with cluster:
        yield lambda command, log: _Task(ray, run.remote(Path.cwd(), command, log), log)


class _Task:
    def __init__(self, ray: Any, task: Any, log: Path) -> None:
        self._ray, self._task, self._log = ray, task, log

    def poll(self) -> int | None:
        ended, _ = self._ray.wait([self._task], timeout=0)
        if not ended:
            return None
        return exit_code(lambda: self._ray.get(self._task), self._log)

    def terminate(self) -> None:
        self._ray.cancel(self._task)
