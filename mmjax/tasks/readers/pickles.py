"""Reads pickles of plain data without unpickling: nothing that a file names is imported or called.

A pickle is a program for a stack machine. The interpreter here executes the opcodes that build
data. What the program would call is looked up in the fixed table of ``pickle_calls``; any other
name is refused.
"""

import mmap
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.storage.reading import reading
from mmjax.tasks.readers.formats import MAX_MAPPED
from mmjax.tasks.readers.pickle_calls import Array
from mmjax.tasks.readers.pickle_machine import MAX_OPCODES, STEPS, Machine, check

MAX_DEPTH = 16
"""Of dictionaries, lists, tuples and arrays of objects in each other."""
MAX_REPEATS = 10
"""Objects per opcode: one that is in several places becomes as many."""

ATOMS = (str, bytes, bytearray, int, float, type(None))
_FIX = "If you trust whoever wrote it, unpickle it elsewhere, and save its arrays by numpy.savez."


def read_pickle(path: str | Path) -> Any:
    """The data in a pickle of any protocol, without executing what else it may contain.

    Data are dictionaries with text as keys, lists, tuples, text, bytes, numbers, True, False and
    None, and NumPy arrays and scalars of booleans, integers, floats, text or bytes; also arrays of
    objects that are data. Nothing may contain itself.

    Reference: ``pickletools`` of Python's standard library, which parses the opcodes; Pitrou,
    Pickle protocol 5 with out-of-band data (PEP 574, 2018).

    Raises:
        DataError: the file is missing, malformed or too large, or would import or call anything
            else, which the error names.

    Example:
        >>> program = b"cposix\\nsystem\\n(S'echo hello'\\ntR."  # what pickle.load would execute
        >>> _ = Path("a.pkl").write_bytes(program)
        >>> read_pickle("a.pkl")
        Traceback (most recent call last):
            ...
        mmjax.errors.DataError: a.pkl: expected a pickle of plain data and NumPy arrays, got
        ValueError: it would import posix.system. If you trust whoever wrote it, ...
    """
    with (
        reading(path, "a pickle of plain data and NumPy arrays", _FIX, MAX_MAPPED) as (path, _),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return interpret(content)


def interpret(content: Any) -> Any:
    """The data in a pickle, memory-mapped or in ``io.BytesIO``.

    Raises:
        ValueError: it has more than data. Malformed ones may raise any other exception.
    """
    machine = Machine()
    for count, (opcode, argument, position) in enumerate(pickletools.genops(content)):
        if opcode.name not in STEPS or count == MAX_OPCODES:
            raise ValueError(f"opcode {count}, {opcode.name} {str(argument)[:200]}")
        STEPS[opcode.name](machine, argument)
        if machine.made > (position or 0):
            raise ValueError("more copies of its parts than it has bytes")
    if len(machine.stack) != 1 or machine.marks or content.read(1):
        raise ValueError("no object, or more than one")
    return _finish(machine.stack[0], iter(range(min(MAX_REPEATS * count, MAX_OPCODES))))


def _finish(value: Any, left: Iterator[int], depth: int = 0) -> Any:
    """The data, with arrays in the place of what stood for them until they were complete.

    Args:
        value: what the machine has made.
        left: yields once for each object that there may be.
        depth: number of objects around it.
    """
    if depth > MAX_DEPTH or next(left, None) is None:
        raise ValueError("objects that contain themselves, or each other too deep or too often")
    parts = lambda values: (_finish(part, left, depth + 1) for part in values)
    match value:
        case dict():
            return dict(zip(value, parts(value.values()), strict=True))
        case list() | tuple():
            return type(value)(parts(value))
        case Array(values=np.ndarray() as array) if array.dtype == object:
            return np.fromiter(parts(array.flat), object, array.size).reshape(array.shape)
        case Array(values=np.ndarray() as array):
            return array
    return check(value, *ATOMS)
