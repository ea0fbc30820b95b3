"""A folder of files: one sub-folder per modality, and a table of labels."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from mmjax.data.code_table import Table
from mmjax.data.codings import is_coded, make_coding
from mmjax.data.coerce_inputs import InputKind, sample_rank
from mmjax.data.splits import make_rng
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError, look_up, tell
from mmjax.registry import parse_pairs
from mmjax.tasks.readers.by_id import read_cells
from mmjax.tasks.readers.files import READERS
from mmjax.tasks.readers.formats import data_folder, find
from mmjax.tasks.readers.labels import LABELS, make_task, read_labels
from mmjax.tasks.readers.samples import Stacked, stack
from mmjax.types import Coding


def folder(
    data: str | Path | None = None,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind | Coding] | str = "",
    sizes: Mapping[str, tuple[int, int]] | str = "",
) -> Task:
    """Reads a folder with a sub-folder for each modality, and ``labels.csv``.

    A sub-folder has one file per row, named after the row: ``image/17.png``, ``audio/17.wav``. A
    row without a file lacks that modality. Pictures (PNG, JPEG) become uint8 [height, width,
    channels]; recordings (WAV, FLAC) become MFCCs [frames, 13], padded with silence to the longest;
    tables of numbers (CSV) become vectors [features] if they have one line, and sequences [lines,
    features] if they have more; arrays (.npy) are used unchanged. A sub-folder of runs is not a
    modality.

    Pictures that differ in size are resized to the median height and width, recordings of another
    sampling rate than most are resampled, and lines on stderr say so. Sequences that differ in
    length are padded and masked, as in ``Task.from_arrays``.

    With ``kinds="review=words,patient=table"``, ``review.csv`` and ``patient.csv`` are modalities,
    too: a text for each row, and a table. They have a column ``id`` and a line for each row, and a
    row without a line lacks the modality.

    The columns of ``labels.csv`` are ``id``, the name of a row's files without extension; the
    optional ``group`` and ``split``, as in ``Task.from_arrays``; and targets. A column without a
    name, or "Unnamed: 0", holds the row numbers of a data frame, and is skipped. A single target
    column of text or integers holds classes, one of other numbers holds numbers; several columns
    hold labels if all values are 0 and 1, and numbers otherwise. Empty cells, and text such as NA,
    are missing.

    Reference: for one modality, ImageFolder of Hugging Face datasets, with its table of metadata
    (https://huggingface.co/docs/datasets/image_dataset, 2022).

    Args:
        data: the folder.
        seed: of the split, if ``labels.csv`` has none.
        kind: what the target is, as for ``Task.from_arrays``.
        kinds: what the modalities are, likewise; or text, such as "notes=tokens,face=image".
        sizes: {modality: (height, width)} to resize pictures to; or text, such as "face=64x48".

    Raises:
        DataError: a file is missing or malformed, or belongs to no row; or samples differ in shape
            otherwise.
        UsageError: a package that reads the files is not installed, or a size is malformed.

    Example:
        >>> _ = Path("vitals").mkdir()
        >>> for row in range(20):
        ...     _ = Path(f"vitals/r{row}.csv").write_text(f"{60 + row},0.5")
        >>> lines = [f"r{row},{'ill' if row % 2 else 'well'}" for row in range(20)]
        >>> _ = Path("labels.csv").write_text("\\n".join(["id,state", *lines]))
        >>> folder(".", kind="classes").names
        ('ill', 'well')
    """
    make_rng(seed)  # rejects a bad seed before anything is read
    place = data_folder(data)
    if isinstance(kinds, str):  # ``Task.from_arrays`` checks the values
        pairs = parse_pairs("kinds", kinds.split(",") if kinds else ())
        kinds = cast(Mapping[str, InputKind | Coding], pairs)
    sizes = _parse_sizes(sizes) if isinstance(sizes, str) else sizes
    labels = read_labels(find(place, LABELS))
    modalities = sorted(filter(_is_modality, place.iterdir()))
    for name in sizes:
        look_up("modality of sizes", name, {path.name: path for path in modalities})
    read = {
        path.name: _read_modality(path, labels.ids, kinds.get(path.name), sizes.get(path.name))
        for path in modalities
    }
    tables = {path.stem: path for path in sorted(place.glob("*.csv")) if path.name != LABELS}
    for name, stated in kinds.items():
        if isinstance(stated, str):
            look_up(f"kind of {name}", stated, dict.fromkeys(get_args(InputKind)))
        if name in tables and name not in read and is_coded(stated):
            table = isinstance(make_coding(stated), Table)
            read[name] = read_cells(tables[name], labels.ids, labels.names, table=table)
    for name in kinds:
        look_up("modality of kinds", name, {**tables, **read})
    for path in tables.values():
        if path.stem not in read and _is_shown(path):
            tell(f"{path}: not read, as its kind is not stated, such as kinds={path.stem}=table")
    return make_task("folder", place, read, labels, seed=seed, kind=kind, kinds=kinds)


def _parse_sizes(text: str) -> dict[str, tuple[int, int]]:
    """Parses "face=64x48" as heights and widths by modality."""
    sizes = {}
    for name, size in parse_pairs("sizes", text.split(",") if text else ()).items():
        sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
        if not sides:
            raise UsageError("sizes", expected="NAME=HEIGHTxWIDTH", got=f"{name}={size}")
        sizes[name] = (int(sides[1]), int(sides[2]))
    return sizes


def _read_modality(
    place: Path,
    ids: Sequence[str],
    kind: InputKind | Coding | None,
    size: tuple[int, int] | None,
) -> Stacked:
    """The samples of all rows, whose files are found by their names."""
    paths = _find_files(place, set(ids))
    samples = [READERS[p.suffix.lower()](p) if (p := paths.get(i)) else None for i in ids]
    return stack(samples, place, sample_rank(kind), size)


def _find_files(place: Path, ids: set[str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(filter(_is_shown, place.iterdir())):
        if path.suffix.lower() not in READERS:
            expected = f"one of {', '.join(READERS)}"
            raise DataError(path, expected=expected, got=path.suffix, fix="Convert or remove it.")
        if path.stem not in ids:
            fix = f"Add it to {LABELS}, or remove it from the folder."
            raise DataError(path, expected=f"a row {path.stem} in {LABELS}", got="none", fix=fix)
        if path.stem in found:
            raise DataError(path, expected="one file per row", got=f"{found[path.stem].name}, too")
        found[path.stem] = path
    return found


def _is_modality(path: Path) -> bool:
    """Whether a path is a folder of samples, and not of runs that were started here."""
    if not path.is_dir() or not _is_shown(path):
        return False
    if path.name == "runs" and not any(inner.is_file() for inner in path.iterdir()):
        return False
    return not any(path.glob("run.json")) and not any(path.glob("*/run.json"))


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".") and path.name not in ("Thumbs.db", "desktop.ini")
