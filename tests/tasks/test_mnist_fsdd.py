"""MNIST with FSDD: pairs agree, splits share no recording, statistics come from training."""

import jax.numpy as jnp
import numpy as np
import pytest
from layouts import SPEAKERS, TAKES, write_idx, write_images, write_recordings
from real_data import FOLDER, needs_real_data
from scipy.io import wavfile

from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.tasks.mnist_fsdd import mnist_fsdd
from mmjax.tasks.readers.formats import read_wav
from mmjax.tasks.readers.mfcc import fit_length, mfcc


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "mnist")
    write_recordings(folder / "fsdd" / "recordings")
    (folder / "fsdd" / "recordings" / "README.md").touch()
    return folder


@pytest.fixture(scope="module")
def official(folder):
    return mnist_fsdd(folder)


def recordings_of(split):
    return set(split.group.tolist())


def test_shapes_and_names(official):
    assert official.name == "mnist_fsdd/official"
    assert official.shapes == {"image": (28, 28, 1), "audio": (39, 13)}
    assert official.train.inputs["image"].dtype == np.uint8
    assert official.train.inputs["audio"].dtype == np.float32
    assert {role: split.size for role, split in official.splits.items()} == {
        "train": 360, "valid": 40, "test": 60,
    }  # fmt: skip


def test_a_row_is_one_digit_written_and_spoken(folder, official):
    """The files' names say which digit a recording is, in their sorted order."""
    names = sorted(path.name for path in (folder / "fsdd" / "recordings").glob("*.wav"))
    for split in official.splits.values():
        np.testing.assert_array_equal(split.inputs["image"][:, 0, 0, 0], split.target)
        spoken = [names[group].split("_") for group in split.group]
        np.testing.assert_array_equal([int(digit) for digit, *_ in spoken], split.target)
        np.testing.assert_array_equal([who for _, who, _ in spoken], split.meta["speaker"])


def test_official_split_is_by_the_number_of_the_recording(folder, official):
    names = sorted(path.stem for path in (folder / "fsdd" / "recordings").glob("*.wav"))
    takes = {
        role: {int(names[group].split("_")[2]) for group in split.group}
        for role, split in official.splits.items()
    }
    assert takes == {"train": {10, 11}, "valid": {5, 6, 7, 8, 9}, "test": {0, 1, 2, 3, 4}}


def test_images_are_cut_in_order(official):
    np.testing.assert_array_equal(official.train.meta["image"], np.arange(360))
    np.testing.assert_array_equal(official.valid.meta["image"], np.arange(360, 400))
    np.testing.assert_array_equal(official.test.meta["image"], np.arange(60))


def test_recordings_are_used_equally(official):
    for digit in range(10):
        uses = np.bincount(official.train.group[official.train.target == digit])
        assert set(uses[uses > 0].tolist()) == {6}  # 36 images, 3 speakers x 2 takes


def test_audio_is_scaled_by_the_training_recordings_only(folder, official):
    paths = sorted((folder / "fsdd" / "recordings").glob("*.wav"))
    raw = np.stack([mfcc(fit_length(read_wav(path)[0])) for path in paths])
    train = raw[[int(path.stem.split("_")[2]) >= 10 for path in paths]]
    scaled = (raw - train.mean(axis=(0, 1), keepdims=True)) / train.std(axis=(0, 1), keepdims=True)
    for split in official.splits.values():
        np.testing.assert_allclose(split.inputs["audio"], scaled[split.group], atol=2e-4)


def assert_raw_gives_the_inputs(split):
    raw = split.raw["audio"]
    heard = jnp.asarray(raw.values[raw.index])
    np.testing.assert_allclose(raw.to_input(heard), split.inputs["audio"], atol=1e-4)


def test_recordings_of_the_test_split_give_its_inputs(official):
    assert official.test.raw["audio"].values.shape == (len(recordings_of(official.test)), 8000)
    assert_raw_gives_the_inputs(official.test)
    assert not official.train.raw
    assert not official.valid.raw


def test_speaker_split_keeps_speakers_apart(folder):
    task = mnist_fsdd(folder, split="speaker", test_speaker="cy")
    heard = {role: set(split.meta["speaker"].tolist()) for role, split in task.splits.items()}
    assert task.name == "mnist_fsdd/speaker/cy"
    assert heard == {"train": {"bob"}, "valid": {"ann"}, "test": {"cy"}}  # after "cy" comes "ann"

    other = mnist_fsdd(folder, split="speaker", test_speaker="cy", valid_speaker="bob")
    assert set(other.valid.meta["speaker"].tolist()) == {"bob"}
    assert set(other.train.meta["speaker"].tolist()) == {"ann"}


def test_the_seed_changes_the_pairs_only(folder, official):
    again, other = mnist_fsdd(folder), mnist_fsdd(folder, seed=1)
    assert again.digest() == official.digest() != other.digest()
    assert recordings_of(other.test) <= set(range(len(SPEAKERS) * TAKES * 10))
    np.testing.assert_array_equal(other.test.target, official.test.target)
    assert (other.train.group != official.train.group).any()


