"""What the variants of an ablation change, each factor by its name.

``modalities``
    those that are used, as ``audio+image``
``train``
    share of the training rows; a smaller share is part of a larger one
``missing.M``
    share of the training rows that lack modality M
``fusion``, ``fusion.FIELD``
    the fusion, and its fields, such as ``width``; the short ``FIELD`` serves where a recipe has
    no such field
``encoders.M``, ``encoders.M.FIELD``
    the encoder of modality M, and its fields
``method``, ``method.FIELD``
    the training method, and its fields
``objective``, ``optimizer``
    the loss; an Optax optimiser
``augment.M``
    augmentations of modality M, as ``crop+flip``, or ``none``
others
    fields of ``Recipe`` and ``Adam``, such as ``batch_size``, ``dropout`` and ``learning_rate``
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, NoReturn

from mmjax.data.missing import lose
from mmjax.data.shares import take_share
from mmjax.data.task import Task
from mmjax.errors import UnknownNameError, UsageError, look_up
from mmjax.layers.components import removable, remove, with_fields
from mmjax.model import MultimodalModel
from mmjax.registry import AUGMENTATIONS, ENCODERS, FUSIONS, METHODS, OBJECTIVES
from mmjax.training.augment import make_augmentations
from mmjax.training.class_weights import make_class_weights, name_class_weights
from mmjax.training.optimiser import Adam, make_optimiser
from mmjax.training.recipe import FusionLike, Recipe, adam_of, make_model, name_member
from mmjax.types import Method, Objective

REMOVE = "-"
"""Precedes the name of a component that a variant lacks; the value is then ``True``."""

_ADAM = tuple(one.name for one in fields(Adam))
_RECIPE = tuple(
    f.name for f in fields(Recipe) if f.name not in ("model", "augment", "seeds", "tx", "joined")
)
_TABLES: Mapping[str, Mapping[str, Any]] = {
    "fusion": FUSIONS,
    "method": METHODS,
    "objective": OBJECTIVES,
    "optimizer": {},
}
_NOT_OF_FUSION = (*_RECIPE, *_ADAM, *_TABLES, "modalities", "train", "absent")

ObjectiveLike = str | Objective
"""An objective by name, or a function ``(outputs, batch) -> (loss, {metric: value})``."""

MethodLike = str | type | Method
"""A training method by name, as a class or as an instance."""


class Named(NamedTuple):
    """A value with a name of its own, such as an optimiser.

    Example:
        >>> word("optimizer", Named("sgd", object()))
        'sgd'
    """

    name: str
    value: Any


@dataclass(frozen=True)
class Variant:
    """A strategy, and what is changed of it.

    Attributes:
        strategy: a name without choices, or a fusion.
        changes: {factor: value}, where the value of a text is read as the factor needs it.

    Example:
        >>> Variant("gmu", {"width": 32, "method": "ogm_ge", "-gate": True}).name
        'gmu:width=32+ogm_ge+-gate'
    """

    strategy: FusionLike
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the strategy, as ``parse_strategy`` reads it."""
        known = isinstance(self.strategy, str)
        name = self.strategy if known else name_member(self.strategy, FUSIONS)
        pieces = [_piece(factor, value) for factor, value in self.changes.items()]
        return f"{name}:{'+'.join(pieces)}" if pieces else str(name)


def _piece(factor: str, value: Any) -> str:
    if factor in ("method", "objective"):
        return word(factor, value)
    if factor.startswith(REMOVE):
        return factor
    return f"{is_encoder(factor) or factor}={word(factor, value)}"


def word(factor: str, value: Any) -> str:
    """A value of a factor in the names of strategies and in tables.

    Example:
        >>> word("learning_rate", 3e-3), word("dropout", None), word("encoders.a.features", (8, 16))
        ('0.003', 'none', '8x16')
    """
    if isinstance(value, Named):
        return value.name
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        joined = "x" if all(isinstance(one, int) for one in value) else "+"
        return joined.join(word(factor, one) for one in value)
    if isinstance(value, float):
        return f"{value:.12g}"
    table = AUGMENTATIONS if factor.startswith("augment.") else ENCODERS
    return name_member(value, _TABLES.get(factor, table))


def change_data(task: Task, changes: Mapping[str, Any]) -> Task:
    """The task with other modalities, fewer training rows, or modalities missing from some.

    Raises:
        UnknownNameError: the task has no such modality.
        UsageError: a share is out of range, or the task has folds.
    """
    value = changes.get("modalities", task.modalities)
    named = value.split("+") if isinstance(value, str) else list(value)
    for name in named:
        look_up("modality", name, task.shapes)
    kept = [name for name in named if REMOVE + name not in changes]
    if not kept or len(set(kept)) < len(kept):
        got = "+".join(kept) or f"none of {'+'.join(named)}"
        raise UsageError("modalities", expected="one or more, each once", got=got)
    missing = {
        name.partition(".")[2]: float(value)
        for name, value in changes.items()
        if name.startswith("missing.")
    }
    if task.folds and (missing or "train" in changes):
        problem = "standardisation inside the folds has already seen all training rows"
        fix = "Leave out folds, or the share of rows."
        raise UsageError("train" if "train" in changes else "missing", problem, fix=fix)
    task = take_share(task, float(changes.get("train", 1)))
    return (lose(task, missing) if missing else task).only(*kept)


