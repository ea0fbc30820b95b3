"""Tasks that put more into a row: what is told is what was put in, and each split has its own."""

import numpy as np
import pytest
from layouts import SPEAKERS, write_images, write_recordings
from real_data import FOLDER, needs_real_data
from representatives import representatives
from scipy.signal import stft
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from mmjax.errors import DataError
from mmjax.tasks import TASKS, load_task
from mmjax.tasks.av_mnist import spectrogram
from mmjax.tasks.real_digits import KEPT, principal_directions, read_parts
from mmjax.tasks.strokes import thin, trace

pytestmark = pytest.mark.slow  # recordings are written, decoded and learned from

NAMES = ("av_mnist", "digit_sets", "digit_sum", "spoken_list", "strokes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder)
    write_recordings(folder / "recordings")
    return folder


@pytest.fixture(scope="module")
def tasks(folder):
    return {name: load_task(name, folder) for name in NAMES}


@pytest.fixture(scope="module")
def parts(folder):
    return read_parts(folder)


def heard(audio, part):
    """The digits of the recordings of which MFCCs [rows, 39 * count, 13] are made."""
    known = {content.tobytes(): digit for content, digit in zip(part.audio, part.said, strict=True)}
    pieces = audio.reshape(len(audio), -1, 39, 13)
    return np.array([[known[piece.tobytes()] for piece in row] for row in pieces])


def test_every_split_has_its_own_images_and_recordings(parts):
    takes = {"train": 2, "valid": 5, "test": 5}  # of each digit, by a speaker
    for role, part in parts.items():
        assert len(part.said) == 10 * len(SPEAKERS) * takes[role]
        np.testing.assert_array_equal(part.pixels[:, 0, 0, 0], part.written)
    assert [len(part.written) for part in parts.values()] == [360, 40, 60]
    contents = [{x.tobytes() for x in part.audio} for part in parts.values()]
    assert not contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2]


@pytest.mark.parametrize("name", representatives(NAMES, []))
def test_the_seed_decides_everything(folder, tasks, name):
    assert load_task(name, folder, {"seed": "0"}).digest() == tasks[name].digest()


def test_another_seed_is_another_task(folder, tasks):
    for name in ("digit_sets", "digit_sum"):
        assert load_task(name, folder, {"seed": "1"}).digest() != tasks[name].digest()


def test_audiovisual_mnist_pairs_what_is_left_with_what_is_heard(tasks, parts):
    task = tasks["av_mnist"]
    assert task.shapes == {"image": (28, 28, 1), "audio": (112, 112, 1)}
    for role, split in task.splits.items():
        np.testing.assert_array_equal(parts[role].said[split.group], split.target)
        np.testing.assert_array_equal(split.target, parts[role].written)
        assert split.meta["snr_db"].min() < -5
        assert split.meta["snr_db"].max() > 5


def test_images_keep_a_quarter_of_their_variance(tasks, parts):
    flat = {role: part.pixels.reshape(-1, 784) / 255 for role, part in parts.items()}
    full = PCA().fit(flat["train"]).explained_variance_ratio_.cumsum()
    number = int((full < KEPT).sum()) + 1
    pca = PCA(number, svd_solver="full").fit(flat["train"])
    assert principal_directions(parts["train"].pixels, KEPT).shape == (784, number)
    for role, split in tasks["av_mnist"].splits.items():
        want = pca.inverse_transform(pca.transform(flat[role])).reshape(-1, 28, 28, 1)
        np.testing.assert_allclose(split.inputs["image"], want, atol=1e-4)


def test_the_spectrogram_is_that_of_scipy():
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 2000 * np.arange(8000) / 8000)
    waves = np.stack([tone + 0.01 * rng.normal(size=8000), rng.normal(size=8000)])
    got = spectrogram(waves.astype(np.float32))
    assert (got.shape, got.dtype) == ((2, 112, 112), np.uint8)
    assert abs(111 - got[0].mean(axis=1).argmax() - 111 / 2) <= 1  # half of the way up to 4 kHz
    _, _, spectrum = stft(waves, window="hann", nperseg=222, noverlap=222 - 71, padded=False)
    level = 20 * np.log10(np.abs(spectrum[..., :112]))
    level = np.maximum(level - level.max(axis=(1, 2), keepdims=True), -40) / 40 + 1
    np.testing.assert_allclose(got[:, ::-1], 255 * level, atol=1)


def test_noise_is_as_strong_as_it_is_said_to_be(tasks):
    """The louder the word, the darker all else."""
    train = tasks["av_mnist"].train
    floor, snr = train.inputs["audio"].mean(axis=(1, 2, 3)), train.meta["snr_db"]
    assert floor[snr > 5].mean() < floor[snr < -5].mean()


