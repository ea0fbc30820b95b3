"""Compiles the C++ source once per compiler, CPU and jaxlib, into the user's cache folder."""

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
# Results must not depend on -ffast-math; fusing a product with its sum only makes them more exact.
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
    """Makes the kernels known to XLA; the first call of all compiles them."""
    library = ctypes.CDLL(str(build()))
    for target in TARGETS:
        handler = jax.ffi.pycapsule(getattr(library, target))
        jax.ffi.register_ffi_target(target, handler, platform="cpu")


def build() -> Path:
    """The compiled library, from the cache folder if it is there.

    Raises:
        BuildError: there is no compiler, or it fails.
        OSError: the cache folder cannot be made, or others can write to it.
    """
    library = private_folder("kernels") / f"{_fingerprint()}.so"
    if library.exists():
        return library
    # Other processes may be at the same: each compiles its own file, and the last one to finish
    # puts its file in place, whole.
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder) / "kernels.so"
        sources = map(str, SOURCES)
        _compile(*FLAGS, "-isystem", jax.ffi.include_dir(), *sources, "-o", str(fresh))
        sync_tree(Path(folder))
        os.replace(fresh, library)
    return library


def _fingerprint():
    """A hash of all that the library depends on.

    The macros that a compiler predefines name its version and the instructions of this CPU.
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
        raise BuildError(command[0], expected="a C++ compiler", got=str(error), fix=FIX) from error
    except subprocess.CalledProcessError as error:
        last = b"\n".join(error.stderr.splitlines()[-5:]).decode(errors="replace")
        got = f"exit status {error.returncode}" + (f" and\n{last}\n" if last else "")
        expected = "to compile the kernels"
        raise BuildError(command[0], expected=expected, got=got, fix=FIX) from error
