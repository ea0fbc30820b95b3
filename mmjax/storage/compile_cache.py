"""JAX's persistent compilation cache, with a place and a size limit."""

import grp
import hashlib
import os
import platform
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

LIMIT = 2**30
"""Bytes that the programs of earlier processes may take, over all kinds of CPU."""
DAYS = 30
"""How long a program is kept. JAX never overwrites a truncated entry, nor asks again for those of
past versions: this is how both are removed."""

# Initialising a model takes some seventy small programs, nearly half of all compilation: keep all.
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def enable_compilation_cache() -> Path | None:
    """Caches what this process compiles from now on, and loads what earlier ones have compiled.

    Programs are stored under ``mmjax/programs`` in the user's cache folder, ``~/.cache`` or
    ``$XDG_CACHE_HOME`` (on macOS ``~/Library/Caches``), in a folder for this kind of CPU. Programs
    older than ``DAYS`` or beyond ``LIMIT`` are removed first. Results are bit-identical. An entry
    that cannot be read or written is silently compiled again.

    JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE, in the environment or in
    ``jax.config``, take precedence: if the user has chosen a folder or disabled the cache, nothing
    changes.

    Returns:
        the folder; None where JAX's own settings take precedence.

    Raises:
        OSError: the folder cannot be created or written to, other users can write to it, or its
            disk has less than ``LIMIT`` free.
        RuntimeError: the user has no home folder.
    """
    config: Any = jax.config  # which gets its attributes when JAX is imported
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    folder = private_folder("programs", cpu_identity())
    trim(folder.parent, LIMIT, DAYS)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to {folder}")
    if shutil.disk_usage(folder).free < LIMIT:
        raise OSError(f"less than {LIMIT >> 20} MiB free at {folder}")
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation", UserWarning)
    for name, value in _SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    compilation_cache.reset_cache()  # this process may have compiled without one
    return folder


def try_caching(warn: Callable[[str], object]) -> Path | None:
    """``enable_compilation_cache``, or a call of ``warn`` with the reason if that is impossible."""
    try:
        return enable_compilation_cache()
    except (OSError, RuntimeError) as error:
        warn(f"compiled programs are not cached: {error}")
    return None


@contextmanager
def cached_programs(warn: Callable[[str], object]) -> Iterator[None]:
    """Caches what is compiled in this context, as ``try_caching``."""
    names = ("jax_compilation_cache_dir", *_SETTINGS)
    before = {name: getattr(jax.config, name) for name in names}
    folder = try_caching(warn)
    try:
        yield
    finally:
        if folder:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


def private_folder(*names: str) -> Path:
    """A folder below ``mmjax`` in ``cache_home``, created if necessary, for what is trusted.

    Raises:
        PermissionError: another user owns the folder, can write to it, or can replace it.
        OSError: the folder cannot be created.
        RuntimeError: the user has no home folder.
    """
    folder = cache_home()
    for name in ("", "mmjax", *names):
        folder /= name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder.resolve()
    for depth, parent in enumerate((place, *place.parents)):
        info = parent.stat()
        foreign = depth < len(names) + 2 and info.st_uid not in (0, os.geteuid())
        sticky = info.st_mode & stat.S_ISVTX  # only its owner may rename what is in it
        shared = _others_write(info) and not sticky if depth else info.st_mode & 0o022
        if foreign or shared:
            raise PermissionError(
                f"other users can write to {parent}, and what {folder} holds is trusted; "
                "revoke their permission (chmod go-w), or set XDG_CACHE_HOME to another folder"
            )
    return folder


def _others_write(info: os.stat_result) -> bool:
    """Whether users other than the owner may write; a group named like the user has no others."""
    if not info.st_mode & stat.S_IWGRP:
        return bool(info.st_mode & stat.S_IWOTH)
    try:
        group, user = grp.getgrgid(info.st_gid).gr_name, pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return True
    return bool(info.st_mode & stat.S_IWOTH) or group != user


def trim(folder: Path, limit: int, days: float) -> None:
    """Removes empty files and those older than ``days``, then the oldest beyond ``limit`` bytes.

    JAX can limit its cache itself, but then looks at every entry before it writes one, which for a
    thousand entries takes longer than compiling a small program.

    Args:
        folder: all files below it count; other processes may add and remove files meanwhile.
        limit: bytes to keep.
        days: age of the oldest file to keep.
    """
    total, oldest = 0, time.time() - days * 86_400
    for path, info in sorted(_files(folder), key=lambda file: -file[1].st_mtime):
        total += info.st_size
        if not info.st_size or info.st_mtime < oldest or total > limit:
            with suppress(OSError):
                os.unlink(path)


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names):
            with suppress(OSError):
                yield path, os.stat(path)


def cpu_identity() -> str:
    """System, architecture and a short hash of the CPU's model and instruction set.

    XLA compiles for the CPU it runs on, and JAX does not check which one an entry was compiled for:
    in a home folder that several machines share, each kind of CPU needs a folder of its own.
    """
    described = hashlib.sha256(describe_cpu().encode()).hexdigest()[:12]
    return f"{sys.platform}-{platform.machine()}-{described}"


def describe_cpu() -> str:
    """What the system says of the CPU's model and instruction set."""
    with suppress(OSError):
        if sys.platform == "darwin":
            name = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(name, capture_output=True, text=True).stdout
        return describe_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return platform.processor()


def describe_cpuinfo(text: str) -> str:
    """The lines of Linux's /proc/cpuinfo that identify the CPU, whatever its number of cores."""
    named = re.compile(r"(vendor_id|cpu family|model|model name|flags|Features|CPU \w+)\s*:")
    return "\n".join(sorted({line for line in text.splitlines() if named.match(line)}))


def cache_home() -> Path:
    """The user's cache folder."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the specification says to ignore relative paths
        return given
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
