"""The platform that a program is traced for, which decides how layers and lanes are formulated."""

from typing import Any

import jax

stated_platform = jax.make_user_context(None)
"""Context manager that states the platform, as ``stated_platform("gpu")``.

It lets a machine lower a program for a platform that it lacks. JAX's caches depend on it, so what
is traced for one platform is never used on another.
"""


def platform() -> str:
    """The platform that is traced for, ``cpu``, ``gpu`` or ``tpu``: by default JAX's backend.

    Example:
        >>> from mmjax.layers.platform import platform, stated_platform
        >>> with stated_platform("tpu"):
        ...     platform()
        'tpu'
    """
    return stated_platform.value or jax.default_backend()


def compiler_options(effort: str = "normal") -> dict[str, Any] | None:
    """Options of ``jax.jit``, for a CPU; ``None`` for other platforms.

    Args:
        effort: ``normal``: as fast as with all effort, in two thirds of the compile time; ``low``:
            for small work, in half of that; ``least``: for a program that runs but a few times.
    """
    return _EFFORTS[effort] if platform() == "cpu" else None


_LOW = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
_EFFORTS: dict[str, dict[str, Any]] = {
    "normal": {"xla_backend_optimization_level": 1},
    "low": {"xla_backend_optimization_level": 1, **_LOW},
    "least": {"xla_backend_optimization_level": 0, **_LOW},
}
