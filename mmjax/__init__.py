"""Multimodal fusion in JAX and Flax: every strategy verified, every comparison honest."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmjax.api import ablate, compare
    from mmjax.data.task import Split, Task
    from mmjax.runs.result import Result, load_result
    from mmjax.runs.trained import TrainedRun, load_run
    from mmjax.tasks import load_task
    from mmjax.testing import check_fusion

    __version__: str

__all__ = [
    "Result",
    "Split",
    "Task",
    "TrainedRun",
    "ablate",
    "check_fusion",
    "compare",
    "load_result",
    "load_run",
    "load_task",
]

_MODULES = {
    "Result": "runs.result",
    "Split": "data.task",
    "Task": "data.task",
    "TrainedRun": "runs.trained",
    "ablate": "api",
    "check_fusion": "testing",
    "compare": "api",
    "load_result": "runs.result",
    "load_run": "runs.trained",
    "load_task": "tasks",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: `mmjax --help` does not wait for JAX."""
    if name == "__version__":
        return version("mmjax")
    if name not in _MODULES:
        raise AttributeError(f"module 'mmjax' has no attribute {name!r}")
    return getattr(import_module(f"mmjax.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
