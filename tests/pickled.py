"""Pickles: of data as sentiment data sets are published, of code, and at random."""

import os
import pickle
import struct
from collections.abc import Callable

import numpy as np

ROWS = {"train": 12, "valid": 6, "test": 6}


def make_splits(seed: int = 0) -> dict[str, dict]:
    """Two recordings of six clips, and more, with one label each."""
    rng = np.random.default_rng(seed)
    return {
        split: {
            "vision": rng.normal(size=(rows, 3, 2)).astype(np.float32),
            "audio": rng.normal(size=(rows, 3, 4)),
            "text": rng.normal(size=(rows, 5)).astype(np.float32),
            "labels": rng.uniform(-3, 3, (rows, 1, 1)).astype(np.float32),
            "id": [f"{split}{row // 3}$_${row}" for row in range(rows)],
            "raw_text": np.array([f"word {row}" for row in range(rows)], object),
        }
        for split, rows in ROWS.items()
    }


class Command:
    """What would run a command if it were unpickled."""

    def __init__(self, command: str = "exit 0") -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.system, (self.command,)


NUMPY = ("multiarray _reconstruct", "multiarray scalar", "numeric _frombuffer")
SAFE = (
    *("_codecs encode", "numpy dtype", "numpy ndarray", "builtins bytes", "__builtin__ bytes"),
    *(f"numpy.{core}.{name}" for core in ("core", "_core") for name in NUMPY),
)
HARMFUL = (
    *("posix system", "nt system", "os popen", "os execv", "subprocess Popen", "pty spawn"),
    *("builtins eval", "builtins exec", "builtins __import__", "builtins getattr", "builtins open"),
    *("__builtin__ eval", "__builtin__ apply", "importlib import_module", "runpy run_path"),
    *("copyreg _reconstructor", "operator attrgetter", "functools partial", "shutil rmtree"),
    *("_codecs decode", "numpy load", "numpy fromfile", "numpy.core.multiarray fromfile"),
    *("numpy.testing._private.utils runstring", "numpy.f2py.crackfortran myeval"),
    *("torch._utils _rebuild_tensor_v2", "pandas.core.frame DataFrame", "code interact"),
)


def push_text(value: str) -> bytes:
    """The opcode that pushes it."""
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def push_name(value: str) -> bytes:
    """The opcode that pushes what is imported by ``module name``."""
    module, _, name = value.partition(" ")
    return f"c{module}\n{name}\n".encode()


def push_array(shape: bytes, content: bytes, code: str = "f4", order: str = "<") -> bytes:
    """The opcodes of an array, given those of its shape and its content; the memo has it at 0."""
    name, text = push_name, push_text
    made = name(f"numpy.core.{NUMPY[0]}") + name("numpy ndarray") + b"K\0\x85C\1b\x87Rq\0"
    dtype = name("numpy dtype") + text(code) + b"\x89\x88\x87R"
    minus = b"J\xff\xff\xff\xff"
    state = b"(K\3" + text(order) + b"NNN" + minus + minus + b"K\0tb"
    return made + b"(K\1" + shape + dtype + state + b"\x89" + content + b"tb"


def nested(levels: int, times: int = 10) -> bytes:
    """Lists with the same list in them, so many times at each level: gigabytes if it is walked."""
    level = lambda n: b"]q" + bytes([n + 1]) + b"(" + (b"h" + bytes([n])) * times + b"e"
    return b"]q\0" + b"".join(map(level, range(levels)))


