"""The two-stage protocol at little cost: encoders once, then every fusion on what they give.

A training row passes its encoders once, not once in every epoch of every fusion, so that a fusion
takes seconds. No gradient of a fusion reaches an encoder: what is compared is the fusions alone.
"""

from collections.abc import Mapping
from dataclasses import replace

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.training.fit import Fit
from mmjax.training.predict import make_encode


def encode(task: Task, trained: Mapping[str, Fit]) -> list[Task]:
    """The task as its encoders give it to a fusion: a task of sequences for each seed.

    A modality is present where the fusion sees tokens of it, be they of what stands in for it.

    Args:
        task: the data.
        trained: {modality: the training of its unimodal model}, all with the same seeds.

    Raises:
        UsageError: an encoder masks some tokens of a row; a task cannot say so.
    """
    parts = {role: _encode_split(split, trained) for role, split in task.splits.items()}
    num_seeds = len(next(iter(trained.values())).recipe.seeds)
    name = f"{task.name}/encoded"
    return [
        replace(
            task, name=name, standardise=False, **{role: seeds[i] for role, seeds in parts.items()}
        )
        for i in range(num_seeds)
    ]


def _encode_split(split: Split, trained: Mapping[str, Fit]) -> list[Split]:
    values, present = {}, {}
    for name, alone in trained.items():
        tokens = make_encode(alone.recipe.model)(alone.params, split.batch())[name]
        present[name] = tokens.mask[0].any(axis=-1)
        if (tokens.mask != present[name][None, :, None]).any():
            raise UsageError(
                f"encoder of {name}", expected="all tokens of a row masked or none", got="some"
            )
        values[name] = tokens.values
    num_seeds = len(next(iter(values.values())))
    # Raw recordings lead to inputs, not to encodings.
    seen = replace(split, present=present, raw={})
    return [replace(seen, inputs={n: v[i] for n, v in values.items()}) for i in range(num_seeds)]
