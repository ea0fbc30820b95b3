"""Cepstral coefficients against librosa, NumPy against JAX, and the statistics of scaling.

``data/librosa_mfcc.npz`` holds two recordings, ``samples`` int16 [2, 8000] (a chirp that fades, and
noise between silences), and ``mfcc`` float32 [2, 39, 12], made with librosa 0.11.0 for every row:
``librosa.feature.mfcc(y=(samples / 2**15).astype(float32), sr=8000, n_mfcc=13, n_fft=400,
hop_length=210, n_mels=40).T[:, 1:]``.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.tasks.readers.mfcc import fit_length, mfcc, standardise


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parents[1] / "data" / "librosa_mfcc.npz") as file:
        return (file["samples"] / 2**15).astype(np.float32), file["mfcc"]


def test_coefficients_equal_librosa(reference):
    waveform, want = reference
    got = mfcc(waveform)
    assert got.shape == (2, 39, 13)
    np.testing.assert_allclose(got[..., 1:], want, rtol=2e-5, atol=2e-5)


def test_numpy_and_jax_agree_also_under_jit_and_vmap(reference):
    waveform, _ = reference
    want = mfcc(waveform)
    assert isinstance(want, np.ndarray)
    for function in (mfcc, jax.jit(jax.vmap(mfcc))):
        got = function(jnp.asarray(waveform))
        assert isinstance(got, jax.Array)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-4)


def test_recordings_do_not_touch_each_other(reference):
    waveform, _ = reference
    np.testing.assert_allclose(mfcc(waveform)[1], mfcc(waveform[1]), rtol=1e-6, atol=1e-5)


def test_energy_of_a_constant_is_known():
    energy = mfcc(np.full(8000, 0.5, np.float32))[:, 0]
    np.testing.assert_allclose(energy[1:-1], 10 * np.log10(400 * 0.25), rtol=1e-6)
    assert (energy[[0, -1]] < energy[1]).all()  # frames half beyond the ends


def test_silence_is_finite_and_the_range_is_80_decibels():
    assert np.isfinite(mfcc(np.zeros(8000, np.float32))).all()
    energy = mfcc(np.concatenate([np.ones(1000), np.zeros(7000)]))[:, 0]
    np.testing.assert_allclose(energy.max() - energy.min(), 80, rtol=1e-5)


@pytest.mark.parametrize(
    ("samples", "hop", "frames"), [(8000, 210, 39), (8000, 80, 101), (1, 9, 1)]
)
def test_number_of_frames(samples, hop, frames):
    assert mfcc(np.ones(samples, np.float32), hop=hop).shape == (frames, 13)


def test_fit_length_centres_what_is_short():
    np.testing.assert_array_equal(fit_length(np.array([1, 2, 3]), 6), [0, 1, 2, 3, 0, 0])
    np.testing.assert_array_equal(fit_length(np.array([1, 2, 3]), 3), [1, 2, 3])


def test_fit_length_keeps_the_loudest_stretch():
    waveform = np.zeros(20)
    waveform[13:17] = [0.1, -0.9, 0.8, 0.1]
    np.testing.assert_array_equal(fit_length(waveform, 4), [0.1, -0.9, 0.8, 0.1])


def test_standardise_uses_the_first_array_only():
    rng = np.random.default_rng(0)
    train = rng.normal(3, 2, (50, 7, 13)).astype(np.float32)
    train[..., 4] = 5  # constant
    scaled, other = standardise(train, train * 10 + 1)
    assert scaled.dtype == other.dtype == np.float32
    varying = np.arange(13) != 4
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=(0, 1))[varying], 1, rtol=1e-5)
    np.testing.assert_array_equal(scaled[..., 4], 0)

    mean, std = train.mean(axis=(0, 1), keepdims=True), train.std(axis=(0, 1), keepdims=True)
    want = ((train * 10 + 1 - mean) / np.where(std > 0, std, 1))[..., varying]
    np.testing.assert_allclose(other[..., varying], want, rtol=1e-3, atol=1e-4)
