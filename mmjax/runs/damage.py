"""What a run folder has lost, and how the rest of it is gone on with."""

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
from mmjax.storage.reading import check_picture

_SUFFIXES = (".json", ".jsonl", ".npz", ".db", ".md", ".html", ".png")
_FOLDERS = ("predictions", "checkpoint")


def find_damage(out: Path) -> dict[str, DataError]:
    """{name: what is wrong} of files of a run that was done, or of pictures of another."""
    if not (out / MANIFEST).exists():
        return _find_damaged_pictures(out)
    try:
        return manifest.find_damage(out, read_manifest(out)["files"])
    except DataError as error:
        return {MANIFEST: error, **_find_damaged_pictures(out)}


def _find_damaged_pictures(out: Path) -> dict[str, DataError]:
    """Likewise, of pictures that no manifest lists: they have checksums of their own."""
    found = {}
    for path in sorted(out.glob("*.png")):
        try:
            check_picture(path)
        except DataError as error:
            found[path.name] = error
    return found


def begin_changes(out: Path, damage: Mapping[str, DataError], console: Console) -> None:
    """Tells what is damaged, and takes away the manifest until ``end_changes``.

    Of tables there is left what can be read. A damaged picture is taken from the page, or goes.
    """
    for name, error in damage.items():
        console.print(f"damaged: {error}", soft_wrap=True)
        if name.endswith(".png"):
            _restore_picture(out, name)
    for name in COLUMNS:
        rows, faults = salvage_table(out, name)
        for fault in faults:
            console.print(f"damaged: {fault}", soft_wrap=True)
        if faults or (rows and f"{name}.jsonl" in damage):
            write_rows(out / f"{name}.jsonl", rows)
    (out / MANIFEST).unlink(missing_ok=True)


def _restore_picture(out: Path, name: str) -> None:
    """What pictures of embeddings are drawn from is gone when a run is done; its page has them."""
    from mmjax.report.extras import PICTURES

    listed, page = _find_digest(out, name), out / "report.html"
    (out / name).unlink(missing_ok=True)
    text = page.read_text(encoding="utf-8", errors="replace") if page.exists() else ""
    title = PICTURES.get(name, [None])[0]
    for encoded, shown in re.findall(
        r'data:image/png;base64,([A-Za-z0-9+/]+=*)" alt="([^"]*)"', text
    ):
        picture = b64decode(encoded)
        if listed in (None, hashlib.sha256(picture).hexdigest()) and shown == title:
            with whole_file(out / name) as file:
                file.write(picture)
    if name in _find_damaged_pictures(out):
        (out / name).unlink()


def _find_digest(out: Path, name: str) -> str | None:
    """What the manifest says of a file; None where that is lost."""
    try:
        return read_manifest(out)["files"][name]
    except DataError:
        return None


def end_changes(out: Path, damage: Collection[str], console: Console) -> None:
    """Lists all files of a run that is done, and tells which are there again."""
    top = [path for path in out.iterdir() if path.suffix in _SUFFIXES and path.name != MANIFEST]
    below = [path for name in _FOLDERS for path in (out / name).rglob("*")]
    files = [path for path in (*top, *below) if path.is_file() and path.name[0] != "."]
    write_manifest(out, files)
    for name in damage:
        console.print(
            f"{'rebuilt' if (out / name).exists() else 'lost'}: {out / name}", soft_wrap=True
        )
