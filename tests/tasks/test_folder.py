"""A folder of files becomes what the files hold, and what does not fit is told."""

import csv
import io
import struct

import numpy as np
import pytest
import soundfile
from commands import run
from layouts import write_labels
from PIL import Image, ImageOps
from scipy import signal
from scipy.io import wavfile

from mmjax import errors
from mmjax.errors import DataError, UsageError
from mmjax.tasks import load_task
from mmjax.tasks.folder import folder
from mmjax.tasks.readers.files import pixels_of, read_picture, read_table
from mmjax.tasks.readers.mfcc import mfcc
from mmjax.tasks.readers.samples import stack
from mmjax.tasks.readers.sound import Sound

NUM_ROWS = 30


def pixels(row, channels=1):
    grid = np.arange(20 * channels, dtype=np.uint8).reshape(4, 5, channels)
    return grid + np.uint8(5 * row)


def wave(row):
    """Recordings from 0.2 to 0.49 s."""
    return (0.3 * np.sin(np.arange(1600 + 80 * row) * (row + 1) / 20)).astype(np.float32)


@pytest.fixture
def place(tmp_path):
    """Thirty rows of three classes with pictures, recordings, tables and arrays."""
    place = tmp_path / "mine"
    for name in ("picture", "sound", "steps", "vector", "array"):
        (place / name).mkdir(parents=True)
    for row in range(NUM_ROWS):
        Image.fromarray(pixels(row)[..., 0]).save(place / "picture" / f"r{row}.png")
        if row % 2:
            soundfile.write(place / "sound" / f"r{row}.flac", wave(row), 8000, subtype="PCM_24")
        elif row:
            wavfile.write(place / "sound" / f"r{row}.wav", 8000, wave(row))
        (place / "steps" / f"r{row}.csv").write_text(f"x,y\n{row},1\n2,{row / 4}\n3,3e0\n")
        (place / "vector" / f"r{row}.csv").write_text(f"{row},-1.5\n")
        np.save(place / "array" / f"r{row}.npy", np.full((2, 3), row, np.int16))
    rows = [*range(NUM_ROWS)]
    target = ["ham", "egg", "jam"] * 10
    ids = [f"r{row}" for row in rows]
    write_labels(place, {"id": ids, "target": target, "group": [row // 3 for row in rows]})
    (place / ".hidden").mkdir()
    (place / "picture" / ".DS_Store").touch()
    return place


def rows_of(task, place):
    """The splits' rows as one, in the order of the labels."""
    order = np.argsort(np.concatenate([s.inputs["vector"][:, 0] for s in task.splits.values()]))
    join = lambda get: np.concatenate([get(s) for s in task.splits.values()])[order]
    return (
        {name: join(lambda s, n=name: s.inputs[n]) for name in task.modalities},
        {name: join(lambda s, n=name: s.present[n]) for name in task.modalities},
        join(lambda s: s.target),
        join(lambda s: s.group),
    )


def test_files_become_arrays(place):
    task = load_task("folder", place)
    inputs, present, target, group = rows_of(task, place)
    assert (task.name, task.out_dim, task.names) == ("folder/mine", 3, ("egg", "ham", "jam"))
    np.testing.assert_array_equal(target, [1, 0, 2] * 10)
    np.testing.assert_array_equal(group, np.arange(NUM_ROWS) // 3)
    np.testing.assert_array_equal(inputs["picture"], np.stack([*map(pixels, range(NUM_ROWS))]))
    assert inputs["picture"].dtype == np.uint8
    np.testing.assert_array_equal(inputs["vector"][:, 1], np.float32(-1.5))
    np.testing.assert_array_equal(inputs["steps"][7], np.float32([[7, 1], [2, 1.75], [3, 3]]))
    np.testing.assert_array_equal(inputs["array"][:, 1, 2], np.arange(NUM_ROWS))
    assert not present["sound"][0]
    assert all(present[name].all() for name in task.modalities if name != "sound")


def test_data_says_which_encoder_a_modality_gets(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    assert run("data", "--task", "folder", "--data", place) == 0
    lines = capsys.readouterr().out.splitlines()
    chosen = {tuple(line.split()[:2]) for line in lines if "float32" in line or "uint8" in line}
    short = {(name, "mlp") for name in ("array", "steps")}  # too short for a network along time
    assert chosen == {("picture", "cnn"), ("sound", "cnn1d"), ("vector", "mlp"), *short}


def test_recordings_are_padded_with_silence(place):
    inputs, present, *_ = rows_of(folder(place), place)
    longest = len(wave(NUM_ROWS - 1))
    for row in (2, 3, NUM_ROWS - 1):
        padded = np.pad(wave(row), (0, longest - len(wave(row))))
        want = mfcc(padded, 8000, window=400, hop=210)
        np.testing.assert_allclose(inputs["sound"][row], want, atol=0.05)  # FLAC has 24 bits
    assert present["sound"][1:].all()


def test_a_recording_of_another_rate_is_resampled(place, capsys):
    fine = (0.3 * np.sin(np.arange(3200) / 40)).astype(np.float32)
    wavfile.write(place / "sound" / "r4.wav", 16000, fine)
    inputs, *_ = rows_of(folder(place), place)
    assert "sound: resampled 1 of 29 recordings to 8000 Hz" in capsys.readouterr().err
    coarse = signal.resample_poly(fine, 1, 2)
    want = mfcc(np.pad(coarse, (0, len(wave(NUM_ROWS - 1)) - 1600)), 8000, window=400, hop=210)
    np.testing.assert_allclose(inputs["sound"][4], want, atol=1e-3)


def test_of_as_many_recordings_of_two_rates_the_lower_one_is_kept(capsys):
    sounds = [Sound(wave(1), rate) for rate in (16000, 8000)]
    stack(sounds, "here")
    assert "here: resampled 1 of 2 recordings to 8000 Hz" in capsys.readouterr().err
    longest = [Sound(wave(1), 1), *[Sound(wave(1), 48000)] * 2]  # 48000 times as many samples
    with pytest.raises(DataError, match="here: expected recordings that fit in memory, got 3"):
        stack(longest * 10, "here")
    with pytest.raises(DataError, match=r"positive sampling rates .* got 8000 and 0 Hz"):
        stack([Sound(wave(1), 0), *sounds[1:] * 2], "here")


def test_steps_of_another_length_are_padded(place, capsys):
    (place / "steps" / "r3.csv").write_text("1,2\n")
    task = folder(place)
    assert "input 'steps': rows have 1 to 3 frames" in capsys.readouterr().err
    assert task.padded == ("steps",)
    inputs, *_ = rows_of(task, place)
    np.testing.assert_array_equal(inputs["steps"][3], [[1, 2], [np.nan] * 2, [np.nan] * 2])


def test_a_file_whose_kind_is_not_stated_is_told(place, capsys):
    (place / "patient.csv").write_text("id,age\nr1,31\n")
    assert "patient" not in folder(place).modalities
    assert "patient.csv: not read, as its kind is not stated" in capsys.readouterr().err


def test_pictures_of_another_size_are_resized(place, capsys):
    new_picture(place, "r3.png")
    inputs, *_ = rows_of(folder(place), place)
    assert "picture: resized 1 of 30 pictures to 4 x 5, the median" in capsys.readouterr().err
    with Image.open(place / "picture" / "r3.png") as picture:
        want = picture.resize((5, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(inputs["picture"][3][..., 0], want)
    assert folder(place, sizes="picture=8x6").shapes["picture"] == (8, 6, 1)
    assert folder(place, sizes={"picture": (4, 5)}).digest() == folder(place).digest()
    with pytest.raises(UsageError, match="sizes: expected NAME=HEIGHTxWIDTH, got picture=8"):
        folder(place, sizes="picture=8")
    with pytest.raises(UsageError, match=r"modality of sizes: .* got 'face'"):
        folder(place, sizes="face=8x8")
    with pytest.raises(DataError, match="vector: expected pictures, as a size is stated"):
        folder(place, sizes="vector=8x8")


def test_grey_arrays_of_another_size_are_resized_if_they_are_stated_as_pictures(place):
    np.save(place / "array" / "r3.npy", np.ones((5, 4), np.int16))
    with pytest.raises(DataError, match=r"array, frames: .*, or state their kind"):
        folder(place)
    assert folder(place, kinds="array=image").shapes["array"] == (2, 3, 1)


def test_splits_are_those_of_the_table_or_by_group(place):
    dealt = folder(place)
    groups = [set(split.group.tolist()) for split in dealt.splits.values()]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]
    assert folder(place, seed=0).digest() == dealt.digest() != folder(place, seed=3).digest()
    ids, role = [f"r{row}" for row in range(NUM_ROWS)], ["train"] * 15 + ["valid"] * 9
    write_labels(place, {"id": ids, "target": [0, 1, 2] * 10, "split": role + ["test"] * 6})
    task = folder(place)
    assert [split.size for split in task.splits.values()] == [15, 9, 6]
    np.testing.assert_array_equal(task.test.inputs["vector"][:, 0], np.arange(24, 30))


TARGETS = {
    "text": ({"target": ["b", "a", "none"] * 10}, "classes", ("a", "b", "none")),
    "integers": ({"kind": [10, 9, -2] * 10}, "classes", ("-2", "9", "10")),
    "codes": ({"code": ["007", "7", "1_0"] * 10}, "classes", ("007", "1_0", "7")),
    "long codes": ({"code": ["1" * 25, "2" * 25] * 15}, "classes", ("1" * 25, "2" * 25)),
    "numbers": ({"height": [1, 2.5, 4] * 10}, "numbers", ("height",)),
    "labels": ({"cat": [0, 1, 1] * 10, "dog": [1, 1, 0] * 10}, "labels", ("cat", "dog")),
    "spaces around": ({" kind ": [" 1", "0 ", "1"] * 10}, "classes", ("0", "1")),
    "several numbers": ({"x": [0, 1, 2] * 10, "y": [1, 1, 0] * 10}, "numbers", ("x", "y")),
}


@pytest.mark.parametrize("case", TARGETS)
def test_columns_say_what_the_targets_are(place, case):
    columns, kind, names = TARGETS[case]
    write_labels(place, {"id": [f"r{row}" for row in range(NUM_ROWS)], **columns})
    task = folder(place)
    assert (task.kind, task.names) == (kind, names)
    _, _, target, _ = rows_of(task, place)
    if kind == "numbers":
        target = target * task.scale.deviation + task.scale.mean
    values = [columns[name] for name in columns]
    want = (
        [task.names.index(str(cell).strip()) for cell in values[0]] if kind == "classes" else None
    )
    np.testing.assert_allclose(target, np.transpose(values) if want is None else want, atol=1e-5)


def save(picture, mode, form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_pictures_of_every_usual_mode_are_read(tmp_path, mode):
    (tmp_path / "a.png").write_bytes(save(pixels(3, 3), mode))
    got = read_picture(tmp_path / "a.png")
    assert (got.shape, got.dtype) == ((4, 5, 1 if mode in ("1", "L", "LA") else 3), np.uint8)
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(got, pixels(3, 3))


def test_a_palette_with_transparency_and_a_jpeg_are_read(tmp_path):
    (tmp_path / "a.png").write_bytes(save(pixels(3, 3), "P", transparency=bytes(range(20))))
    assert read_picture(tmp_path / "a.png").shape == (4, 5, 3)
    smooth = np.full((16, 16, 3), 90, np.uint8)
    (tmp_path / "a.jpeg").write_bytes(save(smooth, "RGB", "JPEG", quality=95))
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpeg"), smooth, atol=3)


def test_grey_pictures_among_coloured_ones_become_coloured(place):
    (place / "picture" / "r4.png").write_bytes(save(pixels(4, 3), "RGB"))
    inputs, *_ = rows_of(folder(place), place)
    np.testing.assert_array_equal(inputs["picture"][4], pixels(4, 3))
    np.testing.assert_array_equal(inputs["picture"][5], np.repeat(pixels(5), 3, axis=-1))


def test_a_heading_is_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text("time,value\r\n\r\n0,1\r\n0.5,2\r\n")
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv"), [[0, 1], [0.5, 2]])


@pytest.mark.parametrize("first", ["5,", "5,x", "5"])
def test_a_first_line_that_is_a_row_with_a_gap_is_no_heading(first, tmp_path):
    (tmp_path / "a.csv").write_text(f"{first}\n6,1\n7,2\n")
    with pytest.raises(DataError, match="a CSV file of numbers"):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_the_camera_was_held(tmp_path, orientation):
    shown = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    held = Image.Exif()
    held[0x0112] = orientation
    Image.fromarray(shown).save(tmp_path / "a.png", exif=held)
    with Image.open(tmp_path / "a.png") as picture:
        want = np.asarray(ImageOps.exif_transpose(picture))
        np.testing.assert_array_equal(pixels_of(picture)[..., 0], want)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[..., 0], want)
    if orientation == 6:  # a quarter to the right
        np.testing.assert_array_equal(want, np.rot90(shown, -1))


def tag(number, count, value):
    """An entry of EXIF, of 16-bit numbers."""
    return struct.pack("<HHII", number, 3, count, value)


def exif(*entries, claimed=None, first=8):
    """A block of EXIF, whose number of entries may be wrong, and where the first stands."""
    count = struct.pack("<H", len(entries) if claimed is None else claimed)
    return b"Exif\0\0II*\0" + struct.pack("<I", first) + count + b"".join(entries) + bytes(4)


EXIFS = {
    "a tag beyond the end": exif(tag(0x010F, 200, 5000), tag(0x0112, 1, 6)),
    "fewer tags than claimed": exif(tag(0x0112, 1, 6), claimed=500),
    "two orientations": exif(tag(0x0112, 2, 6)),
    "an orientation there is not": exif(tag(0x0112, 1, 99)),
    "an orientation of text": exif(struct.pack("<HHI4s", 0x0112, 2, 4, b"up!\0")),
    "tags beyond the end": exif(first=9999),
    "a resolution of nothing": exif(tag(0x011A, 1, 0), tag(0x0128, 1, 2), tag(0x0112, 1, 6)),
    "no tags at all": b"Exif\0\0" + bytes(range(40)),
    "empty": b"Exif\0\0",
}


@pytest.mark.parametrize("case", EXIFS)
@pytest.mark.parametrize("density", [True, False])
def test_damaged_exif_refuses_no_picture(tmp_path, case, density):
    """Without a density of JFIF, Pillow looks for it in EXIF when it opens the file."""
    whole = save(np.full((8, 16, 3), 90, np.uint8), "RGB", "JPEG", quality=95)
    start = 2 if density else 20  # behind JFIF's block, which is left out
    block = b"\xff\xe1" + struct.pack(">H", len(EXIFS[case]) + 2) + EXIFS[case]
    (tmp_path / "a.jpg").write_bytes(whole[:2] + block + whole[start:])
    got = read_picture(tmp_path / "a.jpg")
    assert got.shape in ((8, 16, 3), (16, 8, 3))  # turned where one orientation can be read
    np.testing.assert_allclose(got, 90, atol=3)
    (tmp_path / "cut.jpg").write_bytes((whole[:2] + block + whole[start:])[:-40])
    with pytest.raises(DataError, match=r"(?i)truncated"):
        read_picture(tmp_path / "cut.jpg")


@pytest.mark.slow
def test_predictions_are_named_as_the_rows_are(place, tmp_path):
    flags = ("--task", "folder", "--data", place, "--steps", "2", "--seeds", "1")
    assert run("train", "vector_only", *flags, "--out", tmp_path / "run") == 0
    assert run("predict", tmp_path / "run", "--out", tmp_path / "said.csv") == 0
    with (tmp_path / "said.csv").open() as file:
        named = [line["row_id"] for line in csv.DictReader(file)]
    assert named == [f"r{row:.0f}" for row in folder(place).test.inputs["vector"][:, 0]]


def new_picture(place, name, **shape):
    Image.fromarray(pixels(0)[..., 0]).resize((9, 9)).save(place / "picture" / name)


DAMAGES = {
    "more columns": (
        lambda p: (p / "steps" / "r3.csv").write_text("1,2,3\n3,4,5\n"),
        r"steps, frames: expected rows of one shape, got \(2,\) in row 0 and \(3,\) in row 3",
    ),
    "an odd rate": (
        lambda p: wavfile.write(p / "sound" / "r4.wav", 191_999, wave(4)),
        "sound: expected positive sampling rates in a ratio .* got 8000 and 191999 Hz. Resample",
    ),
    "a file of no row": (lambda p: new_picture(p, "r77.png"), r"r77.png: expected a row r77"),
    "two files of a row": (
        lambda p: new_picture(p, "r3.jpg"), r"r3.png: expected one file per row, got r3.jpg, too"
    ),
    "an unknown file": (
        lambda p: (p / "sound" / "r3.ogg").touch(), r"r3.ogg: expected one of \.png, "
    ),
    "an empty sub-folder": (lambda p: (p / "empty").mkdir(), "empty: expected at least one sample"),
    "sound among pictures": (
        lambda p: (p / "picture" / "r3.png").unlink()
        or wavfile.write(p / "picture" / "r3.wav", 8000, wave(3)),
        "picture: expected either recordings or arrays, got both",
    ),
    "no labels": (lambda p: (p / "labels.csv").unlink(), "expected labels.csv, got only"),
    "no id": (lambda p: write_labels(p, {"target": ["a", "b"]}), r"got columns \['target'\]"),
    "no target": (lambda p: write_labels(p, {"id": ["r0", "r1"]}), r"got columns \['id'\]"),
    "no rows": (lambda p: write_labels(p, {"id": [], "target": []}), "got no rows"),
    "an id twice": (
        lambda p: write_labels(p, {"id": ["r0", "r0"], "target": "ab"}),
        "got several rows with the id r0",
    ),
    "an empty cell": (
        lambda p: write_labels(
            p, {"id": [f"r{row}" for row in range(30)], "target": ["a", "b", ""] * 10}
        ),
        "a target for each row, got none in 10 rows, first in row 2, id r2",
    ),
    "an empty id": (
        lambda p: write_labels(p, {"id": ["r0", ""], "target": "ab"}), r"row 2 with cells"
    ),
    "a target of each row": (
        lambda p: write_labels(
            p, {"id": [f"r{row}" for row in range(30)], "target": [f"t{row}" for row in range(30)]}
        ),
        "mine: expected a valid task, got target: expected classes that several rows share",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_what_does_not_fit_is_told(place, case):
    damage, message = DAMAGES[case]
    damage(place)
    with pytest.raises(DataError, match=message):
        folder(place)


def test_a_missing_package_is_named(place, monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(errors, "import_module", import_module)
    with pytest.raises(UsageError, match=r'pip install "mmjax\[files\]"'):
        folder(place)
