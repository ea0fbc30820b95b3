"""Compiles the C++ sources once per compiler, CPU and jaxlib, into the user's cache folder."""

import ctypes
import hashlib
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import jax
import jaxlib

from mmjax.errors import BuildError
from mmjax.storage.compile_cache import private_folder
from mmjax.storage.files import sync_tree

SOURCES = sorted(Path(__file__).parent.glob("*.cc"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# No -ffast-math, which changes results; fused multiply-adds only make them more accurate.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread")
TARGETS = (
    "mmjax_convolve",
    "mmjax_kernel_gradient",
    "mmjax_attend",
    "mmjax_attend_gradient",
    "mmjax_layer_norm",
    "mmjax_layer_norm_gradient",
)
FIX = "Install a C++17 compiler and name it in CXX, or unset MMJAX_KERNELS."


@cache
def load() -> None:
    """Registers the kernels with XLA, compiling them on first use."""
    library = ctypes.CDLL(str(build()))
    for target in TARGETS:
        handler = jax.ffi.pycapsule(getattr(library, target))
        jax.ffi.register_ffi_target(target, handler, platform="cpu")


def build() -> Path:
    """Path of the compiled library, which is built unless the cache folder has it.

    Raises:
        BuildError: there is no compiler, or it fails.
        OSError: the cache folder cannot be created, or others can write to it.
    """
    library = private_folder("kernels") / f"{_fingerprint()}.so"
    if library.exists():
        return library
    # Other processes may be building too: each compiles its own file, and moves it into place
    # atomically; the last one to finish wins.
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder) / "kernels.so"
        sources = map(str, SOURCES)
        _compile(*FLAGS, "-isystem", jax.ffi.include_dir(), *sources, "-o", str(fresh))
        sync_tree(Path(folder))
        os.replace(fresh, library)
    return library


def _fingerprint():
    """A hash of everything that the library depends on.

    The compiler's predefined macros identify its version and the instruction set of this CPU.
    """
    macros = _compile(*FLAGS, "-dM", "-E", "-x", "c++", os.devnull)
    code = [path.read_bytes() for path in (*SOURCES, *HEADERS)]
    parts = (*code, macros, " ".join(FLAGS).encode(), jaxlib.__version__.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _compile(*arguments):
    command = [*shlex.split(os.environ.get("CXX") or "c++"), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except OSError as error:
        raise BuildError(command[0], f"cannot run the C++ compiler: {error}", fix=FIX) from error
    except subprocess.CalledProcessError as error:
        last = b"\n".join(error.stderr.splitlines()[-5:]).decode(errors="replace")
        problem = f"compiling the kernels failed with exit status {error.returncode}"
        problem += f":\n{last}" if last else ""
        raise BuildError(command[0], problem, fix=FIX) from error
