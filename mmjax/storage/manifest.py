"""manifest.json: the sha256 of every file of a folder, by which corruption is detected.

It is written last, and removed before anything is changed: a folder without one is unfinished.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import DataError
from mmjax.storage.files import digest_file, json_digest, write_text
from mmjax.storage.reading import open_database

MANIFEST = "manifest.json"
_EXPECTED, _MISMATCH = "the file as it was written", "a checksum mismatch"


def write_manifest(folder: Path, files: Iterable[Path], **facts: Any) -> None:
    """Writes the checksums of a folder's files, and any facts to keep beside them.

    Raises:
        OSError: the manifest cannot be written, or a file cannot be read.

    Example:
        >>> path = Path("run", "scores.csv")
        >>> path.parent.mkdir()
        >>> write_text(path, "0.9")
        >>> write_manifest(path.parent, [path])
        >>> write_text(path, "0.8")
        >>> find_damage(path.parent, read_manifest(path.parent)["files"])
        {'scores.csv': DataError('run/scores.csv: expected the file as it was written,
        got a checksum mismatch.')}
    """
    listed = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(files)}
    _write(folder, {**facts, "files": listed})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads what ``write_manifest`` wrote: ``files``, {name: sha256}, and the facts.

    Raises:
        DataError: the manifest is missing or corrupted.
    """
    path = folder / MANIFEST
    expected = "the manifest of a finished folder"
    try:
        text = path.read_bytes()
        content = json.loads(text)
        intact = content.pop("sha256") == json_digest(content) and text == _text(content).encode()
        named = all(isinstance(x, str) for x in content["files"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(path, expected=expected, got=f"{error}") from error
    if not (intact and named):
        raise DataError(path, expected=_EXPECTED, got=_MISMATCH)
    return content


def find_damage(folder: Path, files: Mapping[str, str], fix: str = "") -> dict[str, DataError]:
    """{name: what is wrong} for the files of a manifest that are missing or have changed."""
    found = {}
    for name, digest in files.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            got = _MISMATCH if path.is_file() else "no such file"
            found[name] = DataError(path, expected=_EXPECTED, got=got, fix=fix)
    return found


def check_listed(folder: Path, *suffixes: str) -> None:
    """Checks files against the folder's manifest, if there is one.

    Args:
        folder: a folder that may have a manifest.
        suffixes: of the files to check.

    Raises:
        DataError: the manifest, or one of these files, is corrupted.
    """
    if (folder / MANIFEST).exists():
        files = read_manifest(folder)["files"]
        listed = {n: digest for n, digest in files.items() if n.endswith(suffixes)}
        fix = f"--resume repairs a run; if you edited the file yourself, remove {MANIFEST}."
        for error in find_damage(folder, listed, fix).values():
            raise error


def renew(path: Path) -> None:
    """Updates a file's checksum in the manifest of its folder, if that lists it."""
    if (path.parent / MANIFEST).exists():
        content = read_manifest(path.parent)
        if path.name in content["files"]:
            content["files"][path.name] = _digest(path)
            _write(path.parent, content)


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    write_text(folder / MANIFEST, _text(content))


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps({**content, "sha256": json_digest(content)}, indent=1) + "\n"


def _digest(path: Path) -> str:
    return _digest_database(path) if path.suffix == ".db" else digest_file(path)


def _digest_database(path: Path) -> str:
    """Of a SQLite database's content, without the heartbeats that workers may still write."""
    digest = hashlib.sha256()
    try:
        with open_database(path) as database:
            for line in database.iterdump():
                if not line.startswith('INSERT INTO "trial_heartbeats"'):
                    digest.update(line.encode())
    except DataError as error:
        return f"{error}"
    return digest.hexdigest()
