"""Compiled programs that outlive the process: JAX's persistent cache, with a place and a limit."""

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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import jax

LIMIT = 2**30
"""Bytes that the programs of earlier processes may take, those of all kinds of CPU together."""
DAYS = 30
"""How long a program is kept. JAX cannot read an entry that was cut short and does not write over
it, and those of past versions are never asked for: both go this way."""

# Initialising a model takes some seventy small programs, nearly half of all compilation: keep all.
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def enable_compilation_cache() -> Path | None:
    """Keeps what this process compiles from now on, and loads what earlier ones have compiled.

    Programs lie under ``mmjax/programs`` in the user's cache folder, ``~/.cache`` or
    ``$XDG_CACHE_HOME`` (on macOS ``~/Library/Caches``), in a folder for this kind of CPU. What is
    older than ``DAYS`` or beyond ``LIMIT`` is removed first. Results are bit by bit the same. An
    entry that cannot be read or written costs its compilation and is passed over in silence.

    JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE, in the environment or in
    ``jax.config``, come first: with a folder of the user's own, or the cache turned off, nothing
    changes.

    Returns:
        the folder; None where JAX's own settings come first.

    Raises:
        OSError: the folder cannot be made or written, others can write to it, or its disk has less
            than ``LIMIT`` free.
        RuntimeError: the user has no home folder.
    """
    chosen = jax.config.jax_compilation_cache_dir
    if chosen is not None or not jax.config.jax_enable_compilation_cache:
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
    return folder


def private_folder(*names: str) -> Path:
    """A folder below ``mmjax`` in ``cache_home``, made if need be, for what is run without asking.

    Raises:
        PermissionError: another user owns it or can write to it, or can put another in its place.
        OSError: it cannot be made.
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
                f"other users can write to {parent}, and programs in {folder} are run unasked; "
                "take that right from them (chmod go-w), or name a folder of yours in "
                "XDG_CACHE_HOME"
            )
    return folder


def _others_write(info: os.stat_result) -> bool:
    """Whether users other than the owner may write; a group named as the user has no others."""
    if not info.st_mode & stat.S_IWGRP:
        return bool(info.st_mode & stat.S_IWOTH)
    try:
        group, user = grp.getgrgid(info.st_gid).gr_name, pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return True
    return bool(info.st_mode & stat.S_IWOTH) or group != user


def trim(folder: Path, limit: int, days: float) -> None:
    """Removes empty files and those older than ``days``, then the oldest beyond ``limit`` bytes.

    JAX can limit its cache by itself, but then looks at every entry before it writes one, which for
    a thousand entries takes longer than many a small program's compilation.

    Args:
        folder: all files below it count; others may add and remove some meanwhile.
        limit: bytes.
        days: age of the oldest file that stays.
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
    """System, architecture and a short hash of the CPU's model and instructions.

    XLA compiles for the CPU at hand, and JAX does not ask for which one an entry was compiled: in a
    home folder that machines share, each kind of CPU needs a folder of its own.
    """
    described = hashlib.sha256(_describe_cpu().encode()).hexdigest()[:12]
    return f"{sys.platform}-{platform.machine()}-{described}"


def _describe_cpu() -> str:
    with suppress(OSError):
        if sys.platform == "darwin":
            name = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(name, capture_output=True, text=True).stdout
        return describe_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return platform.processor()


def describe_cpuinfo(text: str) -> str:
    """What of Linux's /proc/cpuinfo names the kind of CPU; the same for any number of cores."""
    named = re.compile(r"(vendor_id|cpu family|model|model name|flags|Features|CPU \w+)\s*:")
    return "\n".join(sorted({line for line in text.splitlines() if named.match(line)}))


def cache_home() -> Path:
    """The user's folder for what can be made again."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # its specification says to ignore any other
        return given
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
