"""Random pickles are data or an error, and nothing that they name is imported, called or opened.

    python benchmarks/fuzz_pickles.py --opcodes 1000000

Half of the opcodes are of random programs, which are well-formed for the most part and refer to
what NumPy's pickles call, and to what would do harm. The others are of real pickles of each
protocol, spoilt as in tests/bad_inputs.py. While one is interpreted, an audit hook of Python
watches: imports, code that is compiled or run, files, processes, sockets and whatever else the
interpreter of Python reports. Before and after, a pickle of a command that really is unpickled
shows that it does. It ends with exit code 1 if anything was reported, or a pickle took over a
second. About a minute on one CPU core.
"""

import gc
import io
import pickle
import pickletools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bad_inputs import mutate
from pickled import HARMFUL, SAFE, Command, make_splits, push_array, push_name, push_text

from mmjax.tasks.readers.pickles import interpret

SECONDS = 1.0  # that a pickle may take
DEPTH = 4
SINGLE = (b"N", b"\x88", b"K\7", b"J\xff\xff\xff\xff", b"G?\xf0\0\0\0\0\0\0", b"]", b"}", b")")
WORDS = ("latin1", "f4", "U3", "O8", "<", "|", "C", "K", "train", "labels", "numpy", "os", "system")
OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@dataclass(frozen=True)
class Fuzz:
    """What the command line sets.

    Attributes:
        opcodes: how many to interpret, at least.
        seed: of the programs.
    """

    opcodes: int = 1_000_000
    seed: int = 0


@cache
def _watch() -> list[list[str]]:
    """The lists that audit events are added to; the hook stays until the process ends."""
    lists: list[list[str]] = []

    def hook(event: str, arguments: tuple) -> None:
        for events in lists:
            events.append(f"{event} {arguments!r:.99}")

    sys.addaudithook(hook)
    return lists


@contextmanager
def watching() -> Iterator[list[str]]:
    """The list of what Python reports to audit hooks, until the context ends."""
    lists, events = _watch(), []
    gc.disable()  # it might end something of another's in the meantime
    lists.append(events)
    try:
        yield events
    finally:
        lists.pop()
        gc.enable()


def unpickled() -> list[str]:
    """What is reported where a harmless command really is unpickled."""
    content = pickle.dumps(Command("exit 0"))
    with watching() as events:
        pickle.loads(content)
    return events


def random_value(rng: np.random.Generator, depth: int = 0) -> bytes:
    """Opcodes that push one value, for the most part."""
    pick = lambda choices: choices[rng.integers(len(choices))]
    value = lambda: random_value(rng, depth + 1)
    word = lambda: push_text(pick(WORDS))
    some = lambda make: b"".join(make() for _ in range(rng.integers(4)))
    makers: list[Callable[[], bytes]] = [
        *[lambda: pick(SINGLE)] * 4,
        *[word] * 2,
        lambda: b"C\x08" + rng.bytes(8),
        lambda: push_name(pick(SAFE)) + b"0" * int(rng.integers(2)),
    ]
    if depth < DEPTH:
        makers += [
            lambda: b"(" + some(value) + pick((b"t", b"l")),
            lambda: b"](" + some(value) + b"e",
            lambda: b"}(" + some(lambda: word() + value()) + b"u",
            lambda: push_array(b"K\2\x85", b"C\x08" + rng.bytes(8)),
            lambda: push_array(b"K\1\x85", b"](" + value() + b"e", "O8", "|"),
            lambda: push_name(pick(SAFE)) + b"(" + some(value) + b"tR",
            lambda: value() + b"(" + some(value) + b"tb",
            lambda: value() + b"q" + rng.bytes(1),
            lambda: value() + b"\x94h" + rng.bytes(1),
        ]
    rare = rng.random()
    if rare < 0.01:
        return push_name(pick(HARMFUL)) + b"(" + some(value) + b"tR"
    return pick(OPCODES) if rare < 0.02 else pick(makers)()


def random_program(rng: np.random.Generator) -> bytes:
    """A list of a few random values."""
    values = (random_value(rng) for _ in range(rng.integers(1, 20)))
    return b"](" + b"".join(values) + b"e."


def spoilt_pickle(rng: np.random.Generator, good: list[bytes]) -> bytes:
    """A good pickle after an accident."""
    return mutate(good[rng.integers(len(good))], rng)


def fuzz(opcodes: int, seed: int = 0) -> Counter[str]:
    """Interprets so many opcodes of either kind; counts them, the pickles and what came of them."""
    rng, counts = np.random.default_rng(seed), Counter()
    good = [pickle.dumps(make_splits(), protocol) for protocol in range(6)]
    genops = pickletools.genops
    for content in good:
        interpret(io.BytesIO(content))  # Python imports the codecs of its own text only now

    def counted(content: io.BytesIO) -> Iterator:
        for step in genops(content):
            counts["opcodes"] += 1
            yield step

    makers = {"random": random_program, "spoilt": partial(spoilt_pickle, good=good)}
    for number, (kind, make) in enumerate(makers.items(), start=1):
        while counts["opcodes"] < opcodes * number // len(makers):
            program = make(rng)
            with mock.patch.object(pickletools, "genops", counted):
                counts[_try(program, counts)] += 1
            counts[f"{kind} pickles"] += 1
    return counts


def _try(program: bytes, counts: Counter[str]) -> str:
    """What comes of a program."""
    content, begun = io.BytesIO(program), time.perf_counter()
    try:
        with watching() as events:
            interpret(content)
        return "data"
    except Exception as error:
        return "refused an import" if "would import" in str(error) else "refused otherwise"
    finally:
        counts["events"] += len(events)
        counts["slow"] += time.perf_counter() - begun > SECONDS
        for event in events:
            print(f"{event} in {program!r:.300}", file=sys.stderr)


def main(settings: Fuzz) -> None:
    """Prints what came."""
    print("where a pickle is unpickled:", "; ".join(unpickled()))
    begun = time.perf_counter()
    counts = fuzz(settings.opcodes, settings.seed)
    counts["seconds"] = round(time.perf_counter() - begun)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    if not unpickled() or counts["events"] or counts["slow"]:
        sys.exit(1)


if __name__ == "__main__":
    main(tyro.cli(Fuzz))
