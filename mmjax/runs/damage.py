"""Finds the damaged files of a run folder, and prepares the rest for resuming."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from pathlib import Path

from rich.console import Console

from mmjax.errors import DataError
from mmjax.runs.columns import COLUMNS, salvage_table
from mmjax.storage import manifest
from mmjax.storage.files import whole_file
from mmjax.storage.jsonl import write_rows
from mmjax.storage.manifest import MANIFEST, read_manifest, write_manifest
from mmjax.storage.reading import check_picture, find_pictures

_SUFFIXES = (".json", ".jsonl", ".npz", ".db", ".md", ".html", ".png", ".svg")
_FOLDERS = ("predictions", "checkpoint")


def find_damage(out: Path) -> dict[str, DataError]:
    """{name: error} of damaged files of a completed run, or of damaged pictures of another."""
    if not (out / MANIFEST).exists():
        return _find_damaged_pictures(out)
    try:
        return manifest.find_damage(out, read_manifest(out)["files"])
    except DataError as error:
        return {MANIFEST: error, **_find_damaged_pictures(out)}


def _find_damaged_pictures(out: Path) -> dict[str, DataError]:
    """{name: error} of damaged pictures, found by what is in the files themselves."""
    found = {}
    for path in find_pictures(out):
        try:
            check_picture(path)
        except DataError as error:
            found[path.name] = error
    return found


def begin_changes(out: Path, damage: Mapping[str, DataError], console: Console) -> None:
    """Reports the damage, and removes the manifest until ``end_changes``.

    Tables keep their readable rows. A damaged picture is restored from the page, or removed.
    """
    for name, error in damage.items():
        console.print(f"damaged: {error}", soft_wrap=True)
        if name.endswith((".png", ".svg")):
            _restore_picture(out, name)
    for name in COLUMNS:
        rows, faults = salvage_table(out, name)
        for fault in faults:
            console.print(f"damaged: {fault}", soft_wrap=True)
        if faults or (rows and f"{name}.jsonl" in damage):
            write_rows(out / f"{name}.jsonl", rows)
    (out / MANIFEST).unlink(missing_ok=True)


def _restore_picture(out: Path, name: str) -> None:
    """Restores a picture from the page: a completed run has removed the embeddings it showed."""
    from mmjax.report.extras import PICTURES

    listed, page = _find_digest(out, name), out / "report.html"
    (out / name).unlink(missing_ok=True)
    text = page.read_text(encoding="utf-8", errors="replace") if page.exists() else ""
    title = PICTURES.get(name, [None])[0]
    for encoded, shown in re.findall(
        r'data:image/svg\+xml;base64,([A-Za-z0-9+/]+=*)" alt="([^"]*)"', text
    ):
        picture = b64decode(encoded)
        if listed in (None, hashlib.sha256(picture).hexdigest()) and shown == title:
            with whole_file(out / name) as file:
                file.write(picture)
    if name in _find_damaged_pictures(out):
        (out / name).unlink()


def _find_digest(out: Path, name: str) -> str | None:
    """The sha256 of a file in the manifest; None if the manifest is damaged."""
    try:
        return read_manifest(out)["files"][name]
    except DataError:
        return None


def end_changes(out: Path, damage: Collection[str], console: Console) -> None:
    """Writes the manifest of a completed run, and reports which damaged files were rebuilt."""
    top = [path for path in out.iterdir() if path.suffix in _SUFFIXES and path.name != MANIFEST]
    below = [path for name in _FOLDERS for path in (out / name).rglob("*")]
    files = [path for path in (*top, *below) if path.is_file() and path.name[0] != "."]
    write_manifest(out, files)
    for name in damage:
        state = "rebuilt" if (out / name).exists() else "not rebuilt"
        console.print(f"{state}: {out / name}", soft_wrap=True)
