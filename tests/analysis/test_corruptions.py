"""Corruptions: what each promises in numbers, and what all of them promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

from mmjax.analysis.corruptions import CORRUPTIONS, NUM_SEVERITIES
from mmjax.analysis.corruptions.corruption import SNR_DB, shifted, stretch
from mmjax.analysis.corruptions.waveform import RT60
from mmjax.augmentations.rows import row_keys

SEVERITIES = range(1, NUM_SEVERITIES + 1)
KEY = jax.random.key(3)
SPOIL = {name: jax.jit(corruption.apply) for name, corruption in CORRUPTIONS.items()}
ON_ARRAYS = [name for name, corruption in CORRUPTIONS.items() if corruption.kind != "pairs"]
WITHOUT_CHANCE = {"blur", "contrast"}


def make_values(kind, rows=12):
    """Smooth signals, away from their edges, so that a stronger change is a larger one."""
    bump = lambda size: np.exp(-((np.linspace(-3, 3, size)) ** 2)).astype(np.float32)
    level = np.linspace(0.5, 1, rows, dtype=np.float32)
    wave = bump(800) * np.sin(np.arange(800) ** 2 / 1000)
    samples = {
        "pixels": 0.9 * bump(20)[:, None, None] * bump(28)[None, :, None] * [1, 0.5],
        "waveform": wave,
        "sequence": bump(40)[:, None] * (1 + np.arange(10)),
        "vector": np.linspace(-2, 2, 50),
        "table": np.arange(50.0) % 5 - 2,
    }
    if kind == "text":
        return np.random.default_rng(0).integers(0, 40, (rows, 50), np.int32)
    return np.stack([samples[kind] * x for x in level]).astype(np.float32)


def of(name, severity, key=KEY):
    values = make_values(CORRUPTIONS[name].kind)
    got = np.asarray(SPOIL[name](key, values, severity))
    return values, np.nan_to_num(got) if name == "cell_dropout" else got


@pytest.mark.parametrize("name", ON_ARRAYS)
def test_contract_of_every_corruption_of_arrays(name):
    values, got = of(name, 3)
    assert got.shape == values.shape
    assert got.dtype == values.dtype
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got, of(name, 3)[1])
    other = of(name, 3, key=jax.random.key(4))[1]
    assert (name in WITHOUT_CHANCE) == np.array_equal(got, other)


@pytest.mark.parametrize("name", ON_ARRAYS)
def test_a_row_does_not_depend_on_the_rows_beside_it(name):
    values, got = of(name, 4)
    values[3:] = 0
    alone = np.asarray(SPOIL[name](KEY, values, 4))
    alone = np.nan_to_num(alone) if name == "cell_dropout" else alone
    np.testing.assert_allclose(alone[:3], got[:3], atol=1e-6)


def test_a_row_has_the_same_key_among_more_rows():
    few, many = (jax.random.key_data(row_keys(KEY, size)) for size in (2, 6))
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many, axis=0)) == 6


# More reverberation is not a larger difference, only a longer one.
@pytest.mark.parametrize("name", [name for name in ON_ARRAYS if name != "reverberation"])
def test_what_changes_grows_with_severity(name):
    pairs = [of(name, severity) for severity in SEVERITIES]
    change = [np.abs(got - values).mean() for values, got in pairs]
    assert 0 < change[0] < change[2] < change[4]


IMAGE = [name for name, corruption in CORRUPTIONS.items() if corruption.kind == "pixels"]


@pytest.mark.parametrize("name", IMAGE)
def test_images_stay_within_black_and_white(name):
    _, got = of(name, 5)
    assert got.min() >= 0
    assert got.max() <= 1


def test_images_may_be_uint8():
    values = np.rint(make_values("pixels") * 255).astype(np.uint8)
    got = SPOIL["blur"](KEY, values, 5)
    np.testing.assert_allclose(got, SPOIL["blur"](KEY, values / np.float32(255), 5), atol=1e-6)


def test_gaussian_noise_has_its_deviation():
    grey = np.full((4, 50, 50, 3), 0.5, np.float32)
    noise = np.asarray(SPOIL["gaussian_noise"](KEY, grey, 1)) - 0.5
    np.testing.assert_allclose(noise.std(), 0.08, rtol=0.02)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.002)


@pytest.mark.parametrize(("severity", "share"), [(1, 0.02), (5, 0.1)])
def test_blur_is_scipys_with_weights_that_sum_to_one(severity, share):
    image = np.random.default_rng(0).random((1, 30, 40, 1), np.float32)
    got = np.asarray(SPOIL["blur"](KEY, image, severity))[0, ..., 0]
    filtered = lambda x: ndimage.gaussian_filter(x, share * 30, mode="constant", truncate=20)
    want = filtered(image[0, ..., 0]) / filtered(np.ones((30, 40), np.float32))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_occlusion_is_one_grey_square_inside_the_image():
    white = np.ones((12, 20, 28, 2), np.float32)
    got = np.asarray(SPOIL["occlusion"](KEY, white, 3))
    hidden = got == 0.5
    assert ((got == 1) | hidden).all()
    for row in hidden[..., 0]:
        assert row.any(axis=1).sum() == row.any(axis=0).sum() == 8  # 0.4 of 20
        assert row.sum() == 8**2
    assert len({tuple(np.argwhere(row)[0]) for row in hidden[..., 0]}) > 5


def test_rotation_is_scipys_one_way_or_the_other():
    image = np.random.default_rng(0).random((12, 20, 28, 2), np.float32)
    got = np.asarray(SPOIL["rotation"](KEY, image, 4))[..., 0]
    turned = [
        ndimage.rotate(image[..., 0], angle, (2, 1), reshape=False, order=1, mode="nearest")
        for angle in (45, -45)
    ]
    errors = [np.abs(got - want).max(axis=(1, 2)) for want in turned]
    assert np.minimum(*errors).max() < 1e-4
    assert 0 < (errors[0] < errors[1]).sum() < 12


def test_contrast_keeps_the_mean_and_scales_the_rest():
    values, got = of("contrast", 2)
    axes = (1, 2)
    np.testing.assert_allclose(got.mean(axes), values.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(got.std(axes), 0.3 * values.std(axes), rtol=1e-4)


def test_pixel_dropout_makes_whole_pixels_black():
    got = np.asarray(SPOIL["pixel_dropout"](KEY, np.ones((4, 50, 50, 3), np.float32), 4))
    assert (got == got[..., :1]).all()
    np.testing.assert_allclose((got == 0).mean(), 0.4, atol=0.02)


@pytest.mark.parametrize("name", ["background_noise", "sequence_noise"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_signal_to_noise_ratio_is_exact_for_each_row(name, severity):
    values, got = of(name, severity)
    axes = tuple(range(1, values.ndim))
    power = lambda x: (x.astype(np.float64) ** 2).mean(axis=axes)
    ratio = 10 * np.log10(power(values) / power(got - values))
    np.testing.assert_allclose(ratio, SNR_DB[severity - 1], atol=0.01)


@pytest.mark.parametrize(
    "name", ["background_noise", "silencing", "reverberation", "band_stop", "gain"]
)
def test_silence_stays_silent(name):
    got = np.asarray(SPOIL[name](KEY, np.zeros((12, 800), np.float32), 5))
    np.testing.assert_array_equal(got, 0)


def test_time_shift_moves_either_way_and_fills_with_silence():
    ramp = np.tile(np.arange(1, 801, dtype=np.float32), (12, 1))
    got = np.asarray(SPOIL["time_shift"](KEY, ramp, 2))
    later = np.concatenate([np.zeros(80), ramp[0, :-80]])
    earlier = np.concatenate([ramp[0, 80:], np.zeros(80)])
    is_later = (got == later).all(axis=1)
    assert (is_later | (got == earlier).all(axis=1)).all()
    assert 0 < is_later.sum() < 12


def test_silencing_silences_one_stretch_anywhere():
    values = np.ones((12, 800), np.float32)
    got = np.asarray(SPOIL["silencing"](KEY, values, 3))
    places = [np.flatnonzero(row == 0) for row in got]
    assert all(place.size == 240 and np.ptp(place) == 239 for place in places)
    assert len({place[0] for place in places}) > 6
    assert set(np.unique(got)) == {0, 1}


def test_gain_is_in_decibels():
    values = make_values("waveform")
    got = np.asarray(SPOIL["gain"](KEY, values, 3))
    decibels = 20 * np.log10(np.linalg.norm(got, axis=1) / np.linalg.norm(values, axis=1))
    np.testing.assert_allclose(np.abs(decibels), 10, atol=1e-3)
    assert len(set(np.sign(decibels).tolist())) == 2


@pytest.mark.parametrize("severity", [1, 2])
def test_reverberation_has_its_decay_time(severity):
    click = np.zeros((200, 4000), np.float32)
    click[:, 1000] = 1
    response = np.asarray(SPOIL["reverberation"](KEY, click, severity))
    np.testing.assert_allclose(response[:, :1000], 0, atol=1e-6)  # nothing before, none wraps round
    np.testing.assert_allclose((response**2).sum(axis=1), 1, rtol=1e-3)
    power = 10 * np.log10((response[:, 1000:1600] ** 2).mean(axis=0))
    slope = np.polyfit(np.arange(600), power, 1)[0]
    np.testing.assert_allclose(-60 / slope, RT60[severity - 1], rtol=0.05)


def test_reverberation_is_a_convolution():
    click = np.zeros((12, 800), np.float32)
    click[:, 0] = 1
    wave = make_values("waveform")
    response = np.asarray(SPOIL["reverberation"](KEY, click, 2))[0]
    want = signal.fftconvolve(wave[0], response)[:800]
    np.testing.assert_allclose(SPOIL["reverberation"](KEY, wave, 2)[0], want, atol=1e-5)


def test_band_stop_removes_one_band_and_nothing_else():
    click = np.eye(12, 800, dtype=np.float32)
    kept = np.abs(np.fft.rfft(np.asarray(SPOIL["band_stop"](KEY, click, 3)), axis=1))
    for row in kept:
        stopped = row < 1e-3
        assert stopped.sum() == 120  # 0.3 of 401
        assert np.ptp(np.flatnonzero(stopped)) == 119
        np.testing.assert_allclose(row[~stopped], 1, atol=1e-4)


def test_sequence_shift_repeats_the_ends():
    ramp = np.tile(np.arange(40, dtype=np.float32)[:, None], (12, 1, 2))
    got = np.asarray(SPOIL["sequence_shift"](KEY, ramp, 4))
    clip = lambda by: np.clip(ramp - by, 0, 39)
    is_later = (got == clip(8)).all(axis=(1, 2))
    assert (is_later | (got == clip(-8)).all(axis=(1, 2))).all()
    assert 0 < is_later.sum() < 12


@pytest.mark.parametrize(
    ("name", "axis", "size"), [("time_masking", 1, 16), ("feature_masking", 2, 4)]
)
def test_masks_are_one_stretch_of_their_share(name, axis, size):
    ones = np.ones((12, 40, 10), np.float32)
    got = np.asarray(SPOIL[name](KEY, ones, 4))
    masked = (got == 0).all(axis=3 - axis)
    assert (masked == (got == 0).any(axis=3 - axis)).all()
    for row in masked:
        assert row.sum() == size
        assert np.ptp(np.flatnonzero(row)) == size - 1
    assert len({int(row.argmax()) for row in masked}) > 2


SEQUENCES = [name for name in ON_ARRAYS if CORRUPTIONS[name].kind == "sequence"]


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_fraction_of_a_padded_sequence_is_that_of_its_own_length(name):
    values = make_values("sequence")
    short = np.where(np.arange(40)[:, None] < 20, values, np.nan)
    got = np.asarray(SPOIL[name](KEY, short, 4))[:, :20]
    assert np.isfinite(got).all()
    clean = values[:, :20]
    if name == "sequence_noise":
        ratio = (clean**2).mean(axis=(1, 2)) / ((got - clean) ** 2).mean(axis=(1, 2))
        np.testing.assert_allclose(10 * np.log10(ratio), SNR_DB[3], atol=0.01)
    elif name == "sequence_shift":  # by 0.2 of 20, and never to what is padded
        index = np.arange(20)
        ways = [clean[:, np.clip(index + by, 0, 19)] for by in (-4, 4)]
        assert ((got == ways[0]) | (got == ways[1])).all(axis=(1, 2)).all()
    else:
        share = (got == 0).mean(axis=(1, 2))
        np.testing.assert_allclose(share, 0.4, atol=1e-6)


def test_a_short_axis_is_masked_and_shifted_too():
    assert stretch(3, 0.1, 0.99).tolist() == [False, False, True]
    assert (np.abs(shifted(KEY, 3, 1) - np.arange(3)) == 1).all()


def test_vector_noise_is_in_standard_deviations():
    got = np.asarray(SPOIL["vector_noise"](KEY, np.zeros((100, 50), np.float32), 4))
    np.testing.assert_allclose(got.std(), 1.5, rtol=0.03)


def test_feature_dropout_has_its_share():
    got = np.asarray(SPOIL["feature_dropout"](KEY, np.ones((100, 50), np.float32), 2))
    np.testing.assert_allclose((got == 0).mean(), 0.2, atol=0.02)
    assert set(np.unique(got).tolist()) == {0.0, 1.0}


TARGET = np.arange(300) % 3
GROUP = np.arange(300) // 6  # each has every class twice


@pytest.mark.parametrize("name", ["conflicting", "desynchronised"])
def test_pairs_are_exchanged_in_the_share_that_is_stated(name):
    index = [np.asarray(SPOIL[name](KEY, TARGET, GROUP, severity)) for severity in SEVERITIES]
    moved = [i != np.arange(300) for i in index]
    shares = [m.mean() for m in moved]
    np.testing.assert_allclose(shares, [0.2, 0.4, 0.6, 0.8, 1], atol=0.08)
    for source, milder, severer in zip(index, moved, [*moved[1:], moved[-1]], strict=True):
        assert severer[milder].all()
        np.testing.assert_array_equal(source[milder], index[-1][milder])
    agree = TARGET[index[-1]] == TARGET
    assert agree.all() if name == "desynchronised" else not agree.any()
    if name == "desynchronised":
        assert (GROUP[index[-1]] != GROUP).all()
    assert len(set(index[-1].tolist())) > 150  # not one row for all


@pytest.mark.parametrize(
    ("name", "target"), [("conflicting", [1, 1, 1]), ("desynchronised", [0, 1, 2])]
)
def test_a_row_keeps_its_own_where_no_other_will_do(name, target):
    index = SPOIL[name](KEY, jnp.array(target), jnp.arange(3), 5)
    np.testing.assert_array_equal(index, [0, 1, 2])


@pytest.mark.parametrize(("severity", "share"), [(1, 0.1), (5, 0.5)])
def test_tokens_and_cells_are_removed_in_their_share(severity, share):
    ids = np.tile(np.arange(200, dtype=np.int32), (30, 1))
    ids[:, 150:] = -1  # padding
    dropped = np.asarray(SPOIL["token_dropout"](KEY, ids, severity))
    gone = dropped == -1
    np.testing.assert_array_equal(dropped[~gone], ids[~gone])
    assert abs(gone[:, :150].mean() - share) < 0.02
    other = np.asarray(SPOIL["token_replacement"](KEY, ids, severity))
    assert (other[:, 150:] == -1).all()
    assert 0 <= other[:, :150].min() <= other[:, :150].max() == 149
    assert abs((other != ids)[:, :150].mean() - share) < 0.02
    cells = np.ones((30, 200), np.float32)
    assert abs(np.isnan(SPOIL["cell_dropout"](KEY, cells, severity)).mean() - share) < 0.02
