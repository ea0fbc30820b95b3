"""Synthetic tasks: what each modality says is exact in every split."""

import itertools

import numpy as np
import pytest

from mmjax.errors import UnknownNameError, UsageError
from mmjax.tasks.synthetic import synthetic

KINDS = ("redundant", "unique", "and", "xor")


def bits_of(split):
    return np.stack([split.meta[f"bit_{name}"] for name in split.inputs], axis=1)


def best_accuracy(bits, target):
    """Of the best rule that sees these bits only, on these rows."""
    codes = bits @ (1 << np.arange(bits.shape[1]))
    counts = [np.bincount(target[codes == code], minlength=2) for code in np.unique(codes)]
    return sum(count.max() for count in counts) / len(target)


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_best_accuracies_are_those_of_the_docstring(kind, modalities):
    task = synthetic(kind=kind, num_modalities=modalities, size=400)
    assert task.modalities == tuple("abcd"[:modalities])
    first, other = {
        "redundant": (1, 1),
        "unique": (1, 0.5),
        "and": (1 - 0.5**modalities,) * 2,
        "xor": (0.5, 0.5),
    }[kind]
    for split in task.splits.values():
        bits = bits_of(split)
        assert best_accuracy(bits, split.target) == 1
        assert best_accuracy(bits[:, :1], split.target) == first
        for m in range(1, modalities):
            assert best_accuracy(bits[:, [m]], split.target) == other


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_xor_says_nothing_until_the_last_modality(modalities):
    for split in synthetic(num_modalities=modalities, size=800).splits.values():
        bits = bits_of(split)
        for count in range(modalities):
            for some in itertools.combinations(range(modalities), count):
                assert best_accuracy(bits[:, list(some)], split.target) == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_one_linear_reading_gives_every_bit(kind):
    task = synthetic(kind=kind, num_modalities=3)
    train, test = task.train, task.test
    for name in task.modalities:
        signs = 2.0 * train.meta[f"bit_{name}"] - 1
        weights = np.linalg.lstsq(train.inputs[name], signs, rcond=None)[0]
        right = (test.inputs[name] @ weights > 0) == test.meta[f"bit_{name}"]
        assert right.mean() > 0.998  # 3e-5 errors expected


def test_sizes_groups_and_dtypes():
    task = synthetic(size=400)
    assert {role: split.size for role, split in task.splits.items()} == {
        "train": 240, "valid": 80, "test": 80,
    }  # fmt: skip
    groups = np.concatenate([split.group for split in task.splits.values()])
    np.testing.assert_array_equal(groups, np.arange(400))
    assert task.train.inputs["a"].dtype == np.float32
    assert task.shapes == {"a": (12,), "b": (12,)}
    assert task.name == "synthetic/xor"


def test_a_seed_is_a_task():
    assert synthetic(size=400).digest() == synthetic(size=400).digest()
    assert synthetic(size=400).digest() != synthetic(size=400, seed=1).digest()


def test_without_noise_a_modality_has_two_values():
    values = synthetic(size=400, noise=0).train.inputs["b"]
    assert len(np.unique(values, axis=0)) == 2
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_modalities": 1}, "num_modalities: expected 2, 3 or 4, got 1"),
        ({"num_modalities": 5}, "num_modalities: expected 2, 3 or 4, got 5"),
        ({"size": 401}, "size: expected a multiple of 20, got 401"),
        ({"size": 0}, "size: expected a multiple of 20, got 0"),
        (
            {"size": 400, "num_modalities": 4, "noise": -1},
            "noise: expected a finite non-negative number",
        ),
        ({"noise": float("nan")}, "noise: expected a finite non-negative number"),
        ({"seed": -1}, "seed: expected a non-negative integer"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        synthetic(**options)


def test_an_unknown_kind_proposes_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'xor'"):
        synthetic(kind="xorr")
