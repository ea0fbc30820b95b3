"""The two-stage protocol at low cost: train encoders once, cache their output, compare fusions.

Each training row passes through its encoders once, instead of once per epoch and fusion, so that
training a fusion takes seconds. No gradient reaches the encoders: only the fusions differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mmjax.data.ragged import has_padding, is_padding
from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.training.predict import make_encode
from mmjax.types import Trained


def encode(task: Task, trained: Mapping[str, Trained]) -> list[Task]:
    """The task as a fusion sees it behind trained encoders: one task of sequences per seed.

    A modality counts as present where the fusion sees tokens of it, stand-ins included. Masked
    tokens at the end of a row become padding.

    Args:
        task: the data.
        trained: {modality: training of its unimodal baseline}, all with the same seeds.

    Raises:
        UsageError: an encoder masks other tokens of a row, which a task cannot represent.
    """
    parts = [_encode_split(split, trained) for split in (task.train, task.valid, task.test)]
    splits = [split for part in parts for split in part]
    padded = [n for n in trained if any(has_padding(s.inputs[n], s.present[n]) for s in splits)]
    encoded = partial(replace, task, standardise=False, kinds={}, codings={}, padded=tuple(padded))
    return [
        encoded(name=f"{task.name}/encoded", train=train, valid=valid, test=test)
        for train, valid, test in zip(*parts, strict=True)
    ]


def _encode_split(split: Split, trained: Mapping[str, Trained]) -> list[Split]:
    values, present = {}, {}
    for name, alone in trained.items():
        tokens = make_encode(alone.recipe.model)(alone.params, split.batch())[name]
        mask = np.asarray(tokens.mask)  # the same for all seeds
        present[name] = mask[0].any(axis=-1)
        values[name] = np.where(mask[..., None], tokens.values, np.nan)
        if (~mask[0] != is_padding(values[name][0]))[present[name]].any():
            expected = "masked tokens at the end of a row only"
            raise UsageError(f"encoder of {name}", expected=expected, got="others")
    num_seeds = len(next(iter(values.values())))
    # Raw recordings belong to inputs, not to encodings.
    seen = replace(split, present=present, raw={})
    return [replace(seen, inputs={n: v[i] for n, v in values.items()}) for i in range(num_seeds)]
