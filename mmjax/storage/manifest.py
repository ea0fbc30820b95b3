"""manifest.json: the sha256 of every file of a folder, by which damage is found.

It is written when all else is on the disk, and removed before anything is changed: a folder without
one is not done, or was stopped.
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
_EXPECTED = "the bytes that were written"


def write_manifest(folder: Path, files: Iterable[Path], **facts: Any) -> None:
    """Lists files of a folder, with facts that are to be kept beside them.

    Raises:
        OSError: it cannot be written, or a file cannot be read.
    """
    listed = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(files)}
    _write(folder, {**facts, "files": listed})


def read_manifest(folder: Path) -> dict[str, Any]:
    """What ``write_manifest`` wrote: ``files``, {name: sha256}, and the facts.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / MANIFEST
    expected = "the manifest of a folder that is done"
    try:
        text = path.read_bytes()
        content = json.loads(text)
        intact = content.pop("sha256") == json_digest(content) and text == _text(content).encode()
        named = all(isinstance(x, str) for x in content["files"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(path, expected=expected, got=f"{error}") from error
    if not (intact and named):
        raise DataError(path, expected=_EXPECTED, got="others")
    return content


def find_damage(folder: Path, files: Mapping[str, str], fix: str = "") -> dict[str, DataError]:
    """{name: what is wrong} of the files of a manifest that are not as they were written."""
    found = {}
    for name, digest in files.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            got = "others" if path.is_file() else "no such file"
            found[name] = DataError(path, expected=_EXPECTED, got=got, fix=fix)
    return found


def check_listed(folder: Path, *suffixes: str) -> None:
    """Refuses files that are not as the folder's manifest has them; without one it says nothing.

    Args:
        folder: that may have a manifest.
        suffixes: of the files that are checked.

    Raises:
        DataError: the manifest, or one of these files, is damaged.
    """
    if (folder / MANIFEST).exists():
        files = read_manifest(folder)["files"]
        listed = {n: digest for n, digest in files.items() if n.endswith(suffixes)}
        fix = f"--resume repairs a run; if you have edited the file yourself, remove {MANIFEST}."
        for error in find_damage(folder, listed, fix).values():
            raise error


def renew(path: Path) -> None:
    """Has the manifest of a file's folder, if that lists it, say what the file holds now."""
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
    """Of what a SQLite database says; its workers' signs of life may come after all is done."""
    digest = hashlib.sha256()
    try:
        with open_database(path) as database:
            for line in database.iterdump():
                if not line.startswith('INSERT INTO "trial_heartbeats"'):
                    digest.update(line.encode())
    except DataError as error:
        return f"{error}"
    return digest.hexdigest()
