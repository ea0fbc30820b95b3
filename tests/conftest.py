"""Settings of the whole test run."""

import os
import signal

# Programs run a few times on tiny arrays: compiling them fast matters more than running them fast.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    + os.environ.get("XLA_FLAGS", "")
)

# Tests leave nothing in the user's cache and take nothing from it; subprocesses inherit this.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

# A command that a script runs in the background ignores SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