DEEP = 10_000
ONE = b"K\1\x85"  # the shape [1]
FOUR = b"C\4abcd"  # four bytes
ENCODE = push_name("_codecs encode")
PROGRAMS = {
    "an end alone": b"",
    "a mark that is left": b"N(",
    "two objects": b"NN",
    "more behind the end": b"N.N",
    "a command by INST": b"(S'exit 0'\niposix\nsystem\n",
    "a command by OBJ": b"(cposix\nsystem\nS'exit 0'\no",
    "a command by NEWOBJ": b"cposix\nsystem\nS'exit 0'\n\x85\x81",
    "an object of a class": b"cos\n_Environ\n)\x81}b",
    "a state of what is no array": b"}}b",
    "a call of text": push_text("numpy dtype") + b"(tR",
    "a call of a class": push_name("numpy ndarray") + b"(tR",
    "a call that lacks something": push_name("numpy dtype") + b"(tR",
    "a call of something else in NumPy": push_name("numpy load") + b"S'/etc/passwd'\n\x85R",
    "a name in two parts": push_text("numpy") + push_text("fromfile") + b"\x93",
    "a name of colours": b"c\x1b[31mos\nsys\x1b[2Jtem\n",
    "a class as data": push_name("numpy ndarray"),
    "a persistent object": b"Pid\n",
    "an extension": b"\x82\1",
    "a buffer from outside": b"\x97",
    "a list as key": b"}]Ns",
    "a key without a value": b"}(S'a'\nu",
    "an array without values": push_name(f"numpy.core.{NUMPY[0]}") + b"NNN\x87R",
    "an array in itself": push_array(ONE, b"]h\0a", "O8", "|"),
    "an array said to be terabytes": push_array(b"M\xff\xffM\xff\xffM\xff\xff\x87", FOUR),
    "an array of a negative size": push_array(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", FOUR),
    "an array of a size without end": push_array(
        b"\x8b" + struct.pack("<I", 9000) + b"\x7f" * 9000 + b"\x85", FOUR
    ),
    "an array of a thousand dimensions": push_array(b"(" + b"K\1" * 1000 + b"t", FOUR),
    "an array of text of gigabytes": push_array(ONE, FOUR, "U999999999"),
    "an array of text without size": push_array(b"J\xff\xff\xff\x7f\x85", b"C\0", "U0"),
    "an array of pointers": push_array(ONE, b"C\10abcdefgh", "O8", "|"),
    "a dtype with more than NumPy writes": push_name("numpy dtype")
    + b"(S'f4'\n"
    + b"N" * 100
    + b"tR",
    "an array of another order": push_array(ONE, FOUR, order="S"),
    "an array of objects from text": push_array(ONE, push_text("a"), "O8", "|"),
    "bytes said to be exabytes": b"\x8e" + struct.pack("<Q", 2**62) + b"abc",
    "text said to be gigabytes": b"X" + struct.pack("<I", 2**32 - 1) + b"abc",
    "a number said to be gigabytes": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc",
    "a number of 9000 digits": b"I" + b"9" * 9000 + b"\n",
    "a memo of exabytes": b"Np" + str(2**62).encode() + b"\n",
    "a reference to nothing": b"h\7",
    "a list in itself": b"]q\0h\0a",
    "a list in an array in the list": b"]q\1" + push_array(ONE, b"h\1", "O8", "|") + b"a",
    "a dictionary in itself": b"}q\0S'a'\nh\0s",
    "an array of the same objects, again and again": b"]q\1("
    + b"N" * 10**4
    + b"e0("
    + push_array(b"M\x10\x27\x85", b"h\1", "O8", "|") * 200
    + b"t",
    "lists in lists, again and again": nested(12),
    "lists too deep": b"]" * DEEP + b"a" * (DEEP - 1),
    "tuples too deep": b")" + b"\x85" * DEEP,
    "bytes in another encoding": ENCODE + push_text("a") + push_text("idna") + b"\x86R",
    "bytes of the same text, again and again": ENCODE
    + b"q\0"
    + push_text("a" * 10**5)
    + b"q\1(("
    + (b"h\0h\1S'latin1'\n\x86R") * 1000
    + b"t",
}
"""Programs that are refused, without the end that all of them have."""

BAD_PICKLES = {
    "empty": b"",
    "text": b"no pickle at all",
    "an array": b"\x93NUMPY\1\0",
    "a page": b"<!DOCTYPE html><html></html>",
    "without an end": pickle.dumps(make_splits(), 4)[:-1],
    "cut": pickle.dumps(make_splits(), 4)[:-100],
    "a command": pickle.dumps(Command(), 4),
    "a command of protocol 0": pickle.dumps(Command(), 0),
    "a command deep inside": pickle.dumps({"train": {"text": [Command()]}}, 2),
    "a command behind the end": b"N." + pickle.dumps(Command(), 4),
    "a set": pickle.dumps({1}, 4),
    "a number as key": pickle.dumps({1: 2}, 4),
    "an array that is complex": pickle.dumps(np.zeros(2, complex), 4),
    "an array of dates": pickle.dumps(np.zeros(2, "M8[s]"), 4),
    "an array of records": pickle.dumps(np.zeros(2, [("a", "f4")]), 4),
    "an array with a mask": pickle.dumps(np.ma.ones(2), 4),
    **{name: program + b"." for name, program in PROGRAMS.items()},
}
