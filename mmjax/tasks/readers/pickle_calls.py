"""What a pickle of data may call: functions of this file, in the place of NumPy's."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_CODE = re.compile(r"[biuf][1248]|O8?|[SU]\d{1,9}")
_MAX_SIDE, _MAX_NDIM = 1 << 48, 32
_Order = Literal["C", "F"]
_ORDERS: Mapping[str, _Order] = {"C": "C", "F": "F", "K": "C"}  # with axes, the last of them


@dataclass
class DType:
    """A dtype, whose byte order comes after it."""

    code: str
    order: str = "|"

    def build(self, state: tuple[Any, ...]) -> None:
        """Takes the state that NumPy writes."""
        _, order, subarray, names, fields, _, _, _ = state
        if order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None, None, None):
            raise ValueError("an array of records")
        self.order = order


@dataclass
class Array:
    """An array, whose values come after it."""

    values: np.ndarray | None = None

    def build(self, state: tuple[Any, ...]) -> None:
        """Takes the state that NumPy writes."""
        _, shape, dtype, by_column, content = state
        if self.values is not None:
            raise ValueError("an array with values twice")
        self.values = _fill(content, dtype, shape, "F" if by_column else "C")


@dataclass(frozen=True)
class Call:
    """What stands for a name in a pickle."""

    make: Callable[..., Any]


def _fill(content: Any, dtype: DType, shape: tuple[int, ...], order: _Order) -> np.ndarray:
    """The array of bytes in memory, of which nothing is copied, or of a list of objects."""
    kind = np.dtype(dtype.order + dtype.code)
    sound = all(isinstance(side, int) and 0 <= side <= _MAX_SIDE for side in shape[:_MAX_NDIM])
    if not sound or len(shape) > _MAX_NDIM or kind.itemsize == 0:
        raise ValueError("an array of an impossible shape or dtype")
    size, is_list = math.prod(shape), isinstance(content, list)
    if kind.hasobject != is_list:
        raise ValueError("an array of objects without a list of them")
    if isinstance(content, str):  # of Python 2
        content = content.encode("latin-1")
    held, needed = len(content), size if is_list else size * kind.itemsize
    if held != needed:
        raise ValueError(f"an array of shape {shape} in {held} bytes or objects")
    if is_list:
        return np.fromiter(content, object, size).reshape(shape)  # by row, whatever the order
    flat = np.frombuffer(content, kind) if size else np.empty(0, kind)
    return flat.reshape(shape, order=order)


def _make_dtype(code: str, align: Any, copy: Any) -> DType:
    if not _CODE.fullmatch(code):
        raise ValueError(f"an array of dtype {code[:99]}")
    return DType(code)


def _make_array(
    content: Any, dtype: DType, shape: tuple[int, ...], order: str, axes: Any = None
) -> Array:
    values = _fill(content, dtype, shape, _ORDERS[order])
    return Array(values if axes is None else values.transpose(axes))


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in another encoding than latin-1")
    return text.encode("latin-1")


def _refuse(*_: Any) -> None:
    raise ValueError("a call of numpy.ndarray")


_NUMPY = {
    "multiarray._reconstruct": Call(lambda kind, shape, code: Array()),
    "multiarray.scalar": Call(lambda dtype, content: _fill(content, dtype, (), "C").item()),
    "numeric._frombuffer": Call(_make_array),
}
CALLS: Mapping[str, Call] = {
    **{f"numpy.{core}.{name}": call for core in ("core", "_core") for name, call in _NUMPY.items()},
    "numpy.dtype": Call(_make_dtype),
    "numpy.ndarray": Call(_refuse),
    "_codecs.encode": Call(_encode),
    "builtins.bytes": Call(lambda: b""),
    "__builtin__.bytes": Call(lambda: b""),
}
"""The calls by the module and name in the pickle; protocols below 3 have bytes as encoded text."""
