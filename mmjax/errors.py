"""The exceptions that mmjax raises on purpose.

Every message says where the fault is, what was expected, what came, and what to do.
"""

import difflib
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class MmjaxError(Exception):
    """Base of every error that mmjax raises on purpose.

    Attributes:
        exit_code: what a command ends with; 2 where it was asked for what cannot be, as is usual.
    """

    exit_code = 2


class DataError(MmjaxError, ValueError):
    """A file or an array is not what its format or its task promises."""

    def __init__(self, where: object, *, expected: str, got: str, fix: str = "") -> None:
        super().__init__(printable(_message(where, expected, got, fix)))


class UsageError(MmjaxError, ValueError):
    """An argument has a value that cannot work."""

    def __init__(self, argument: str, *, expected: str, got: str, fix: str = "") -> None:
        super().__init__(printable(_message(argument, expected, got, fix)))


class BuildError(MmjaxError, RuntimeError):
    """A program that this machine must compile for itself does not come about."""

    def __init__(self, what: str, *, expected: str, got: str, fix: str = "") -> None:
        super().__init__(_message(what, expected, got, fix))


class DivergenceError(MmjaxError, ArithmeticError):
    """Losses or gradients have not been finite for too many steps in a row."""

    exit_code = 1

    def __init__(self, where: object, *, expected: str, got: str, fix: str = "") -> None:
        super().__init__(_message(where, expected, got, fix))


class FailedArmsError(MmjaxError, RuntimeError):
    """Some arms of a comparison have failed; the others are done."""

    exit_code = 1


class FailedTrialsError(MmjaxError, RuntimeError):
    """No trial of a search could be trained to its end."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    It is no ``Exception``, so that what handles the failure of a part does not handle this.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"ended by signal {signal}")
        self.signal = signal


class UnknownNameError(UsageError, KeyError):
    """A name is in none of the tables; the message proposes the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        fix = f"Did you mean {near[0]!r}?" if near else ""
        expected = f"one of {', '.join(known)}" if known else "none"
        super().__init__(kind, expected=expected, got=repr(name), fix=fix)

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return self.args[0]


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table, or an UnknownNameError."""
    if name not in table:
        raise UnknownNameError(kind, name, table)
    return table[name]


def import_extra(argument: str, package: str, extra: str) -> ModuleType:
    """A package, or a module of one, that does not come with mmjax unasked.

    Args:
        argument: what asks for it.
        package: its name.
        extra: the extra of mmjax that installs it.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            argument,
            expected=f"the package {package}",
            got=str(error),
            fix=f'Install it by `pip install "mmjax[{extra}]"`.',
        ) from error


def tell(assumed: str) -> None:
    """Says on stderr, in one line, what was assumed of data and how to say otherwise."""
    print(f"mmjax: {printable(assumed)}", file=sys.stderr)


def name_rows(bad: Any, ids: Any = None) -> str:
    """How many rows are bad, and the first of them, for an error.

    Args:
        bad: [rows] bool array.
        ids: [rows] of what the user calls them, if that is not their number from 0.
    """
    first = int(bad.argmax())
    name = "" if ids is None else f", id {ids[first]}"
    return f"{int(bad.sum())} rows, first in row {first}{name}"


def printable(text: str, keep: str = "") -> str:
    """The text with escapes for what a terminal would obey: newlines, colour codes and the like.

    Args:
        text: any, bytes of file names that are not UTF-8 included.
        keep: characters that stay as they are, such as newlines.
    """
    escape = lambda character: character.encode("unicode_escape").decode()
    return "".join(c if c.isprintable() or c in keep else escape(c) for c in text)


def _message(where: object, expected: str, got: str, fix: str) -> str:
    got = got.removesuffix(".")  # of another error
    return f"{where}: expected {expected}, got {got}." + (f" {fix}" if fix else "")
