"""Tables of members by name: those of mmjax, and those that other packages offer."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from mmjax.errors import UsageError

T = TypeVar("T")


class Table(Mapping[str, T]):
    """Members by name; entry points of other packages come after mmjax's own.

    A package offers a member in its metadata, such as ``[project.entry-points."mmjax.fusions"]``
    with ``mine = "package.module:MyFusion"``. It is imported when it is looked up, not before, so
    that the package itself may import mmjax.

    Args:
        group: of the entry points, such as "mmjax.fusions".
        own: mmjax's members.
    """

    def __init__(self, group: str, own: Mapping[str, T]) -> None:
        self._group, self._own = group, dict(own)

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        found = {entry.name: entry for entry in entry_points(group=self._group)}
        for name in sorted(found.keys() & self._own.keys()):
            entry = found.pop(name)
            warnings.warn(
                f"{entry.value} is not used: {self._group} has a {name!r} already.", stacklevel=2
            )
        return found

    def __getitem__(self, name: str) -> T:
        if name in self._own:
            return self._own[name]
        try:
            return self._others[name].load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a package does when it is imported
            entry = self._others[name]
            raise UsageError(
                f"entry point {name!r} of {self._group}",
                expected=f"an importable {entry.value}",
                got=f"{type(error).__name__}: {error}",
                fix=f"Repair or remove the package {entry.dist.name if entry.dist else ''}.",
            ) from error

    def usable(self) -> tuple[str, ...]:
        """The names of all members that can be imported; warns of those that cannot."""

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
    """``["a=1", "b=2"]`` as ``{"a": "1", "b": "2"}``.

    Raises:
        UsageError: an entry has no name or no equals sign, or a name comes twice.
    """
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError(argument, expected="NAME=VALUE", got=repr(pair))
        if name in parsed:
            raise UsageError(argument, expected="each name once", got=" ".join(pairs))
        parsed[name] = value
    return parsed
