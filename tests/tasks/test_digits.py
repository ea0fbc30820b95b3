"""The built-in task: its recordings, its splits, and the recipe that degrades it."""

import hashlib
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmjax.errors import UsageError
from mmjax.tasks.digits import digits
from mmjax.tasks.spoken_digits import RECORDINGS, from_mu_law, load_recordings, to_mu_law

SHA256 = "f6985c6ded7437dc458fa9298aa18401c76e686b908f17fad81a58af0fb4972e"
SCRIPT = Path(__file__).parents[2] / "experiments" / "make_spoken_digits.py"


@pytest.fixture(scope="module")
def task():
    return digits()


@pytest.fixture(scope="module")
def recordings():
    return load_recordings()


def test_the_shipped_file_is_the_documented_one():
    content = RECORDINGS.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert len(content) <= 6_000_000


def test_every_speaker_says_every_digit_twice(recordings):
    count = np.zeros((104, 10), int)
    np.add.at(count, (recordings.speaker, recordings.digit), 1)
    np.testing.assert_array_equal(count, 2)


def test_recordings_are_short_and_reach_full_scale(recordings):
    lengths = [waveform.size for waveform in recordings.waveforms]
    assert 800 <= min(lengths) <= max(lengths) <= 6000
    assert all(np.abs(waveform).max() == 1 for waveform in recordings.waveforms)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the synthesiser's noise comes from the C library, the shipped one from Linux x86-64",
)
@pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="espeakng-loader, which makes the recordings, is not installed",
)
def test_the_script_makes_the_shipped_recordings_again():
    command = [sys.executable, SCRIPT, "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mu_law_is_that_of_g711():
    waveform = np.linspace(-1, 1, 1001)
    formula = np.sign(waveform) * np.log(1 + 255 * np.abs(waveform)) / np.log(1 + 255)
    code = to_mu_law(waveform)
    assert code.dtype == np.uint8
    np.testing.assert_allclose(code / 127.5 - 1, formula, atol=0.5001 / 127.5)

    # Half a step of the code, times the slope of the expansion: ln(256) (|x| + 1 / 255).
    error = np.abs(from_mu_law(code) - waveform)
    assert (error <= 1.02 * 0.5 / 127.5 * np.log(256) * (np.abs(waveform) + 1 / 255)).all()
    np.testing.assert_array_equal(to_mu_law(from_mu_law(np.arange(256))), np.arange(256))


def test_sizes_shapes_and_types(task):
    assert {name: split.size for name, split in task.splits.items()} == {
        "train": 4720,
        "valid": 600,
        "test": 1200,
    }
    assert task.shapes == {"audio": (39, 13), "image": (28, 28, 1)}
    for split in task.splits.values():
        assert split.inputs["image"].dtype == np.uint8
        assert split.inputs["audio"].dtype == np.float32
        np.testing.assert_array_equal(np.unique(split.target), np.arange(10))


def test_audio_is_standardised_on_the_training_rows(task):
    audio = task.train.inputs["audio"].astype(np.float64)
    np.testing.assert_allclose(audio.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(audio.std(axis=(0, 1)), 1, atol=1e-5)


@pytest.mark.parametrize("what", ["speaker", "image_index"])
def test_splits_share_no_speaker_and_no_image(task, what):
    train, valid, test = (set(split.meta[what].tolist()) for split in task.splits.values())
    assert train.isdisjoint(valid)
    assert train.isdisjoint(test)
    assert valid.isdisjoint(test)


def test_image_and_recording_have_the_class_of_the_row(task, recordings):
    classes = load_digits().target
    for split in task.splits.values():
        np.testing.assert_array_equal(recordings.digit[split.group], split.target)
        np.testing.assert_array_equal(recordings.speaker[split.group], split.meta["speaker"])
        np.testing.assert_array_equal(classes[split.meta["image_index"]], split.target)


def test_outside_training_a_group_is_all_that_repeats(task):
    for split in (task.valid, task.test):
        groups, rows = np.unique(split.group, return_counts=True)
        pairs = np.unique(np.stack([split.group, split.meta["image_index"]]), axis=1)
        assert (rows == 2).all()
        assert groups.size == pairs.shape[1] == np.unique(pairs[1]).size


def test_rows_of_a_pair_are_degraded_differently(task):
    _, first, second = np.unique(task.test.group, return_index=True, return_inverse=True)
    other = np.arange(task.test.size) != first[second]
    for values in task.test.inputs.values():
        same = values[other] == values[first[second][other]]
        assert not same.reshape(other.sum(), -1).all(axis=1).any()


@pytest.mark.slow
def test_bytes_follow_the_seed(task):
    assert digits(seed=0).digest() == task.digest()
    assert digits(seed=1).digest() != task.digest()


def test_features_follow_from_the_raw_waveforms(task):
    raw = task.test.raw["audio"]
    got = raw.to_input(raw.values[raw.index])
    np.testing.assert_allclose(got, task.test.inputs["audio"], atol=1e-4)
    assert not task.train.raw
    assert not task.valid.raw


def test_noisier_rows_hide_the_digit_more(task):
    """The noise of a black corner, and what is left of the word, are as ``meta`` says."""
    corner = task.test.inputs["image"][:, :2, :2, 0].reshape(task.test.size, -1).astype(float)
    assert np.corrcoef(corner.mean(axis=1), task.test.meta["pixel_noise"])[0, 1] > 0.2
    energy = task.test.inputs["audio"][..., 0]
    assert np.corrcoef(np.ptp(energy, axis=1), task.test.meta["snr_db"])[0, 1] > 0.5


def test_data_is_refused():
    with pytest.raises(UsageError, match="data: expected None"):
        digits("folder")
