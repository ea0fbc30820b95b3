"""Augmentations: the contract of all, and what each promises in numbers."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.augmentations import (
    AUGMENTATIONS,
    Crop,
    Cutout,
    FeatureDropout,
    Flip,
    Noise,
    SpecAugment,
)
from mmjax.augmentations.rows import span
from mmjax.errors import UsageError
from mmjax.testing import check_augmentation
from mmjax.testing.common import ContractError

KEY = jax.random.key(7)
VECTORS, SEQUENCES, IMAGES = ((6, 8), (6, 12, 7), (6, 9, 8, 3))
READ = {  # the shapes that each accepts
    "crop": (SEQUENCES, IMAGES),
    "cutout": (IMAGES,),
    "feature_dropout": (VECTORS, SEQUENCES),
    "flip": (IMAGES,),
    "noise": (VECTORS, SEQUENCES, IMAGES),
    "spec_augment": (SEQUENCES,),
}
OWN = {name for name in AUGMENTATIONS if AUGMENTATIONS[name].__module__.startswith("mmjax.")}


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) + 10  # never zero


@pytest.mark.parametrize(("name", "shape"), [(n, s) for n in READ for s in READ[n]])
def test_contract(name, shape):
    check_augmentation(AUGMENTATIONS[name](), draw(shape))


@pytest.mark.parametrize("name", READ)
def test_other_inputs_are_refused_by_what_was_expected(name):
    for shape in {VECTORS, SEQUENCES, IMAGES} - set(READ[name]):
        with pytest.raises(UsageError, match=r"expected .* \[batch, "):
            AUGMENTATIONS[name]()(KEY, draw(shape))


def test_all_are_tested():
    assert set(READ) == OWN


@pytest.mark.parametrize("shape", [SEQUENCES, IMAGES])
def test_a_crop_is_a_window_of_the_padded_row_and_all_windows_occur(shape):
    padding, x = 2, draw((400, *shape[1:]))
    sides = [(0, 0), *[(padding, padding)] * (x.ndim - 2), (0, 0)]
    padded = np.pad(x, sides)
    seen = set()
    for row, out in zip(padded, np.asarray(Crop(padding)(KEY, x)), strict=True):
        starts = np.ndindex(*[2 * padding + 1] * (x.ndim - 2))
        windows = {
            start: row[tuple(slice(a, a + n) for a, n in zip(start, out.shape, strict=False))]
            for start in starts
        }
        found = [start for start, window in windows.items() if np.array_equal(window, out)]
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) == (2 * padding + 1) ** (x.ndim - 2)


def test_a_flip_mirrors_half_of_the_images():
    x = draw((1000, 2, 3, 1))
    out = np.asarray(Flip()(KEY, x))
    mirrored = (out == x[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(out[~mirrored], x[~mirrored])
    assert 0.45 < mirrored.mean() < 0.55


def test_noise_is_normal_with_its_scale():
    x = draw((2000, 5))
    noise = np.asarray(Noise(scale=0.3)(KEY, x)) - x
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.3], atol=0.01)


def test_cutout_hides_one_square_within_the_image():
    x = draw((50, 10, 16, 2))
    hidden = np.asarray(Cutout(side=0.4)(KEY, x)) == 0
    assert (hidden.sum(axis=(1, 2, 3)) == 4 * 4 * 2).all()
    np.testing.assert_array_equal(hidden[..., 0], hidden[..., 1])
    for axes in ((1, 3), (2, 3)):
        edges = np.diff(hidden.any(axis=axes).astype(int), prepend=0, append=0)
        assert (np.abs(edges).sum(axis=1) == 2).all()


def test_the_masks_of_spec_augment_have_widths_from_zero_to_their_largest():
    x = draw((3000, 20, 10))
    out = np.asarray(SpecAugment(time=0.2, features=0.3, num_masks=1)(KEY, x))
    masked = out == 0
    np.testing.assert_array_equal(out[~masked], x[~masked])
    for axis, most in ((2, 4), (1, 3)):
        lines = masked.all(axis=axis)
        widths = lines.sum(axis=1)
        shares = np.bincount(widths, minlength=most + 1) / len(x)
        np.testing.assert_allclose(shares, 1 / (most + 1), atol=0.03)
        edges = np.abs(np.diff(lines.astype(int), prepend=0, append=0)).sum(axis=1)
        assert (edges == 2 * (widths > 0)).all()


def test_two_masks_may_hide_more_than_one():
    x = draw((500, 20, 10))
    hidden = (np.asarray(SpecAugment(time=0.2, features=0, num_masks=2)(KEY, x)) == 0).all(axis=2)
    assert hidden.sum(axis=1).max() > 4


def test_feature_dropout_hides_a_feature_at_all_steps_alike():
    x = draw((800, 4, 6))
    hidden = np.asarray(FeatureDropout(rate=0.25)(KEY, x)) == 0
    np.testing.assert_array_equal(hidden.all(axis=1), hidden.any(axis=1))
    assert abs(hidden.mean() - 0.25) < 0.03


@given(size=st.integers(1, 40), data=st.data())
def test_a_span_has_its_width_wherever_it_is_placed(size, data):
    width = data.draw(st.integers(0, size))
    place = data.draw(st.floats(0, 1, exclude_max=True, width=32))
    assert int(span(size, np.float32(width), np.float32(place)).sum()) == width


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Crop, {"padding": -1}),
        (Flip, {"probability": 1.5}),
        (Noise, {"scale": float("nan")}),
        (Cutout, {"side": 2}),
        (SpecAugment, {"time": -0.1}),
        (FeatureDropout, {"rate": 1.1}),
    ],
)
def test_arguments_out_of_range_are_refused(kind, bad):
    (name,) = bad
    with pytest.raises(UsageError, match=f"{name}: expected .*0 "):
        kind(**bad)


def uneven(key, x):
    return (x - x.mean(axis=0, keepdims=True)) * jax.random.uniform(key, (len(x), 1))


@pytest.mark.parametrize(
    ("augment", "rule"),
    [
        (lambda key, x: x[:, :2], "rule 1"),
        (lambda key, x: x * np.nan, "rule 1"),
        (lambda key, x: 2 * x, "rule 2"),
        (lambda key, x: x, "rule 2"),
        (uneven, "rule 3"),
        (lambda key, x: x * jax.random.uniform(key), "rule 3"),
        (lambda key, x: x * float(jax.random.uniform(key)), "rule 4"),
    ],
)
def test_the_contract_finds(augment, rule):
    with pytest.raises(ContractError, match=rule):
        check_augmentation(augment, draw(VECTORS))