@pytest.mark.parametrize("layout", ["", "free-spoken-digit-dataset/", "fsdd/"])
def test_other_layouts_and_compressed_images(tmp_path, official, layout):
    write_images(tmp_path, ".gz")
    write_recordings(tmp_path / f"{layout}recordings")
    assert mnist_fsdd(tmp_path).digest() == official.digest()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "offical"}, UnknownNameError, "Did you mean 'official'"),
        ({"split": "speaker"}, UsageError, "test_speaker: expected one of ann, bob, cy, got None"),
        ({"split": "speaker", "test_speaker": "dan"}, UsageError, "one of ann, bob, cy, got 'dan'"),
        (
            {"split": "speaker", "test_speaker": "cy", "valid_speaker": "cy"},
            UsageError,
            "valid_speaker: expected one of ann, bob, got 'cy'",
        ),
        ({"test_speaker": "cy"}, UsageError, 'test_speaker: expected None with split="official"'),
        ({"seed": -1}, UsageError, "seed: expected a non-negative integer"),
    ],
)
def test_bad_options_are_named(folder, options, error, message):
    with pytest.raises(error, match=message):
        mnist_fsdd(folder, **options)


def no_digit_3_in_test(folder):
    for path in (folder / "recordings").glob("3_*_[01234].wav"):
        path.unlink()


DAMAGES = {
    "no images": (
        lambda folder: (folder / "train-images-idx3-ubyte").unlink(),
        "expected mnist/train-images-idx3-ubyte",
    ),
    "fewer labels": (
        lambda folder: write_idx(folder / "t10k-labels-idx1-ubyte", np.zeros(59, np.uint8)),
        "t10k-labels-idx1-ubyte: expected 60 labels",
    ),
    "label 10": (
        lambda folder: write_idx(folder / "t10k-labels-idx1-ubyte", np.full(60, 10, np.uint8)),
        "t10k-labels-idx1-ubyte: expected labels from 0 to 9, got label 10",
    ),
    "small images": (
        lambda folder: write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((60, 8, 8), np.uint8)),
        "t10k-images-idx3-ubyte: expected images of 28 x 28",
    ),
    "a class without an image": (
        lambda folder: write_idx(
            folder / "train-labels-idx1-ubyte", (np.arange(400) % 9).astype(np.uint8)
        ),
        "every class, got none of 9",
    ),
    "a strange name": (
        lambda folder: (folder / "recordings" / "seven_ann_1.wav").touch(),
        "seven_ann_1.wav: expected a name like",
    ),
    "an empty recording": (
        lambda folder: (folder / "recordings" / "7_ann_1.wav").write_bytes(b""),
        "7_ann_1.wav: expected a WAV file",
    ),
    "another rate": (
        lambda folder: wavfile.write(
            folder / "recordings" / "7_ann_1.wav", 16000, np.ones(99, np.int16)
        ),
        "7_ann_1.wav: expected a sampling rate of 8000 Hz, got 16000",
    ),
    "a digit never spoken": (no_digit_3_in_test, "test: expected a recording of digit 3, got none"),
    "no recordings": (
        lambda folder: [path.unlink() for path in (folder / "recordings").iterdir()],
        "expected recordings named",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_folders_are_explained(tmp_path, case):
    write_images(tmp_path)
    write_recordings(tmp_path / "recordings", ("ann",))
    damage, message = DAMAGES[case]
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        mnist_fsdd(tmp_path)


def test_a_missing_folder_is_explained(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder.*MMJAX_DATA"):
        mnist_fsdd(tmp_path / "nowhere")


def test_two_speakers_cannot_be_kept_apart(tmp_path):
    write_images(tmp_path)
    write_recordings(tmp_path / "recordings", ("ann", "bob"))
    with pytest.raises(DataError, match="expected at least three speakers, got ann, bob"):
        mnist_fsdd(tmp_path, split="speaker", test_speaker="ann")


@needs_real_data
def test_real_official_split():
    task = mnist_fsdd(FOLDER)
    recordings = [recordings_of(split) for split in task.splits.values()]
    assert not set.intersection(*recordings[:2])
    assert not set.intersection(*recordings[1:])
    assert not set.intersection(recordings[0], recordings[2])
    assert len(set(task.test.meta["speaker"].tolist())) >= 5
    np.testing.assert_array_equal(task.test.target[:5], [7, 2, 1, 0, 4])  # as MNIST begins
    np.testing.assert_array_equal(task.train.target[:5], [5, 0, 4, 1, 9])
    heard = np.unique(task.train.group, return_index=True)[1]
    np.testing.assert_allclose(
        task.train.inputs["audio"][heard].mean(axis=(0, 1)), 0, atol=1e-4
    )  # every training recording is used, since there are more images


@needs_real_data
def test_real_recordings_give_the_inputs():
    test = mnist_fsdd(FOLDER).test
    assert_raw_gives_the_inputs(test.take(np.unique(test.group, return_index=True)[1]))


@needs_real_data
def test_real_digits_can_be_told_by_their_sound():
    """Recordings of the same digit are nearer to each other than to another digit's."""
    task = mnist_fsdd(FOLDER)
    known, index = np.unique(task.train.group, return_index=True)
    audio, digit = task.train.inputs["audio"][index], task.train.target[index]
    assert len(known) > 1500
    means = np.stack([audio[digit == value].mean(axis=0).ravel() for value in range(10)])
    test = np.unique(task.test.group, return_index=True)[1]
    distance = ((task.test.inputs["audio"][test].reshape(-1, 1, 507) - means[None]) ** 2).sum(-1)
    assert (distance.argmin(axis=1) == task.test.target[test]).mean() > 0.6
