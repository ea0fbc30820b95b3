"""Features that other models computed: one file per modality, and a table of labels."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmjax.data.coerce_inputs import InputKind
from mmjax.data.splits import make_rng
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError, tell
from mmjax.tasks.readers.features import FORMATS, IDS, read_features
from mmjax.tasks.readers.formats import data_folder, find
from mmjax.tasks.readers.labels import LABELS, make_task, read_labels
from mmjax.tasks.readers.samples import Stacked
from mmjax.tasks.readers.split_pickles import read_split_pickle

PICKLES = (".pkl", ".pickle")


def embeddings(
    data: str | Path | None = None,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    order: str = "",
    target: str = "labels",
    group: str = "recording",
) -> Task:
    """Reads precomputed features: a file for each modality and ``labels.csv``, or a pickle.

    The files are named after their modalities, such as ``text.npy`` and ``image.parquet``. They
    hold vectors [rows, features] or sequences [rows, length, features], padded to one length, and
    the ids of their rows, in any order:

    ================  =================================  ========================================
    file              features                           ids
    ================  =================================  ========================================
    ``.npy``          the array                          in ``NAME.ids.txt``, one a line
    ``.npz``          the only array beside ``ids``      array ``ids``, text or integers
    ``.safetensors``  the only tensor beside ``ids``     tensor ``ids``, integers; or as for .npy
    ``.parquet``      one column of lists, or several    column ``id``
                      of numbers
    ``.h5, .hdf5``    the only dataset beside ``ids``    dataset ``ids``, integers or text of fixed
                                                         length, as ``numpy.array(ids, "S")``
    ================  =================================  ========================================

    ``labels.csv`` is that of the task ``folder``: the columns ``id``, optionally ``group`` and
    ``split``, and targets. An id that a file lacks is a row without that modality; a row of a file
    whose id is not in ``labels.csv`` is dropped. A line on stderr counts both.

    A folder with a single ``.pkl`` or ``.pickle`` file is read as ``{split: {"audio", "text" and
    "vision": features, "labels": targets, "id": names}}``, the layout in which CMU-MOSI and
    CMU-MOSEI are shared, without unpickling it: nothing in it is imported or executed. Infinite
    features, which occur in such files, become 0; other keys are skipped; both are reported.

    Reference: Zadeh et al., Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
    Interpretable Dynamic Fusion Graph (ACL 2018), for such features and their pickles.

    Args:
        data: the folder.
        seed: of the split, if none is given.
        kind: what the target is, as for ``Task.from_arrays``.
        order: "labels" states that the rows of a file without ids are those of ``labels.csv``, in
            that order. By default such a file is an error.
        target: key of a pickle's targets.
        group: of a pickle's rows without a key ``group``: "recording" groups them by the beginning
            of their ids, and reports it; "row" does not.

    Raises:
        DataError: a file is missing or malformed, has no ids or repeats one, shares none with
            ``labels.csv``, or is a pickle of anything but data.
        UsageError: there is no such order or group, or the package that reads a file is not
            installed.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> ids = [f"r{row}" for row in range(20)]
        >>> np.savez("text.npz", ids=ids, bert=rng.normal(size=(20, 8)))
        >>> np.savez("image.npz", ids=ids[::-1], clip=rng.normal(size=(20, 4, 6)))
        >>> lines = [f"{name},{'ill' if row % 2 else 'well'}" for row, name in enumerate(ids)]
        >>> _ = Path("labels.csv").write_text("\\n".join(["id,state", *lines]))
        >>> embeddings(".", kind="classes").shapes
        {'image': (4, 6), 'text': (8,)}
    """
    make_rng(seed)  # rejects a bad seed before anything is read
    if order not in ("", "labels"):
        raise UsageError("order", expected="labels, or no order", got=repr(order))
    place = data_folder(data)
    files = [p for p in sorted(place.iterdir()) if p.is_file() and not p.name.startswith(".")]
    pickles = [path for path in files if path.suffix.lower() in PICKLES]
    if pickles and len(files) > 1:
        got = ", ".join(path.name for path in files)[:300]
        raise DataError(place, expected="a pickle alone, with its labels in it", got=got)
    if not pickles and (target, group) != ("labels", "recording"):
        expected = "a pickle, whose target and group are options"
        fix = f"Leave both out: {LABELS} has columns of them."
        raise DataError(place, expected=expected, got="none", fix=fix)
    if pickles and order:
        raise UsageError("order", "is of files without ids, and not of pickles")
    if pickles:
        samples, labels = read_split_pickle(pickles[0], target=target, group=group)
    else:
        labels = read_labels(find(place, LABELS))
        read = partial(_read_modality, ids=labels.ids, by_row=bool(order))
        samples = {name: read(path) for name, path in _find_modalities(place, files).items()}
    kinds: dict[str, InputKind] = {
        name: "vector" if stacked.values.ndim == 2 else "sequence"
        for name, stacked in samples.items()
    }
    return make_task("embeddings", place, samples, labels, seed=seed, kind=kind, kinds=kinds)


def _find_modalities(place: Path, files: Sequence[Path]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        if path.name == LABELS or path.name.endswith(IDS):
            continue
        if path.suffix.lower() not in FORMATS:
            raise DataError(path, expected=f"one of {', '.join(FORMATS)}", got=path.suffix)
        if path.stem in found:
            got = f"{found[path.stem].name}, too"
            raise DataError(path, expected="one file per modality", got=got)
        found[path.stem] = path
    for path in files:
        if path.name.endswith(IDS) and path.name.removesuffix(IDS) not in found:
            raise DataError(path, expected="features of the same name", got="none")
    if not found:
        raise DataError(place, expected="features of a modality, as text.npy", got=f"only {LABELS}")
    return found


def _read_modality(path: Path, ids: Sequence[str], by_row: bool) -> Stacked:
    """The features of the rows with these ids, in that order."""
    values, names = read_features(path)
    if names is None:
        if not by_row:
            fix = f"Write them to {path.stem}{IDS}, one a line; or pass order=labels, if its rows "
            raise DataError(
                path, expected="an id for each row", got="none", fix=f"{fix}are those of {LABELS}."
            )
        names = ids
        if len(values) != len(ids):
            raise DataError(path, expected=f"{len(ids)} rows, as in {LABELS}", got=f"{len(values)}")
    place_of = {name: place for place, name in enumerate(names)}
    places = np.array([place_of.get(name, -1) for name in ids])
    present = places >= 0
    if not present.any():
        got = f"other ids, such as {names[0]}"
        raise DataError(path, expected=f"ids of {LABELS}, such as {ids[0]}", got=got)
    absent, dropped = int((~present).sum()), len(names) - int(present.sum())
    if absent:
        lack = f"{absent} of {len(ids)} rows in {LABELS} lack {path.stem}"
        tell(f"{path}: {lack}; add them to have it")
    if dropped:
        tell(f"{path}: dropped {dropped} of {len(names)} rows; add them to {LABELS} to use them")
    joined = np.zeros((len(ids), *values.shape[1:]), values.dtype)
    joined[present] = values[places[present]]
    return Stacked(joined, present)
