"""Samples of unequal length are padded with NaN, and pictures of unequal size are resized."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmjax.data.ragged import MAX_VALUES, is_padding, lengthen, level, resize
from mmjax.data.scale import find_input_scale
from mmjax.data.task import Split, Task
from mmjax.errors import DataError
from mmjax.tasks.arrays import arrays, save

ROWS = 60
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, 9, ROWS)
STEPS = [RNG.normal(size=(length, 3)) for length in LENGTHS]
CLASSES = np.arange(ROWS) % 3


def as_column(cells):
    column = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        column[row] = cell
    return column


def make(steps=STEPS, **options):
    return Task.from_arrays({"x": steps}, CLASSES, kind="classes", **options)


def whole(task):
    """The rows of all splits in the order of ``STEPS``, by a column of their own."""
    rows = np.concatenate([split.meta["row"] for split in task.splits.values()])
    values = np.concatenate([split.inputs["x"] for split in task.splits.values()])
    return values[np.argsort(rows)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_rows_are_followed_by_nan_alone(lengths):
    samples = {row: np.full((length, 2), row + 1.0) for row, length in enumerate(lengths)}
    padded = np.stack([*level("x", samples).values()])
    assert padded.shape == (len(lengths), max(lengths), 2)
    np.testing.assert_array_equal((~is_padding(padded)).sum(axis=1), lengths)
    for row, sample in samples.items():
        np.testing.assert_array_equal(padded[row, : len(sample)], sample)
        assert np.isnan(padded[row, len(sample) :]).all()


def test_lists_columns_and_padded_arrays_are_one_task(tmp_path, capsys):
    task = make(meta={"row": np.arange(ROWS)})
    assert "input 'x': rows have 2 to 8 frames, the rest is NaN" in capsys.readouterr().err
    assert (task.padded, task.shapes) == (("x",), {"x": (8, 3)})
    for row, steps in enumerate(STEPS):
        np.testing.assert_array_equal(whole(task)[row, : len(steps)], steps.astype(np.float32))
    pandas = pytest.importorskip("pandas")
    for same in (as_column(STEPS), pandas.Series(STEPS), [x.tolist() for x in STEPS]):
        assert make(same).digest() == task.digest()
    again = make(whole(task))
    assert (again.digest(), again.padded) == (task.digest(), ("x",))
    save(task, tmp_path)
    assert (arrays(tmp_path).digest(), arrays(tmp_path).padded) == (task.digest(), ("x",))
    assert task.only("x").padded == ("x",)


def test_a_task_saved_without_the_new_fields_is_read(tmp_path):
    save(make([x[:2] for x in STEPS]), tmp_path)
    (tmp_path / "task.json").write_text('{"standardise": true, "names": [], "scale": null}')
    assert arrays(tmp_path).padded == ()


def test_nothing_is_padded_where_lengths_agree(capsys):
    assert make([x[:2] for x in STEPS]).padded == ()
    assert not capsys.readouterr().err


def test_a_row_without_the_modality_has_no_length(capsys):
    given = [None, *STEPS[1:]]
    task = make(given, present={"x": np.arange(ROWS) > 0})
    assert task.padded == ("x",)
    assert "2 to 8 frames" in capsys.readouterr().err
    even = [np.full((4, 3), np.nan), *np.ones((ROWS - 1, 4, 3))]
    assert make(even, present={"x": np.arange(ROWS) > 0}).padded == ()


def spoilt(row, *index):
    steps = [x.copy() for x in STEPS]
    steps[row][index] = np.nan
    return steps


LONG = int(LENGTHS.argmax())
BAD = {
    "a frame in the middle": (spoilt(LONG, 3), f"finite values .* infinity in row {LONG}"),
    "a value": (spoilt(LONG, 3, 1), f"finite values .* infinity in row {LONG}"),
    "a value of the last frame": (spoilt(LONG, -1, 1), f"finite.* infinity in row {LONG}"),
    "all frames": (spoilt(7, slice(None)), "finite values .* infinity in row 7"),
    "no frames": ([*STEPS[:7], STEPS[7][:0], *STEPS[8:]], r"with values, got shape \(0, 3\) in"),
    "more features": (
        [*STEPS[:7], np.ones((4, 5)), *STEPS[8:]],
        r"rows of one shape, got \(3,\) in row 0 and \(5,\) in row 7",
    ),
    "numbers": ([x[:, 0] for x in STEPS], "one shape.*or state their kind"),
    "a large value": ([*STEPS[:7], np.full((2, 3), 1e20), *STEPS[8:]], "larger ones in row 7"),
    "grey clips without a kind": (
        [np.ones((len(x), 5, 6)) for x in STEPS],
        r"one shape, got .* or state their kind",
    ),
    "pictures": ([np.ones((1, *x.shape, 1, 1)) for x in STEPS], "rows of one shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_padding_is_refused(case):
    steps, message = BAD[case]
    with pytest.raises(DataError, match=f"'x'.*: .*{message}"):
        make(steps)


def test_a_task_of_ones_own_states_what_is_padded():
    values = whole(make(meta={"row": np.arange(ROWS)}))
    split = Split({"x": values}, CLASSES, np.arange(ROWS))
    assert Task("own", split, split, split, 3, padded=("x",)).padded == ("x",)
    with pytest.raises(DataError, match="NaN or infinity"):
        Task("own", split, split, split, 3)
    with pytest.raises(DataError, match="padded 'y': expected float32 sequences or videos, got no"):
        Task("own", split, split, split, 3, padded=("y",))
    for kinds in ({"y": "volume"}, {"x": "scan"}):
        with pytest.raises(DataError, match="kinds: expected 'volume' for some of the modalities"):
            Task("own", split, split, split, 3, padded=("x",), kinds=kinds)


def test_numbers_are_padded_as_sequences_of_one_feature_if_that_is_stated():
    task = make([x[:, 0] for x in STEPS], kinds={"x": "sequence"})
    assert (task.shapes, task.padded) == ({"x": (8, 1)}, ("x",))


def test_padding_does_not_count_in_a_scale():
    values = np.stack([*level("x", dict(enumerate(STEPS))).values()]).astype(np.float32)
    scale = find_input_scale(values, np.ones(ROWS, bool))
    joined = np.concatenate(STEPS)
    np.testing.assert_allclose(scale.mean, joined.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scale.deviation, joined.std(axis=0), rtol=1e-6)


def test_videos_of_bytes_are_padded_as_what_models_see():
    clips = [RNG.integers(0, 256, (length, 4, 5, 1), np.uint8) for length in LENGTHS]
    task = make(clips, meta={"row": np.arange(ROWS)})
    assert (task.shapes, task.padded) == ({"x": (8, 4, 5, 1)}, ("x",))
    clip = clips[LONG] / np.float32(255)
    np.testing.assert_array_equal(whole(task)[LONG], clip)
    grey = make([clip[..., 0] for clip in clips], kinds={"x": "video"})
    assert grey.digest() == task.digest()
    even = make([clip[:2] for clip in clips])
    assert even.train.inputs["x"].dtype == np.uint8
    assert even.input_scales == {}  # between 0 and 1, as pictures


@pytest.mark.parametrize("kind", ["video", "volume"])
def test_grey_videos_and_volumes_get_a_channel(kind, capsys):
    values = RNG.normal(size=(ROWS, 4, 5, 6))
    task = make(values, kinds={"x": kind})
    assert task.shapes == {"x": (4, 5, 6, 1)}
    assert task.kinds == task.only("x").kinds == ({"x": "volume"} if kind == "volume" else {})
    assert not capsys.readouterr().err
    make(values[..., None])
    said = capsys.readouterr().err
    assert "assumed that samples (4, 5, 6, 1) are videos" in said
    assert "kinds={'x': 'volume'} treats" in said


def test_longer_rows_than_the_longest_are_refused():
    with pytest.raises(DataError, match=r"x: expected at most 4 frames.* got 5\. Crop"):
        lengthen("x", np.ones((2, 5, 3)), 4)


def test_what_one_long_row_would_make_of_all_is_refused_before_it_is_made():
    huge = np.broadcast_to(np.zeros(()), (MAX_VALUES, 1))
    with pytest.raises(DataError, match="samples that fit in memory, got 2 samples"):
        level("x", {0: huge, 1: np.zeros((1, 1))})


SIZES = [(8, 6), (8, 6), (4, 12), (16, 5), (9, 6)]
PICTURES = [RNG.integers(0, 256, (*SIZES[row % 5], 3), np.uint8) for row in range(ROWS)]


def test_pictures_are_resized_to_the_median_as_pillow_does(capsys):
    task = make(PICTURES, meta={"row": np.arange(ROWS)})
    assert "resized 36 of 60 pictures to 8 x 6, the median" in capsys.readouterr().err
    assert task.train.inputs["x"].dtype == np.uint8
    for row, picture in enumerate(PICTURES[:5]):
        want = Image.fromarray(picture).resize((6, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(whole(task)[row], np.asarray(want))


@settings(max_examples=20)
@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 9), st.integers(1, 9))
def test_a_constant_picture_stays_constant_and_others_within_their_range(size, height, width):
    constant = resize(np.full((*size, 2), 0.3), height, width)
    assert constant.shape == (height, width, 2)
    np.testing.assert_allclose(constant, 0.3, rtol=1e-6)
    noise = np.random.default_rng(0).normal(size=(*size, 1)).astype(np.float32)
    assert np.abs(resize(noise, height, width)).max() <= np.abs(noise).max() * (1 + 1e-6)


def test_grey_pictures_become_colour_among_coloured_ones(capsys):
    mixed = [picture[..., :1] if row < 7 else picture for row, picture in enumerate(PICTURES)]
    assert make(mixed).shapes == {"x": (8, 6, 3)}
    assert "7 of 60 pictures are grey" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"one shape, got \(8, 6, 2\) in row 0 and \(8, 6, 3\)"):
        make([PICTURES[0][..., :2], *PICTURES[1:]])


def test_grey_pictures_without_channels_are_resized_if_they_are_stated():
    grey = [picture[..., 0] for picture in PICTURES]
    assert make(grey, kinds={"x": "image"}).shapes == {"x": (8, 6, 1)}
