"""The stack machine that pickles are programs for, with the opcodes that build data."""

from collections.abc import Callable, Mapping
from typing import Any

from mmjax.tasks.readers.pickle_calls import CALLS, Array, Call, DType

MAX_OPCODES = 1 << 24
"""Of one pickle: each may take a hundred bytes of memory."""


class Machine:
    """The stack above the last mark, the stacks below it, and the memo.

    Attributes:
        made: characters, bytes and elements of arrays that are copies of what the pickle has.
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
        return check(self.stack.pop(), *kinds or (object,))

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
        keys = [check(key, str) for key in items[::2]]
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
        if index not in self.memo:
            raise ValueError("a reference to nothing")
        self.push(self.memo[index])

    def find(self, name: str | None) -> None:
        name = ".".join([check(part, str) for part in self.pop_many(2)]) if name is None else name
        name = name.replace(" ", ".")
        if name not in CALLS:
            raise ValueError(f"it would import {name[:200]}")
        self.push(CALLS[name])

    def reduce(self, _: None) -> None:
        arguments = self.pop(tuple)
        value = self.pop(Call).make(*arguments)
        self.count_copies(value, *arguments)
        self.push(value)

    def build(self, _: None) -> None:
        state = self.pop(tuple)
        self.top(Array, DType).build(state)
        self.count_copies(None, *state)

    def count_copies(self, value: Any, *sources: Any) -> None:
        """Adds text or bytes that were made, and lists of objects of which arrays were."""
        self.made += len(value) if isinstance(value, str | bytes) else 0
        self.made += sum(len(source) for source in sources if isinstance(source, list))


def check(value: Any, *kinds: type) -> Any:
    """The value; raises ValueError unless it is of one of these kinds."""
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{type(value).__name__} where {names} belongs")
    return value


_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("STRING", "SHORT_BINSTRING", "BINSTRING"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
STEPS: Mapping[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(_PUSHED, Machine.push),
    "NONE": Machine.push,  # genops has None as its argument
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": Machine.mark,
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
    "DICT": Machine.make_dict,
    "SETITEM": lambda machine, _: machine.update(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_marked()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), Machine.find),
    "REDUCE": Machine.reduce,
    "BUILD": Machine.build,
}
"""What the opcodes that build data do, given what follows them in the pickle."""
