"""The two-stage protocol at low cost: train encoders once, cache their output, compare fusions.

Each training row passes through its encoders once, instead of once per epoch and fusion, so that
training a fusion takes seconds. No gradient reaches the encoders: only the fusions differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.training.predict import make_encode
from mmjax.types import Trained


def encode(task: Task, trained: Mapping[str, Trained]) -> list[Task]:
    """The task as a fusion sees it behind trained encoders: one task of sequences per seed.

    A modality counts as present where the fusion sees tokens of it, stand-ins included.

    Args:
        task: the data.
        trained: {modality: training of its unimodal baseline}, all with the same seeds.

    Raises:
        UsageError: an encoder masks only some tokens of a row, which a task cannot represent.
    """
    parts = (_encode_split(split, trained) for split in (task.train, task.valid, task.test))
    encoded = partial(replace, task, name=f"{task.name}/encoded", standardise=False, codings={})
    return [
        encoded(train=train, valid=valid, test=test)
        for train, valid, test in zip(*parts, strict=True)
    ]


def _encode_split(split: Split, trained: Mapping[str, Trained]) -> list[Split]:
    values, present = {}, {}
    for name, alone in trained.items():
        tokens = make_encode(alone.recipe.model)(alone.params, split.batch())[name]
        present[name] = np.asarray(tokens.mask[0].any(axis=-1))
        if (tokens.mask != present[name][None, :, None]).any():
            raise UsageError(
                f"encoder of {name}", expected="all tokens of a row masked or none", got="some"
            )
        values[name] = np.asarray(tokens.values)
    num_seeds = len(next(iter(values.values())))
    # Raw recordings belong to inputs, not to encodings.
    seen = replace(split, present=present, raw={})
    return [replace(seen, inputs={n: v[i] for n, v in values.items()}) for i in range(num_seeds)]
