"""Codings: how text and tables become arrays, by the kind of an input."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from mmjax.data.code_ids import TokenIds
from mmjax.data.code_table import Table
from mmjax.data.code_text import Bytes, Words
from mmjax.data.code_tokenizer import Tokenizer
from mmjax.data.coerce import as_plain
from mmjax.data.coerce_inputs import InputKind
from mmjax.data.table_columns import as_columns, has_columns, has_gaps, is_categorical
from mmjax.errors import DataError, UsageError, look_up, tell
from mmjax.types import Coding

CODINGS: Mapping[str, type[Coding]] = {
    "tokens": TokenIds,
    "bytes": Bytes,
    "words": Words,
    "tokenizer": Tokenizer,
    "table": Table,
}
"""Codings by kind; instances are kinds, too, such as ``Words(length=100)``."""


def is_coded(kind: Any) -> bool:
    """Whether a kind is a coding, or names one.

    Example:
        >>> is_coded("words"), is_coded("image")
        (True, False)
    """
    return kind in CODINGS if isinstance(kind, str) else type(kind) in CODINGS.values()


def make_coding(kind: str | Coding) -> Coding:
    """The coding that a kind is, or names.

    Example:
        >>> make_coding("tokens")
        TokenIds(vocabulary=None, length=None)
    """
    return CODINGS[kind]() if isinstance(kind, str) else kind


def find_coding(name: str, given: Any, kind: Any, present: np.ndarray) -> Coding | None:
    """The coding of an input of a kind; None if it is an array of numbers.

    Without a kind, a structured array is a table; so is a data frame if a column holds categories,
    or lacks numbers where the modality is present. That is reported.

    Args:
        name: of the input.
        given: its rows.
        kind: as in ``Task.from_arrays``, or None.
        present: [rows] bool, the rows that have the modality.

    Raises:
        UnknownNameError: there is no such kind.
        UsageError: the kind is neither a name nor a coding.

    Example:
        >>> find_coding("notes", [[7, 2], [5]], "tokens", np.ones(2, bool))
        TokenIds(vocabulary=None, length=None)
    """
    if is_coded(kind):
        return make_coding(kind)
    if isinstance(kind, str):
        look_up(f"kind of input {name!r}", kind, dict.fromkeys(get_args(InputKind)))
        return None
    if kind is not None:
        expected = f"a name, or one of {', '.join(made.__name__ for made in CODINGS.values())}"
        raise UsageError(f"kind of input {name!r}", expected=expected, got=f"{kind!r:.80}")
    if not has_columns(given):
        return None
    columns = as_columns(name, given)
    categorical = [key for key, cells in columns.items() if is_categorical(cells)]
    gaps = [key for key in columns if key not in categorical and has_gaps(columns[key], present)]
    if not categorical and not gaps and hasattr(given, "iloc"):
        return None
    of = lambda some: f" ({', '.join(some)})"[:80] if some else ""
    parts = f"{len(categorical)} columns of categories{of(categorical)} and {len(gaps)} of numbers"
    took = f"assumed a table with {parts} with gaps{of(gaps)}"
    tell(f"input {name!r}: {took}; kinds={{{name!r}: 'table'}} states it")
    return Table()


def as_rows(name: str, given: Any) -> Any:
    """What a coding reads, unless it has no rows, as a scalar has none.

    Raises:
        DataError: it has none.

    Example:
        >>> as_rows("notes", ["one", "two"])
        ['one', 'two']
    """
    rows = given if has_columns(given) else as_plain(f"input {name!r}", given)
    if rows.ndim == 0 or len(rows) == 0:
        got = "no rows" if rows.ndim else type(given).__name__
        raise DataError(f"input {name!r}", expected="one row per sample", got=got)
    return given


def describe_coding(coding: Coding) -> dict[str, Any]:
    """A coding as JSON.

    Example:
        >>> describe_coding(make_coding("tokens"))
        {'kind': 'tokens', 'vocabulary': None, 'length': None}
    """
    kind = next(kind for kind, known in CODINGS.items() if type(coding) is known)
    given: Any = coding
    return {"kind": kind, **{field.name: getattr(coding, field.name) for field in fields(given)}}


def parse_coding(about: Mapping[str, Any]) -> Coding:
    """The inverse of ``describe_coding``.

    Raises:
        TypeError, ValueError, KeyError: ``describe_coding`` did not write this.

    Example:
        >>> parse_coding(describe_coding(Words(length=4)))
        Words(length=4, most=10000)
    """
    values = {name: _freeze(value) for name, value in about.items() if name != "kind"}
    return CODINGS[about["kind"]](**values)


def _freeze(value: Any) -> Any:
    """Lists, as JSON has them, as tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value