def test_sums_are_sums(tasks, parts):
    task = tasks["digit_sum"]
    assert (task.kind, task.names) == ("numbers", ("sum",))
    for role, split in task.splits.items():
        written, said = split.inputs["image"][:, 0, 0, 0], heard(split.inputs["audio"], parts[role])
        total = split.target * task.scale.deviation + task.scale.mean
        np.testing.assert_allclose(total[:, 0], written + said[:, 0], atol=1e-5)
        np.testing.assert_array_equal(parts[role].said[split.group], said[:, 0])
    both = np.stack([task.train.meta["written"], task.train.meta["said"]])
    assert abs(np.corrcoef(both)[0, 1]) < 0.2
    np.testing.assert_allclose(task.train.target.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(task.train.target.std(), 1, atol=1e-6)


def test_sets_hold_what_is_seen_or_heard(tasks, parts):
    task = tasks["digit_sets"]
    assert task.shapes == {"image": (28, 56, 1), "audio": (78, 13)}
    for role, split in task.splits.items():
        image, audio = split.inputs["image"], heard(split.inputs["audio"], parts[role])
        seen = np.stack([image[:, 0, 0, 0], image[:, 0, 28, 0]], axis=1)
        for row, labels in enumerate(split.target):
            assert set(np.flatnonzero(labels)) == {*seen[row].tolist(), *audio[row].tolist()}
        pairs = image.reshape(-1, 28, 2, 28).swapaxes(1, 2).reshape(-1, 28, 28)
        assert len({x.tobytes() for x in pairs}) == 2 * split.size  # each image once


def test_the_digit_that_is_heard_most_often_is_that_of_the_image(tasks, parts):
    task = tasks["spoken_list"]
    assert task.shapes["audio"] == (390, 13)
    for role, split in task.splits.items():
        said = heard(split.inputs["audio"], parts[role])
        times = (said[:, :, None] == np.arange(10)).sum(axis=1)
        np.testing.assert_array_equal(times.argmax(axis=1), split.target)
        assert set(np.sort(times, axis=1)[:, -1]) == {3}
        assert set(np.sort(times, axis=1)[:, -2]) <= {1, 2}
        np.testing.assert_array_equal(split.target, parts[role].written)
        images = tasks["av_mnist"].splits[role].inputs["image"]
        np.testing.assert_array_equal(split.inputs["image"], images)
    place = heard(task.train.inputs["audio"], parts["train"]) == task.train.target[:, None]
    assert (place.mean(axis=0) > 0.2).all()  # everywhere, not at the beginning alone


def test_strokes_are_of_another_image_of_the_same_digit(tasks, parts):
    for role, split in tasks["strokes"].splits.items():
        part, seen, drawn = parts[role], split.meta["image"], split.meta["drawn"]
        np.testing.assert_array_equal(split.inputs["image"], part.pixels[seen])
        np.testing.assert_array_equal(split.inputs["strokes"], trace(part.pixels[drawn, ..., 0]))
        np.testing.assert_array_equal(part.written[drawn], split.target)
        np.testing.assert_array_equal(part.written[seen], split.target)
        np.testing.assert_array_equal(part.said[split.group], split.target)
        assert len({*seen, *drawn}) == 2 * split.size


def draw(*rows):
    return np.array([[character == "#" for character in row] for row in rows])[None]


def test_a_thick_bar_becomes_a_line_through_its_middle():
    bar = np.zeros((1, 9, 12), bool)
    bar[0, 3:6, 1:11] = True
    line = thin(bar)
    assert set(np.flatnonzero(line.any(axis=(0, 2)))) == {4}
    assert line.sum() >= 7


def test_what_is_thin_already_stays():
    corner = draw(".....", ".#...", ".#...", ".####", ".....")
    np.testing.assert_array_equal(thin(corner), corner)


def test_the_pen_goes_from_end_to_end():
    pixels = 255 * draw("#......", "#......", "#......", "#......", ".######", ".......", ".......")
    (way,) = trace(pixels.astype(np.uint8))
    np.testing.assert_allclose(way[0], [-1, -1, 0])
    np.testing.assert_allclose(way[-1], [1 / 3, 1, 0], atol=1e-6)
    assert not way[:, 2].any()
    steps = np.abs(np.diff(way[:, :2], axis=0)).max()
    assert steps <= 2 / 6 + 1e-6  # no further than to the next pixel


def test_the_pen_is_lifted_once_between_two_lines():
    pixels = 255 * draw("#.....#", "#.....#", "#.....#", "#.....#", "#.....#", "#.....#", "#.....#")
    (way,) = trace(pixels.astype(np.uint8))
    assert way[:, 2].sum() == 1
    lifted = int(way[:, 2].argmax())
    assert (way[:lifted, 1] == -1).all()
    assert (way[lifted:, 1] == 1).all()


def test_images_without_ink_have_a_way_that_stays():
    way = trace(np.zeros((2, 28, 28), np.uint8))
    assert np.isfinite(way).all()
    assert not way[..., 2].any()


@pytest.mark.slow
def test_a_digit_that_nobody_says_is_told(tmp_path):
    write_images(tmp_path)
    write_recordings(tmp_path / "recordings")
    for path in (tmp_path / "recordings").glob("3_*_[01234].wav"):
        path.unlink()
    for name in NAMES:
        with pytest.raises(DataError, match="test: expected a recording of digit 3, got none"):
            TASKS[name](tmp_path)


@needs_real_data
def test_what_is_left_of_real_images_tells_some_digits_and_their_strokes_more():
    task = load_task("strokes", FOLDER)
    far = lambda split: split.inputs["strokes"].reshape(split.size, -1)
    nearest = KNeighborsClassifier(5).fit(far(task.train), task.train.target)
    assert nearest.score(far(task.test), task.test.target) > 0.6
    pixels = read_parts(FOLDER)
    few = principal_directions(pixels["train"].pixels, KEPT)
    assert few.shape[1] < 8
    left = {r: p.pixels.reshape(-1, 784) @ few for r, p in pixels.items()}
    nearest = KNeighborsClassifier(25).fit(left["train"], pixels["train"].written)
    assert 0.4 < nearest.score(left["test"], pixels["test"].written) < 0.8
