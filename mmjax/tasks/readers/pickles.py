"""Reads pickles of plain data without unpickling: nothing that a file names is imported or called.

A pickle is a program for a stack machine. The interpreter here executes the opcodes that build
data. What the program would call is looked up in the fixed table of ``pickle_calls``; any other
name is refused.
"""

import mmap
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.storage.reading import reading
from mmjax.tasks.readers.formats import MAX_MAPPED
from mmjax.tasks.readers.pickle_calls import CALLS, Array, Call, DType

MAX_OPCODES = 1 << 24
"""Of one pickle: each may take a hundred bytes of memory."""
MAX_DEPTH = 16
"""Of dictionaries, lists, tuples and arrays of objects in each other."""

ATOMS = (str, bytes, bytearray, int, float, type(None))
_FIX = "If you trust whoever wrote it, unpickle it elsewhere, and save its arrays by numpy.savez."


def read_pickle(path: str | Path) -> Any:
    """The data in a pickle of any protocol, without executing what else it may contain.

    Data are dictionaries with text as keys, lists, tuples, text, bytes, numbers, True, False and
    None, and NumPy arrays and scalars of booleans, integers, floats, text or bytes; also arrays of
    objects that are data. A list, dictionary, tuple or array of objects in two places is refused:
    data that contain themselves have no end.

    Reference: Bassi and others, pickletools: tools for pickle developers (Python's standard
    library); Pitrou, Pickle protocol 5 with out-of-band data (PEP 574, 2018), for NumPy's calls.

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
    machine = _Machine()
    for count, (opcode, argument, position) in enumerate(pickletools.genops(content)):
        if opcode.name not in _STEPS or count == MAX_OPCODES:
            raise ValueError(f"opcode {count}, {opcode.name} {str(argument)[:200]}")
        _STEPS[opcode.name](machine, argument)
        if machine.made > (position or 0):
            raise ValueError("bytes from the same text again and again")
    if len(machine.stack) != 1 or machine.marks or content.read(1):
        raise ValueError("more than one object")
    return _finish(machine.stack[0])


class _Machine:
    """The stack above the last mark, the stacks below it, and the memo.

    Attributes:
        made: characters and bytes that were not in the pickle as they are.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.made = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, *kinds: type) -> Any:
        if not self.stack:
            raise ValueError("an opcode that lacks its operand")
        return _check(self.stack.pop(), *kinds or (object,))

    def top(self, *kinds: type) -> Any:
        self.push(value := self.pop(*kinds))
        return value

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def mark(self, _: None) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_marked(self) -> list[Any]:
        if not self.marks:
            raise ValueError("an opcode that lacks its mark")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        keys = [_check(key, str) for key in items[::2]]
        self.top(dict).update(zip(keys, items[1::2], strict=True))

    def make_dict(self, _: None) -> None:
        items = self.pop_marked()
        self.push({})
        self.update(items)

    def put(self, index: int | None) -> None:
        index = len(self.memo) if index is None else index
        if index >= MAX_OPCODES:  # larger ones may collide in the memo
            raise ValueError("a memo of that size")
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Pushes once more what contains nothing else, so that nothing contains itself."""
        value = self.memo.get(index, ...)
        made = value.values if isinstance(value, Array) else None
        shared = (made is not None and made.dtype != object) or isinstance(
            value, (*ATOMS, DType, Call)
        )
        if not shared:
            raise ValueError("a reference to nothing, or to what has another place already")
        self.push(value)

    def find(self, name: str | None) -> None:
        name = ".".join([_check(part, str) for part in self.pop_many(2)]) if name is None else name
        name = name.replace(" ", ".")
        if name not in CALLS:
            raise ValueError(f"it would import {name[:200]}")
        self.push(CALLS[name])

    def reduce(self, _: None) -> None:
        arguments = self.pop(tuple)
        value = self.pop(Call).make(*arguments)
        self.made += len(value) if isinstance(value, str | bytes) else 0
        self.push(value)

    def build(self, _: None) -> None:
        state = self.pop(tuple)
        self.top(Array, DType).build(state)


def _check(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{type(value).__name__} where {names} belongs")
    return value


def _finish(value: Any, depth: int = 0) -> Any:
    """The data, with arrays in the place of what stood for them until they were complete."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} objects in each other")
    parts = lambda values: (_finish(part, depth + 1) for part in values)
    match value:
        case dict():
            return dict(zip(value, parts(value.values()), strict=True))
        case list() | tuple():
            return type(value)(parts(value))
        case Array(values=np.ndarray() as array) if array.dtype == object:
            return np.fromiter(parts(array.flat), object, array.size).reshape(array.shape)
        case Array(values=np.ndarray() as array):
            return array
    return _check(value, *ATOMS)


_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("STRING", "SHORT_BINSTRING", "BINSTRING"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(_PUSHED, _Machine.push),
    "NONE": _Machine.push,  # genops has None as its argument
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.pop_marked()),
    "APPEND": lambda machine, _: machine.extend(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_marked()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": _Machine.make_dict,
    "SETITEM": lambda machine, _: machine.update(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_marked()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Machine.find),
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
"""What the opcodes that build data do, given what follows them in the pickle."""
