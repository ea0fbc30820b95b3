"""Synthetic tasks with known optima: what each modality contributes, and how they interact."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.errors import UnknownNameError, UsageError

NAMES = "abcd"
NUM_FEATURES = 12
SHARES = {"train": 3, "valid": 1, "test": 1}  # of every five rows

Label = Callable[[tuple[int, ...]], int]
KINDS: dict[str, Label] = {
    "redundant": lambda bits: bits[0],
    "unique": lambda bits: bits[0],
    "and": lambda bits: int(all(bits)),
    "xor": lambda bits: sum(bits) % 2,
}


def synthetic(
    data: str | Path | None = None,
    *,
    kind: str = "xor",
    num_modalities: int = 2,
    size: int = 4000,
    noise: float = 0.25,
    seed: int = 0,
) -> Task:
    r"""Every modality carries one bit; the label is a function of the bits.

    Modalities are "a", "b", "c", "d", float32 [12]: a random unit vector, with positive sign for
    bit 1 and negative for bit 0, plus normal noise on every feature. In every split each
    combination of bits is equally frequent, so that the following holds exactly and not just in
    expectation. With :math:`M` modalities, the best accuracies are, for bits read without error:

    ============  ======================  =================================  =====
    kind          label                   one modality                       all
    ============  ======================  =================================  =====
    "redundant"   the bit that all share  1                                  1
    "unique"      the bit of "a"          1 for "a", 1/2 for the others      1
    "and"         whether all bits are 1  :math:`1 - 2^{-M}`, the majority   1
    "xor"         parity of the bits      1/2                                1
    ============  ======================  =================================  =====

    A bit is misread with probability :math:`e = \Phi(-1 / \text{noise})`, 3e-5 by default: one
    modality of "redundant" reaches :math:`1 - e` and all of them
    :math:`\Phi(\sqrt{M} / \text{noise})`, "a" of "unique" reaches :math:`1 - e`, and all of "xor"
    reach :math:`(1 + (1 - 2 e)^M) / 2`.

    Reference: Bertschinger et al., Quantifying Unique Information (arXiv:1311.2852), the source of
    these examples.

    Args:
        data: ignored; every loader takes it.
        kind: "redundant", "unique", "and" or "xor".
        num_modalities: 2 to 4.
        size: number of rows, 3/5 for training and 1/5 each for validation and test; a multiple of
            :math:`5 \cdot 2^M`.
        noise: standard deviation of the noise; the two values of a bit are 2 apart.
        seed: of directions, noise and order.

    Raises:
        UsageError: an option has an invalid value.

    Example:
        >>> task = synthetic(kind="and", num_modalities=3, size=400)
        >>> task.modalities, float(task.test.target.mean())
        (('a', 'b', 'c'), 0.125)
    """
    _check_options(kind, num_modalities, size, noise)
    rng = make_rng(seed)
    names = NAMES[:num_modalities]
    directions = rng.normal(size=(num_modalities, NUM_FEATURES))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    combinations = [
        bits
        for bits in itertools.product((0, 1), repeat=num_modalities)
        if kind != "redundant" or len(set(bits)) == 1
    ]
    splits, first = {}, 0
    for role, share in SHARES.items():
        count = size * share // sum(SHARES.values())
        bits = rng.permutation(np.resize(combinations, (count, num_modalities)))
        values = (2 * bits - 1)[..., None] * directions  # [rows, modality, features]
        values += noise * rng.normal(size=values.shape)
        splits[role] = Split(
            inputs={name: values[:, m].astype(np.float32) for m, name in enumerate(names)},
            target=np.array([KINDS[kind](tuple(row)) for row in bits.tolist()], np.int64),
            group=np.arange(first, first + count),
            meta={f"bit_{name}": bits[:, m] for m, name in enumerate(names)},
        )
        first += count
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    return Task(f"synthetic/{kind}", train, valid, test, out_dim=2)


def _check_options(kind: str, num_modalities: int, size: int, noise: float) -> None:
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    if num_modalities not in (2, 3, 4):
        raise UsageError("num_modalities", expected="2, 3 or 4", got=repr(num_modalities))
    unit = sum(SHARES.values()) * 2**num_modalities
    if not isinstance(size, int) or size <= 0 or size % unit:
        raise UsageError(
            "size",
            expected=f"a multiple of {unit}",
            got=repr(size),
            fix="Every combination of bits is to be equally frequent in every split.",
        )
    if not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise UsageError("noise", expected="a finite non-negative number", got=repr(noise))
