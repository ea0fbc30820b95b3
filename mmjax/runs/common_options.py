"""Which options the help of a command shows first."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, NamedTuple, get_type_hints

import tyro
from docstring_parser import parse

Verb = Callable[..., None]

COMMON = {
    "compare": ("task", "data", "fusions", "seeds", "out"),
    "ablate": ("task", "data", "vary", "drop", "out"),
    "tune": ("task", "data", "fusions", "trials", "out"),
    "train": ("task", "data", "method", "seeds", "out"),
    "bench": ("task", "strategies", "batch_sizes", "dtypes", "out"),
    "data": ("task", "data", "options", "encoders", "out"),
}
"""{command: the options that most users need}. The help of other commands is short."""


class _Option(NamedTuple):
    group: str  # the parameter of the command with this field, or "" if it is a parameter itself
    name: str
    kind: Any
    default: Any


def common_first(verb: Verb) -> Verb:
    """A command whose help shows its common options first, and the others in groups.

    Dataclasses among the parameters of the command are made when it is called.

    Example:
        >>> from mmjax.runs.settings import Settings
        >>> def train(settings: Settings, resume: bool = False): ...
        >>> [*inspect.signature(common_first(train)).parameters]
        ['task', 'data', 'method', 'seeds', 'more', 'settings']
    """
    options = list(_options(verb))
    named = COMMON.get(verb.__name__, [x.name for x in options if not x.group])
    first = [x for x in options if x.default is inspect.Parameter.empty]
    first += [x for name in named for x in options if x.name == name and x not in first]
    rest: dict[str, list[_Option]] = {"": []}
    for option in options:
        if option not in first:
            rest.setdefault(option.group, []).append(option)
    hints: dict[str, Any] = get_type_hints(verb)
    structs: dict[str, Any] = {n: kind for n, kind in hints.items() if is_dataclass(kind)}
    groups = {name or "more": _group(structs.get(name), some) for name, some in rest.items()}

    def run(**values: Any) -> None:
        for name in groups:
            values |= vars(values.pop(name))
        for name, kind in structs.items():
            values[name] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})
        verb(**values)

    make = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    shown = [make(x.name, default=x.default, annotation=x.kind) for x in first]
    shown += [make(name, annotation=kind) for name, kind in groups.items()]
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    run.__name__, run.__doc__ = verb.__name__, (verb.__doc__ or "").partition("\n    Args:")[0]
    return run


def _options(verb: Verb) -> Iterator[_Option]:
    """Every option, with its help."""
    hints = get_type_hints(verb, include_extras=True)
    helps = _helps(verb)
    for name, one in inspect.signature(verb).parameters.items():
        if is_dataclass(hints[name]):
            kinds, inner = get_type_hints(hints[name]), _helps(hints[name])
            for f in fields(hints[name]):
                kind = _helped(kinds[f.name], inner[f.name], f.default)
                yield _Option(name, f.name, kind, f.default)
        else:
            kind = _helped(hints[name], helps.get(name), one.default)
            yield _Option("", name, kind, one.default)


def _helps(documented: Any) -> dict[str, str]:
    found = parse(documented.__doc__ or "").params
    texts = {one.arg_name: " ".join((one.description or "").split()) for one in found}
    return {name: text[:1].upper() + text[1:] for name, text in texts.items()}


def _helped(kind: Any, text: str | None, default: Any) -> Any:
    says = "by default" in (text or "") and default is None
    hint = "" if says or default == () else None
    return Annotated[kind, tyro.conf.arg(help=text, help_behavior_hint=hint)] if text else kind


def _group(struct: type | None, options: list[_Option]) -> Any:
    about = (struct.__doc__ or "").partition("\n")[0] if struct else ""
    rows = [(x.name, x.kind, field(default=x.default)) for x in options]
    made = make_dataclass("Options", rows, namespace={"__doc__": about})
    return tyro.conf.OmitArgPrefixes[made]  # type: ignore[valid-type, misc]
