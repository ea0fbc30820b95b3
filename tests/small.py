"""A small task that every part of the library can run on in seconds."""

import numpy as np

from mmjax.data.code_ids import TokenIds
from mmjax.data.code_table import Table
from mmjax.data.targets import UNLABELLED
from mmjax.data.task import Split, Task

NUM_CLASSES = 3


def make_split(size: int, seed: int) -> Split:
    """Rows with a vector, a sequence and an image; each carries the class under noise."""
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(size) % NUM_CLASSES)
    shift = target.astype(np.float32)
    noise = lambda *shape: rng.normal(size=(size, *shape)).astype(np.float32)
    image = rng.integers(0, 60, (size, 8, 8, 1)) + 60 * target[:, None, None, None]
    return Split(
        inputs={
            "vector": noise(5) + shift[:, None],
            "sequence": noise(8, 4) + shift[:, None, None],
            "image": image.astype(np.uint8),
        },
        target=target,
        group=np.arange(size) // 2,
    )


def make_task(train: int = 96) -> Task:
    """The three splits; some training rows lack a modality, with NaN in its place."""
    split = make_split(train, seed=0)
    split.present["vector"] = np.arange(train) % 4 > 0
    split.inputs["vector"][::4] = np.nan
    return Task("small", split, make_split(30, seed=1), make_split(300, seed=2), NUM_CLASSES)


CODINGS = {
    "note": TokenIds(300, 5),
    "who": Table((("age", None), ("city", ("Oslo", "Rome")), ("size", None))),
}


def make_coded_split(seed: int, size: int = 24) -> Split:
    """Rows with token ids, some of none, and a table with gaps; some rows lack one of them."""
    rng = np.random.default_rng(seed)
    ids, length = rng.integers(0, 300, (size, 5)), rng.integers(0, 6, (size, 1))
    cells = rng.normal(size=(size, 3)).astype(np.float32)
    cells[:, 1] = rng.integers(0, 3, size)
    cells[rng.random(size) < 0.3, 0] = np.nan
    note = np.where(np.arange(5) < length, ids, -1).astype(np.int32)
    row = np.arange(size)
    here = {"note": row % 4 > 0, "who": row % 4 != 1}
    return Split({"note": note, "who": cells}, row % 2, row, here)


def make_coded_task() -> Task:
    """Two classes of rows with token ids and a table."""
    train, valid, test = map(make_coded_split, range(3))
    return Task("coded", train, valid, test, 2, standardise=True, codings=CODINGS)


def make_rich_split(size, rng, labelled=True):
    target = np.arange(size) % 3 if labelled else np.full(size, UNLABELLED)
    return Split(
        inputs={
            "image": rng.integers(0, 256, (size, 5, 4, 1)).astype(np.uint8),
            "audio": rng.normal(size=(size, 7, 2)).astype(np.float32),
            "scalar": rng.normal(size=(size, 1)).astype(np.float32),
        },
        target=target.astype(np.int32),
        group=rng.integers(0, 9, size).astype(np.uint16),
        present={"audio": rng.random(size) < 0.5},
        meta={
            "speaker": np.array([f"Zoë {'x' * (row % size)}" for row in range(size)]),
            "weight": rng.normal(size=size).astype(np.float32),
            "place": rng.integers(-9, 9, (size, 2)),
        },
    )