def change_model(model: MultimodalModel, task: Task, changes: Mapping[str, Any]) -> MultimodalModel:
    """The model with other fields of its fusion and encoders.

    Raises:
        UnknownNameError: there is no such field.
        UsageError: a text cannot be read as a value of its field.
    """
    fusion, encoders = model.fusion, dict(model.encoders)
    for factor, value in changes.items():
        kind, *path = factor.split(".")
        if kind == "encoders" and len(path) == 2:
            look_up("modality of an encoder", path[0], encoders)
            encoders[path[0]] = _set(encoders[path[0]], path[1], value, factor)
        elif own := _fusion_field(factor):
            if own == factor and not hasattr(fusion, own):
                raise UnknownNameError("factor", factor, known_factors(task, fusion))
            fusion = _set(fusion, own, value, factor)
    same = fusion is model.fusion and all(e is model.encoders[n] for n, e in encoders.items())
    return model if same else make_model(task, fusion, encoders, model.absent)


def is_shared(factor: str) -> bool:
    """Whether a factor without a dot is not a field of the fusion.

    Example:
        >>> is_shared("learning_rate"), is_shared("width")
        (True, False)
    """
    return factor in _NOT_OF_FUSION


def is_encoder(factor: str) -> str:
    """The modality whose encoder a factor is, or "".

    Example:
        >>> is_encoder("encoders.audio"), is_encoder("width")
        ('audio', '')
    """
    kind, _, name = factor.partition(".")
    return name if kind == "encoders" and "." not in name else ""


def known_factors(task: Task, fusion: Any) -> list[str]:
    """The names of what can be varied, except for fields of encoders and of the method."""
    own = [name for name in field_names(fusion) if name not in _RECIPE]
    of_each = [f"{kind}.{n}" for kind in ("encoders", "augment", "missing") for n in task.shapes]
    return list(dict.fromkeys([*own, *_NOT_OF_FUSION, *of_each]))


def field_names(member: Any) -> list[str]:
    """The hyperparameters of a module or a method.

    Example:
        >>> from mmjax.fusion import SumFusion
        >>> field_names(SumFusion(out_dim=3))
        ['width', 'dropout']
    """
    return [f.name for f in fields(member) if f.name not in ("parent", "name", "out_dim")]


def _refuse_field(member: Any, name: str) -> NoReturn:
    kind, known = type(member).__name__, field_names(member)
    if not known:
        raise UsageError(f"field {name}", f"{kind} has no fields that can be varied")
    raise UnknownNameError(f"field of {kind}", name, known)


def _fusion_field(factor: str) -> str | None:
    """The field of the fusion that a factor stands for, if it does."""
    kind, _, name = factor.partition(".")
    if kind == "fusion" and name:
        return name
    return None if name or factor in _NOT_OF_FUSION or factor.startswith(REMOVE) else factor


def _set(member: Any, name: str, value: Any, factor: str) -> Any:
    """A module or method with another value of a field."""
    if name not in field_names(member):
        _refuse_field(member, name)
    value = read_value(factor, value, getattr(member, name))
    heads = getattr(member, "num_heads", 1)
    sizes = value if isinstance(value, tuple) else (value,)
    if name in ("width", "widths", "num_heads") and any(size < 1 for size in sizes):
        raise UsageError(factor, expected="at least 1", got=str(value))
    if name == "width" and value % heads:
        raise UsageError(factor, expected=f"a multiple of its {heads} heads", got=str(value))
    return with_fields(member, {name: value})


