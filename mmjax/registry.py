"""Tables of members by name: mmjax's own, and those that other packages provide."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from mmjax.errors import UsageError

T = TypeVar("T")


class Table(Mapping[str, T]):
    """Members by name; mmjax's own first, then the entry points of other packages.

    A package provides a member in its metadata, such as ``[project.entry-points."mmjax.fusions"]``
    with ``mine = "package.module:MyFusion"``. It is imported on first lookup, so that the package
    itself may import mmjax.

    Args:
        group: entry-point group, such as "mmjax.fusions".
        own: mmjax's own members.

    Example:
        >>> from mmjax.fusion import FUSIONS
        >>> FUSIONS["gmu"].__name__, FUSIONS["gmu"].level
        ('GMUFusion', 'feature')
        >>> "gmu" in FUSIONS, list(FUSIONS)[:3]
        (True, ['early', 'concat', 'sum'])
    """

    def __init__(self, group: str, own: Mapping[str, T]) -> None:
        self._group, self._own = group, dict(own)

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        found = {entry.name: entry for entry in entry_points(group=self._group)}
        for name in sorted(found.keys() & self._own.keys()):
            entry = found.pop(name)
            warnings.warn(
                f"{entry.value} is ignored: {self._group} already has {name!r}.", stacklevel=2
            )
        return found

    def __getitem__(self, name: str) -> T:
        if name in self._own:
            return self._own[name]
        try:
            return self._others[name].load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # importing a package can raise anything
            entry = self._others[name]
            raise UsageError(
                f"entry point {name!r} of {self._group}",
                f"cannot import {entry.value}: {type(error).__name__}: {error}",
                fix=f"Repair or remove the package {entry.dist.name}." if entry.dist else "",
            ) from error

    def usable(self) -> tuple[str, ...]:
        """The names of all members that can be imported; warns about the others."""

        def works(name: str) -> bool:
            try:
                return self[name] is not None
            except UsageError as error:
                warnings.warn(f"Left out: {error}", stacklevel=3)
                return False

        return tuple(filter(works, self))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from sorted(self._others)

    def __len__(self) -> int:
        return len(self._own) + len(self._others)


def parse_pairs(argument: str, pairs: Sequence[str]) -> dict[str, str]:
    """Parses ``["a=1", "b=2"]`` into ``{"a": "1", "b": "2"}``.

    Raises:
        UsageError: an entry lacks a name or an equals sign, or a name is repeated.

    Example:
        >>> from mmjax.registry import parse_pairs
        >>> parse_pairs("options", ["split=speaker", "size=40"])
        {'split': 'speaker', 'size': '40'}
    """
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError(argument, expected="NAME=VALUE", got=repr(pair))
        if name in parsed:
            raise UsageError(argument, f"the name {name!r} is given more than once")
        parsed[name] = value
    return parsed
