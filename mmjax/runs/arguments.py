"""The words of a command line before they are parsed: lists, unknown options, configurations."""

import functools
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tyro

from mmjax.errors import DataError, UsageError, closest

Verb = Callable[..., None]

PRINT_CONFIG = "--print-config"
"""Prints the configuration instead of running the command."""

_MEANT = {"dataset": "task", "epochs": "steps", "loss": "objective", "model": "fusions"}
"""{what other programs call an option: what it is called here}, where the words are unlike."""

_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
_WHOLE = ("meshes", "options", "request")  # lists whose values may have any comma


def prepare(verb: Verb, args: Sequence[str]) -> list[str]:
    """The words behind the name of a command, as its parser expects them.

    Values of a list may be separated by spaces or commas, and a list may be given in parts. What
    ``--config FILE`` says counts unless the command line says otherwise.

    Args:
        verb: the function that the command calls.
        args: words of the user.

    Raises:
        UsageError: there is no such option.
        DataError: the configuration cannot be read.

    Example:
        >>> def verb(fusions: str = "core", examine: tuple[str, ...] = (), seeds: int = 5): ...
        >>> prepare(verb, "--fusions gmu sum --seeds 3 --examine missing,cost".split())
        ['--fusions', 'gmu,sum', '--seeds', '3', '--examine', 'missing', 'cost']
    """
    kinds = dict(_options(verb))
    given: dict[str, list[str]] = {"": []}
    name = ""
    for word in args:
        if word.startswith("--"):
            flag, equals, value = word[2:].partition("=")
            name = flag.replace("_", "-")
            if name in given and not _is_list(name, kinds):  # the last value counts
                del given[name][:1]
            given.setdefault(name, []).extend([value] if equals else [])
        else:
            given[name].append(word)
    first, config = given.pop(""), given.pop("config", None)
    _check_first(first, verb)
    if config is not None:
        given = {**_read(Path(*config), kinds, verb), **given}
    for name in given:
        _check(name, kinds, verb)
    split = lambda name: _split(name, given[name], kinds.get(name))
    return first + [word for name in given for word in (f"--{name}", *split(name))]


def _options(verb: Verb) -> Iterator[tuple[str, Any]]:
    """(Name, type) of each option; positional arguments are none."""
    marked = get_type_hints(verb, include_extras=True)
    for name, kind in get_type_hints(verb).items():
        if is_dataclass(kind):
            yield from ((_dashed(n), one) for n, one in get_type_hints(kind).items())
        elif name != "return" and not _is_positional(marked[name]):
            yield _dashed(name), kind


def _is_positional(hint: Any) -> bool:
    return _POSITIONAL in getattr(hint, "__metadata__", ())


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _check(name: str, kinds: Mapping[str, Any], verb: Verb, where: str = "") -> None:
    if name.removeprefix("no-") not in {*kinds, "help"}:
        meant = _MEANT.get(name)
        meant = meant if meant in kinds else closest(name, kinds)
        fix = f"Did you mean --{meant}?" if meant else f"mmjax {verb.__name__} --help lists all."
        raise UsageError(f"{where}--{name}", f"mmjax {verb.__name__} has no such option", fix=fix)


def _check_first(words: list[str], verb: Verb) -> None:
    """Checks the words before all options; those behind one may be its values."""
    places = [*filter(_is_positional, get_type_hints(verb, include_extras=True).values())]
    if len(words) > len(places) and not any(get_origin(h.__origin__) is tuple for h in places):
        word = words[len(places)]
        problem = f"mmjax {verb.__name__} has no place for {word!r}"
        fix = f"If it is the value of an option, name the option before it: --NAME {word}."
        raise UsageError(word, problem, fix=fix)


def _is_list(name: str, kinds: Mapping[str, Any]) -> bool:
    return name == "fusions" or get_origin(kinds.get(name)) is tuple


def _split(name: str, values: list[str], kind: Any) -> list[str]:
    if name == "fusions":  # one text with commas
        return [",".join(value.strip(",") for value in values)] if values else []
    if get_origin(kind) is not tuple or name in _WHOLE:
        return values
    # In NAME=VALUE,VALUE the commas belong to the value; one before a further NAME= does not.
    comma = lambda value: r",(?=[^,=]+=)" if "=" in value else ","
    return [piece for value in values for piece in re.split(comma(value), value)]


def _read(path: Path, kinds: Mapping[str, Any], verb: Verb) -> dict[str, list[str]]:
    """The words of each option in a configuration."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(path, f"this is not TOML: {error}") from error
    given: dict[str, list[str]] = {}
    for key, value in content.items():
        name = _dashed(key)
        _check(name, kinds, verb, f"{path}: ")
        if isinstance(value, bool):
            given[name if value else f"no-{name}"] = []
        else:
            given[name] = [str(one) for one in (value if isinstance(value, list) else [value])]
    return given


def printing(verb: Verb) -> Verb:
    """A command that prints its configuration instead of running.

    Example:
        >>> def verb(seeds: int = 5, metric: str | None = None, examine: tuple[str, ...] = ()): ...
        >>> printing(verb)(seeds=3)
        seeds = 3
        # metric =
        examine = []
    """

    @functools.wraps(verb)
    def show(*args: Any, **given: Any) -> None:
        bound = inspect.signature(verb).bind(*args, **given)
        bound.apply_defaults()
        values = dict(bound.arguments)
        for one in bound.arguments.values():
            values |= vars(one) if is_dataclass(one) else {}
        for name, _ in _options(verb):
            key = name.replace("-", "_")
            print(f"# {key} =" if values[key] is None else f"{key} = {_toml(values[key])}")

    return show


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))
