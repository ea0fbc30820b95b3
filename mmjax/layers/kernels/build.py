"""Compiles the C++ sources on first use, once per CPU and jaxlib, into the user's cache folder.

Where there is no compiler, the library that a wheel may bring is used: for any CPU of the kind, and
so without the widest vectors.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jaxlib

from mmjax.errors import BuildError
from mmjax.storage.compile_cache import cpu_identity, describe_cpu, private_folder
from mmjax.storage.files import digest_file, sync_tree, write_text
from mmjax.storage.locks import locked

SOURCES = sorted(Path(__file__).parent.glob("*.cc"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# No -ffast-math, which changes results; fused multiply-adds only make them more accurate.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fPIC", "-pthread")
NATIVE = "-march=native"
PORTABLE = {
    "x86_64": "-march=x86-64-v3",
    "aarch64": "-march=armv8-a",
    "arm64": "-mcpu=apple-m1",
}
"""{machine: what the library of a wheel is compiled for}."""
PREBUILT = Path(__file__).with_name("prebuilt.so")
TARGETS = (
    "mmjax_convolve",
    "mmjax_kernel_gradient",
    "mmjax_attend",
    "mmjax_attend_gradient",
    "mmjax_layer_norm",
    "mmjax_layer_norm_gradient",
)
FIX = "Install a C++17 compiler, or name one in CXX."


def load() -> str:
    """Registers the kernels with XLA, compiling them on first use; returns their ``digest``.

    Raises:
        BuildError: there is no compiler, or it fails; and no library for this CPU came along.
        OSError: the cache folder cannot be used, or the library cannot be loaded.
        RuntimeError: the user has no home folder, or XLA rejects the library.
    """
    architecture = NATIVE
    try:
        path = build()
    except BuildError:
        if not _prebuilt_fits():
            raise
        path, architecture = PREBUILT, PORTABLE[platform.machine()]
    library = ctypes.CDLL(str(path))
    for target in TARGETS:
        handler = jax.ffi.pycapsule(getattr(library, target))
        jax.ffi.register_ffi_target(target, handler, platform="cpu")
    return digest(architecture)


def _prebuilt_fits():
    v3 = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
    needed = v3 if platform.machine() == "x86_64" else set()
    return PREBUILT.exists() and needed <= set(describe_cpu().split())


def build() -> Path:
    """Path of the compiled library, which is built unless the cache folder has it.

    Raises:
        BuildError: there is no compiler, or it fails.
        OSError: the cache folder cannot be used.
    """
    folder = private_folder("kernels")
    library = folder / f"{_fingerprint()}.so"
    if not _is_intact(library):
        with locked(folder, wait=True):
            if not _is_intact(library):  # otherwise another process has built it meanwhile
                _build_at(library)
    return library


def _is_intact(library):
    """Whether it is as it was built: to load half of one would end the process."""
    try:
        return _checksum_file(library).read_bytes() == digest_file(library).encode()
    except FileNotFoundError:
        return False


def _checksum_file(library):
    return library.with_suffix(".sha256")


def digest(architecture: str) -> str:
    """Eight characters that identify the sources and the options of the compiler."""
    return _hash(*_code(architecture))[:8]


def compile_library(architecture: str, library: Path) -> None:
    """Compiles the kernels.

    Args:
        architecture: the option of the compiler that names it, such as ``-march=native``.
        library: the file to write.

    Raises:
        BuildError: there is no compiler, or it fails.
    """
    flags, folder = (*FLAGS, architecture), library.parent
    objects = [str(folder / f"{source.stem}.o") for source in SOURCES]
    include = ("-isystem", jax.ffi.include_dir())
    compile_one = lambda source, to: _compile(*flags, *include, "-c", str(source), "-o", to)
    with ThreadPoolExecutor(len(SOURCES)) as together:
        list(together.map(compile_one, SOURCES, objects))
    _compile(*flags, "-shared", *objects, "-o", str(library))


def _build_at(library):
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder, "kernels.so")
        compile_library(NATIVE, fresh)
        sync_tree(Path(folder))
        os.replace(fresh, library)
        write_text(_checksum_file(library), digest_file(library))


def _fingerprint():
    """A hash of what the library depends on.

    The version of the compiler is left out: whoever has the library needs no compiler.
    """
    system = os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else ""
    parts = (_compiler(), jaxlib.__version__, cpu_identity(), system or "")
    return _hash(*_code(NATIVE), *(part.encode() for part in parts))[:32]


def _code(architecture):
    flags = " ".join((*FLAGS, architecture)).encode()
    return *(path.read_bytes() for path in (*SOURCES, *HEADERS)), flags


def _hash(*parts):
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _compiler():
    return os.environ.get("CXX") or "c++"


def _compile(*arguments):
    compiler = _compiler()
    try:
        command = [*shlex.split(compiler), *arguments]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except (OSError, ValueError) as error:
        raise BuildError(compiler, f"cannot run the C++ compiler: {error}", fix=FIX) from error
    except subprocess.CalledProcessError as error:
        last = b"\n".join(error.stderr.splitlines()[-5:]).decode(errors="replace")
        problem = f"compiling the kernels failed with exit status {error.returncode}"
        problem += f":\n{last}" if last else ""
        raise BuildError(compiler, problem, fix=FIX) from error
