"""Settings of the whole test run."""

import os
import resource
import shutil
import signal
import tempfile
from contextlib import redirect_stdout
from io import StringIO

import hypothesis
import pytest

# Programs run a few times on tiny arrays: compiling them fast matters more than running them fast.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1 " + os.environ.get("XLA_FLAGS", "")
)

# Locations in the source, which nobody reads here, take a tenth of the time of lowering a program.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# Tests leave nothing in the user's cache and take nothing from it. What one of them compiles, the
# others load: those of another worker and of subprocesses, too, which inherit the environment.
_BEGUN_HERE = "PYTEST_XDIST_WORKER" not in os.environ
if _BEGUN_HERE:
    _PROGRAMS = tempfile.mkdtemp(prefix="mmjax-programs-")
    if shutil.which(os.environ.get("CXX") or "c++") is None:
        os.environ.setdefault("MMJAX_KERNELS", "0")
    os.environ |= {
        "XDG_CACHE_HOME": _PROGRAMS,  # of the C++ kernels
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": _PROGRAMS,
        # To keep and load what takes less would cost more than to compile it again.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.03",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

# A command that a script runs in the background ignores SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Few examples each time; many with --hypothesis-profile=thorough.
hypothesis.settings.register_profile("few", max_examples=10, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=200, deadline=None)
hypothesis.settings.load_profile("few")

_ENOUGH, _MORE = 4 << 20, 1 << 20  # KiB
_resident = _ENOUGH


def pytest_collection_modifyitems():
    """In the processes that run tests, where JAX is imported by now, and not in that above them."""
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_unconfigure():
    if _BEGUN_HERE:
        shutil.rmtree(_PROGRAMS, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def in_a_hurry():
    """No test looks at how long anything took: programs are compiled, and timed, in little time."""
    from mmjax.analysis import cost
    from mmjax.layers import platform

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "_SECONDS", 0.0)
        patch.setattr(cost, "_CALLS", 2)
        for effort in platform._EFFORTS:
            patch.setitem(platform._EFFORTS, effort, platform._EFFORTS["least"])
        yield


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """A worker would keep the programs of all its tests, gigabytes in the end."""
    import jax

    global _resident
    yield
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if now > _resident:
        jax.clear_caches()
        _resident = now + _MORE


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """The folder of a comparison that nothing disturbed, to be left as it is; what it printed.

    The first worker that needs it makes it for all.
    """
    from commands import COMPARE, run

    from mmjax.storage.locks import locked

    base = tmp_path_factory.getbasetemp()
    folder = (base if _BEGUN_HERE else base.parent) / "compared"
    out, printed = folder / "new" / "run", folder / "printed.txt"
    with locked(folder, wait=True):
        if not printed.exists():
            with redirect_stdout(StringIO()) as said:
                assert run("compare", *COMPARE, "--out", out) == 0
            printed.write_text(said.getvalue(), encoding="utf-8")
    return out, printed.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def whole(compared):
    """That folder."""
    return compared[0]
