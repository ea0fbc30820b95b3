"""The platform that a program is traced for, which decides how layers and lanes are formulated."""

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