def change_recipe(recipe: Recipe, task: Task, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with another method, objective, optimiser, other numbers, or fewer components."""
    given: dict[str, Any] = {}
    if "method" in changes:
        given["method"] = find_method(changes["method"])
    if "objective" in changes:
        given["objective"] = find_objective(changes["objective"])
    if REMOVE + "dropout" in changes:
        given["dropout"] = 0.0
    for factor, value in changes.items():
        kind, _, name = factor.partition(".")
        if kind == "augment":
            look_up("modality of augment", name, task.shapes)
            augment = {n: one for n, one in recipe.augment.items() if n != name}
            names = value.split("+") if isinstance(value, str) else value
            more = {} if names in (None, (), ["none"]) else make_augmentations(task, {name: names})
            given["augment"] = {**augment, **more}
        elif kind == "method" and name:
            method = given.get("method", recipe.method)
            given["method"] = _set(method, name, value, factor)
        elif factor in _RECIPE and factor not in given:
            like = getattr(recipe, factor)
            rate = factor in ("dropout", "mixup") and like is None
            given[factor] = read_value(factor, value, 0.0 if rate else like)
    if "class_weights" in changes:
        words = name_class_weights(task, None if (w := given["class_weights"]) == "none" else w)
        given["class_weights"] = make_class_weights(task, words)
    steps = given.get("steps", recipe.steps)
    tx = make_optimiser(changes["optimizer"], steps) if "optimizer" in changes else recipe.tx
    if rates := {name: changes[name] for name in _ADAM if name in changes}:
        tx = adam_of(replace(recipe, tx=tx))
        tx = replace(tx, **{n: read_value(n, v, getattr(tx, n)) for n, v in rates.items()})
    recipe = replace(recipe, tx=tx, **given)
    for factor in changes:
        if factor.startswith(REMOVE) and factor != f"{REMOVE}dropout":
            recipe = _remove(recipe, task, factor[1:])
    return recipe


def _remove(recipe: Recipe, task: Task, name: str) -> Recipe:
    """The recipe without a component, which its fusion, encoders or method have."""
    if name not in components(recipe):
        raise UnknownNameError("component", name, {*components(recipe), "dropout", *task.shapes})
    less = lambda member: remove(member, name) if name in removable(member) else member
    model = recipe.model
    encoders = {modality: less(encoder) for modality, encoder in model.encoders.items()}
    model = make_model(task, less(model.fusion), encoders, model.absent)
    return replace(recipe, model=model, method=less(recipe.method))


def components(recipe: Recipe) -> list[str]:
    """What the fusion, the encoders and the method declare as ``removable``.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> components(Recipe(make_model(synthetic(size=60), "bottleneck")))
        ['positions', 'bottleneck']
    """
    members = recipe.model.fusion, *recipe.model.encoders.values(), recipe.method
    return list(dict.fromkeys(name for member in members for name in removable(member)))


def read_value(factor: str, value: Any, like: Any) -> Any:
    """A value as the factor needs it: text is read as a value like the one that it replaces.

    Raises:
        UsageError: the text cannot be read so.

    Example:
        >>> read_value("width", "32", 64), read_value("dropout", "0.5", None)
        (32, 0.5)
        >>> read_value("encoders.image.features", "8x16", (16, 32))
        (8, 16)
    """
    if isinstance(like, float) and type(value) is int:
        return float(value)
    if type(like) is int and isinstance(value, float):
        raise UsageError(factor, expected=f"a whole number such as {like}", got=f"{value}")
    named = factor in (*_TABLES, "modalities", "class_weights") or factor.startswith("augment.")
    if not isinstance(value, str) or isinstance(like, str) or named or is_encoder(factor):
        return value
    if value == "none":
        return None
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(like, tuple):
            return tuple(ast.literal_eval(one) for one in value.split("x"))
        read = ast.literal_eval(value)
        if isinstance(like, int) and not isinstance(read, int):
            raise TypeError
        return float(read) if isinstance(like, float) else read
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        expected = f"a value such as {word(factor, like)}"
        raise UsageError(factor, expected=expected, got=repr(value)) from error


def current(recipe: Recipe, task: Task, changes: Mapping[str, Any], factor: str) -> Any:
    """The value of a factor in a recipe, the task that it is for, and the changes made to it.

    Raises:
        UnknownNameError: there is no such factor.
    """
    kind, *path = factor.split(".")
    model = recipe.model
    if factor == "modalities":
        return task.modalities
    if kind in ("train", "missing"):
        return float(changes.get(factor, kind == "train"))
    if factor == "absent":
        return model.absent
    if factor == "fusion":
        return model.fusion
    if factor == "optimizer":
        return recipe.tx
    if kind == "augment" and path:
        return recipe.augment.get(path[0], ())
    if factor in _ADAM:
        return getattr(adam_of(recipe), factor)
    if factor in (*_RECIPE, *_TABLES):
        return getattr(recipe, factor)
    member = {"encoders": model.encoders, "method": recipe.method}.get(kind, model.fusion)
    if kind == "encoders" and path:
        member = look_up("modality of an encoder", path.pop(0), model.encoders)
        if not path:
            return member
    name = path[0] if path else kind
    if name not in field_names(member):
        if path and kind in ("encoders", "method", "fusion"):
            _refuse_field(member, name)
        raise UnknownNameError("factor", factor, known_factors(task, model.fusion))
    return getattr(member, name)


def find_objective(objective: ObjectiveLike) -> Objective:
    """The objective of a name, or itself.

    Raises:
        UnknownNameError: there is no such objective.
        UsageError: it is no function.

    Example:
        >>> find_objective("focal").__name__
        'focal'
    """
    if isinstance(objective, str):
        return look_up("objective", objective, OBJECTIVES)
    if not callable(objective):
        expected = "a name, or a function (outputs, batch) -> (loss, {metric: value})"
        raise UsageError("objective", expected=expected, got=f"{objective!r:.80}")
    return objective


def find_method(method: MethodLike) -> Method:
    """The training method of a name or a class, or itself.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: it is none.

    Example:
        >>> type(find_method("ogm_ge")).__name__
        'OGMGE'
    """
    found = look_up("method", method, METHODS) if isinstance(method, str) else method
    made = found() if isinstance(found, type) else found
    if not all(hasattr(made, name) for name in ("gradient", "prepare", "counts_steps")):
        expected = "a name, a Method or a class of one"
        raise UsageError("method", expected=expected, got=f"{method!r:.80}")
    return made
