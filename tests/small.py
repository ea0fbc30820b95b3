"""A small task that every part of the library can run on in seconds."""

import numpy as np

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
