"""The exceptions that mmjax raises on purpose.

Every message says where the fault is, what is wrong, and what to do.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class MmjaxError(Exception):
    """Base of every error that mmjax raises on purpose.

    The message reads ``where: expected X, got Y. What to do.``, or gives the problem in a sentence
    of its own: ``where: the problem. What to do.``

    Args:
        where: the argument, file or part at fault; on its own, the whole message.
        problem: what is wrong, where that is clearer than ``expected`` and ``got``.
        expected: what was expected.
        got: what came instead.
        fix: what to do, as a sentence.

    Attributes:
        exit_code: exit status of a command that ends with this error; 2, as is usual for misuse.

    Example:
        >>> from mmjax.errors import UsageError
        >>> raise UsageError("folds", expected="at least 2", got="1")
        Traceback (most recent call last):
            ...
        mmjax.errors.UsageError: folds: expected at least 2, got 1.
        >>> raise UsageError("fusion", "the method stacking requires the fusion stacking")
        Traceback (most recent call last):
            ...
        mmjax.errors.UsageError: fusion: the method stacking requires the fusion stacking.
    """

    exit_code = 2
    _one_line = False  # whether it quotes data or arguments, whose control characters are escaped

    def __init__(
        self, where: object, problem: str = "", *, expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        problem = f"expected {expected}, got {got}" if expected else problem
        message = f"{where}: {problem.removesuffix('.')}." if problem else str(where)
        message = f"{message} {fix}" if fix else message
        super().__init__(printable(message) if self._one_line else message)


class DataError(MmjaxError, ValueError):
    """A file or an array violates its format or its task's specification."""

    _one_line = True


class UsageError(MmjaxError, ValueError):
    """An argument has an invalid value."""

    _one_line = True


class BuildError(MmjaxError, RuntimeError):
    """A library that must be compiled on this machine could not be built."""


class DivergenceError(MmjaxError, ArithmeticError):
    """Losses or gradients have been non-finite for too many consecutive steps."""

    exit_code = 1


class FailedArmsError(MmjaxError, RuntimeError):
    """Some arms of a comparison failed; the others have completed."""

    exit_code = 1


class FailedTrialsError(MmjaxError, RuntimeError):
    """No trial of a search could be completed."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop.

    It is not an ``Exception``, so that code which handles failures of a part does not catch it.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"ended by signal {signal}")
        self.signal = signal


class UnknownNameError(UsageError, KeyError):
    """A name is in none of the tables; the message suggests the closest match.

    Example:
        >>> from mmjax.errors import look_up
        >>> look_up("task", "digit", {"digits": 1, "mnist": 2})
        Traceback (most recent call last):
            ...
        mmjax.errors.UnknownNameError: task: expected one of digits, mnist, got 'digit'. Did you
            mean 'digits'?
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = closest(name, known)
        fix = f"Did you mean {near!r}?" if near else ""
        # With a suggestion at hand, nobody reads seventy names.
        names = f"{len(known)} names" if near and len(known) > 20 else ", ".join(known)
        expected = f"one of {names}" if known else "none"
        super().__init__(kind, expected=expected, got=repr(name), fix=fix)

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return self.args[0]


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, or that it abbreviates; empty if there is none.

    Example:
        >>> from mmjax.errors import closest
        >>> closest("fusion", ["fusions", "seeds"]), closest("lr", ["learning-rate", "seeds"])
        ('fusions', 'learning-rate')
        >>> closest("gum", ["gmu", "sum"])
        'gmu'
    """
    known = list(known)
    swapped = [other for other in known if sorted(other) == sorted(name)]
    initials = lambda long: "".join(word[:1] for word in re.split("[_-]", long))
    near = swapped or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    near = near or [long for long in known if initials(long) == name]
    return near[0] if near else ""


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table.

    Raises:
        UnknownNameError: the table has no such entry.

    Example:
        >>> look_up("fusion", "sum", {"sum": 1, "mean": 2})
        1
    """
    if name not in table:
        raise UnknownNameError(kind, name, table)
    return table[name]


def import_extra(argument: str, package: str, extra: str) -> ModuleType:
    """Imports a package, or a module of one, that mmjax installs only as an extra.

    Args:
        argument: the argument that requires it.
        package: its name.
        extra: the extra of mmjax that installs it.

    Raises:
        UsageError: it is not installed.

    Example:
        >>> import_extra("track", "json", "track").__name__
        'json'
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            argument,
            f"requires the package {package}, which cannot be imported: {error}",
            fix=f'Install it with `pip install "mmjax[{extra}]"`.',
        ) from error


def tell(assumed: str) -> None:
    """Reports on stderr, in one line, an assumption about the data and how to override it.

    Example:
        >>> tell("target: whole numbers are treated as classes")  # on stderr
    """
    print(f"mmjax: {printable(assumed)}", file=sys.stderr)


def name_rows(bad: Any, ids: Any = None) -> str:
    """The bad row, or the number of bad rows and the first of them, for an error message.

    Args:
        bad: [rows] bool array.
        ids: [rows] identifiers known to the user, if not the row numbers.

    Example:
        >>> import numpy as np
        >>> name_rows(np.array([False, True, True]), ids=["a", "b", "c"])
        '2 rows, first in row 1, id b'
        >>> name_rows(np.array([False, True, False]))
        'row 1'
    """
    first = int(bad.argmax())
    name = "" if ids is None else f", id {ids[first]}"
    many = "" if bad.sum() == 1 else f"{int(bad.sum())} rows, first in "
    return f"{many}row {first}{name}"


def printable(text: str, keep: str = "") -> str:
    r"""Escapes what a terminal would interpret: newlines, colours and other control characters.

    Args:
        text: any text, including bytes of file names that are not UTF-8.
        keep: characters to leave as they are, such as newlines.

    Example:
        >>> print(printable("two" + chr(10) + "lines"))
        two\nlines
    """
    escape = lambda character: character.encode("unicode_escape").decode()
    return "".join(c if c.isprintable() or c in keep else escape(c) for c in text)
