"""Arms: the entries of a comparison, built from the names of strategies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.comparison.cell_search import search_steps
from mmjax.comparison.factors import (
    REMOVE,
    Named,
    Variant,
    change_data,
    change_model,
    change_recipe,
    is_encoder,
)
from mmjax.comparison.frozen import EncodedTask, FrozenEncoders
from mmjax.comparison.tuning import tune_steps
from mmjax.data.task import Fold, Task
from mmjax.errors import UnknownNameError, UsageError, look_up
from mmjax.registry import CORE, FUSIONS, METHODS, OBJECTIVES, parse_strategy
from mmjax.training.class_weights import check_balance
from mmjax.training.recipe import EncoderLike, FusionLike, Recipe, make_model, name_member
from mmjax.training.sizes import match_params, set_num_layers, set_width
from mmjax.training.step import init_params, make_forward
from mmjax.types import Batch, Objective, Outputs

StrategyLike = FusionLike | Variant
"""A strategy by name, a fusion as a class or a module, or one of them with changes."""


@dataclass(frozen=True)
class Arm:
    """One entry of a comparison.

    Attributes:
        strategy: its name.
        recipe: how it is trained.
        task: the data, restricted to the modalities that it uses.
        trials: number of trial runs that select its learning rate, weight decay and width on
            validation; 0 for none.
        search_seconds: wall time of the search for its cells or hyperparameters.
        parts: the arms of the folds of its task, if it has any, which are trained in its place.
        fold: which fold of which task it is a part of, if it is one.
        changes: {factor: value} by which it differs from the strategy without them.
    """

    strategy: str
    recipe: Recipe
    task: Task
    trials: int = 0
    search_seconds: float = 0.0
    parts: tuple["Arm", ...] = ()
    fold: Fold | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def planned_steps(self) -> int:
        """The most training steps that it can take, searches and preliminary runs included."""
        if self.parts:
            return sum(part.planned_steps for part in self.parts)
        searched = search_steps(self.recipe) + tune_steps(self.recipe, self.trials)
        return searched + self.recipe.planned_steps


def make_arm(
    task: Task,
    strategy: StrategyLike,
    encoders: Mapping[str, EncoderLike] | None = None,
    absent: str = "mask",
    choices: Sequence[str] = (),
    frozen: FrozenEncoders | None = None,
    **recipe: Any,
) -> Arm:
    """Builds an arm from the name of a strategy, or from a fusion of your own.

    Args:
        task: the data.
        strategy: a name, as in ``parse_strategy``: a key of ``FUSIONS``; ``FUSION@A+B`` to use
            modalities A and B only; ``NAME_only`` for the unimodal baseline of modality NAME; with
            ``:CHOICE`` for another method, objective, encoder, or any other factor in
            ``comparison.factors``. Or a fusion of your own, a module or a module class, whose name
            becomes the strategy's; or a ``Variant`` of either.
        encoders: {modality: encoder}, as in ``make_model``, for modalities that should not get
            their default.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.
        choices: what to add to the name, if arms are to differ in other arguments.
        frozen: runs frozen encoders; arms that share it share their features.
        **recipe: fields of ``Recipe`` other than the model; of ``augment``, only the modalities
            that the arm uses count. Without an objective, that of the fusion's paper is taken. A
            fusion that prescribes a training method is trained with that one.

    Raises:
        UnknownNameError: there is no such strategy, encoder, modality or stand-in.
        UsageError: the fusion does not support this kind of target, returns the wrong shape, or is
            not a fusion; or classes are to be weighed or balanced where there are none, or where
            the objective ignores their weights.
        DataError: the features of a frozen encoder are not finite.

    Example:
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> arm = make_arm(task, "gmu", seeds=(0, 1), steps=100)
        >>> arm.strategy, arm.task.modalities, arm.planned_steps
        ('gmu', ('a', 'b'), 100)
        >>> type(make_arm(task, "sum:ogm_ge+a=raw").recipe.method).__name__
        'OGMGE'
    """
    variant = as_variant(task, strategy)
    part, fusion = _find(task, variant.strategy)
    bare = lambda value: value.value if isinstance(value, Named) else value
    changes = {factor: bare(value) for factor, value in variant.changes.items()}
    if choices and changes:
        problem = f"{variant.name} cannot be combined with the alternatives {'+'.join(choices)}"
        raise UsageError("strategy", problem, fix="Name all choices, or none.")
    part, fusion = change_data(part, changes), changes.get("fusion", fusion)
    named = {n: e for factor, e in changes.items() if (n := is_encoder(factor))}
    part, encoders = (frozen or FrozenEncoders())(part, {**(encoders or {}), **named})
    model = make_model(part, fusion, encoders, changes.get("absent", absent))
    gone = {f"{REMOVE}{name}" for name in task.modalities}
    changes = {factor: value for factor, value in changes.items() if factor not in gone}
    model = change_model(model, part, changes)
    if recipe.get("objective") is None:
        recipe["objective"] = OBJECTIVES[default_objective(model.fusion)]
    own_method = prescribed_method(model.fusion)
    if own_method:
        if "method" in changes:
            problem = f"{variant.name.partition(':')[0]} prescribes the method {own_method}"
            raise UsageError("strategy", problem, fix="Leave out other methods.")
        recipe["method"] = METHODS[own_method]()
    if "augment" in recipe:
        varied = recipe["augment"].items()
        recipe["augment"] = {name: made for name, made in varied if name in part.modalities}
    made = change_recipe(Recipe(model, **recipe), part, changes)
    _check_variation(part, made)
    check_balance(made, part)
    _check_objective(made, part)
    name = strategy if isinstance(strategy, str) else variant.name
    added = f":{'+'.join(choices)}" if choices else ""
    return Arm(f"{name}{added}", made, part, changes=variant.changes)


def as_variant(task: Task, strategy: StrategyLike) -> Variant:
    """The strategy of a name without choices, and its choices as changes.

    Raises:
        UnknownNameError: a choice is neither a method nor an objective, and has no value.

    Example:
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> as_variant(task, "gmu@a+b:a=raw+focal+-gate+width=32").changes
        {'encoders.a': 'raw', 'objective': 'focal', '-gate': True, 'width': '32'}
    """
    if isinstance(strategy, Variant):
        base = as_variant(task, strategy.strategy)
        return replace(base, changes={**base.changes, **strategy.changes})
    if not isinstance(strategy, str):
        return Variant(strategy)
    changes: dict[str, Any] = {}
    for choice in parse_strategy(strategy).choices:
        name, equals, value = choice.partition("=")
        if equals:
            changes[f"encoders.{name}" if name in task.shapes else name] = value
        elif name.startswith(REMOVE):
            changes[name] = True
        elif name in METHODS:
            changes["method"] = name
        else:
            look_up("choice", name, {**dict.fromkeys(METHODS), **OBJECTIVES})
            changes["objective"] = name
    return Variant(strategy.strip().partition(":")[0], changes)


def _check_variation(task: Task, recipe: Recipe) -> None:
    """Raises UsageError if inputs are to be varied that cannot be."""
    varied = {*recipe.augment}
    frozen = task.frozen if isinstance(task, EncodedTask) else {}
    if both := sorted(varied & {*frozen}):
        problem = f"{both[0]} has a frozen encoder, which sees its rows only once"
        fix = "Make the encoder trainable, or leave out its augmentations."
        raise UsageError("augment", problem, fix=fix)
    name = "mixup" if recipe.mixup is not None else "augment"
    coded = sorted({*task.codings} if name == "mixup" else varied & {*task.codings})
    if coded:
        problem = (
            f"{coded[0]} is text or a table, whose codes cannot be mixed or changed like numbers"
        )
        fix = "Leave it out, or vary the modality before it is coded."
        raise UsageError(name, problem, fix=fix)


def _check_objective(recipe: Recipe, task: Task) -> None:
    """Raises UsageError for an objective that returns something else, or ignores weights."""
    known = any(recipe.objective is known for known in OBJECTIVES.values())
    if known and recipe.class_weights is None:
        return
    rows = task.valid.take(np.arange(2) % task.valid.size).batch()

    def predict():
        params = init_params(recipe.model, rows, 0)
        return make_forward(recipe.model)(params, rows, jax.random.key(0))

    outputs = jax.eval_shape(predict)
    found = jax.eval_shape(recipe.objective, outputs, rows)
    if not _is_loss(found):
        expected = "to return (loss, {metric: value}), with a scalar loss and scalar values"
        name = name_member(recipe.objective, OBJECTIVES)
        raise UsageError("objective", expected=f"{name} {expected}", got=f"{found}"[:200])
    if recipe.class_weights is not None and not _weighs(recipe.objective, outputs, rows):
        name = name_member(recipe.objective, OBJECTIVES)
        fix = "Multiply each row's loss by batch.weight where it is not None, or balance sampling."
        raise UsageError("class_weights", f"the objective {name} ignores them", fix=fix)


def _is_loss(found: Any) -> bool:
    """Whether an objective returned a scalar and a mapping of scalars, by their shapes."""
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
        return False
    return all(getattr(value, "shape", None) == () for value in (found[0], *found[1].values()))


def _weighs(objective: Objective, outputs: Outputs, rows: Batch) -> bool:
    """Whether the loss of made-up outputs of these shapes depends on the weights of the rows."""
    outputs = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), outputs)
    lose = lambda weight: objective(outputs, rows._replace(weight=weight))[0]
    return bool(lose(jnp.ones(2)) != lose(jnp.full(2, 2.0)))


def modalities_of(task: Task, strategy: StrategyLike) -> tuple[str, ...]:
    """The modalities that a strategy uses.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> modalities_of(synthetic(size=100), "b_only")
        ('b',)
    """
    part, _ = _find(task, as_variant(task, strategy).strategy)
    return part.modalities


def prescribed_method(strategy: StrategyLike) -> str | None:
    """The key of the training method without which a fusion makes no sense, if there is one.

    Example:
        >>> prescribed_method("stacking"), prescribed_method("sum")
        ('stacking', None)
    """
    return getattr(_fusion_of(strategy), "method", None)


def default_objective(strategy: StrategyLike) -> str:
    """The key of the objective with which a fusion is trained unless another is asked for.

    Example:
        >>> default_objective("bottleneck"), default_objective("sum")
        ('branch_mean', 'cross_entropy')
    """
    return getattr(_fusion_of(strategy), "objective", "cross_entropy")


def _fusion_of(strategy: StrategyLike) -> Any:
    """The fusion of a strategy, or its class."""
    if isinstance(strategy, Variant):
        own = strategy.changes.get("fusion")
        return _fusion_of(strategy.strategy if own is None else own)
    if isinstance(strategy, Named):
        return _fusion_of(strategy.value)
    if isinstance(strategy, str):
        asked = parse_strategy(strategy)
        chosen = [c for c in asked.choices if c.startswith("fusion=")]
        name = chosen[-1].partition("=")[2] if chosen else asked.member
        return FUSIONS.get(name, strategy)
    return strategy.func if isinstance(strategy, partial) else strategy


def _find(task: Task, strategy: FusionLike) -> tuple[Task, FusionLike]:
    """The task and the fusion that a strategy without choices stands for."""
    if not isinstance(strategy, str):
        return task, strategy
    asked = parse_strategy(strategy)
    baselines = {f"{name}_only": name for name in task.modalities}
    if asked.member in baselines and not asked.modalities:
        return task.only(baselines[asked.member]), "concat"
    if asked.member not in FUSIONS:
        raise UnknownNameError("strategy", asked.member, [*baselines, *FUSIONS])
    names = asked.modalities or task.modalities
    for name in names:
        look_up("modality", name, task.shapes)
    if len(set(names)) < len(names):
        raise UsageError("strategy", expected="each modality once", got="+".join(names))
    return task.only(*names), asked.member


def resize_arm(arm: Arm, width: int | None = None, num_layers: int | None = None) -> Arm:
    """The arm with another width and depth of its fusion.

    They are ignored where the fusion has none, or where they are among the arm's changes.
    """
    model = arm.recipe.model
    wanted = {"width": (width, set_width), "num_layers": (num_layers, set_num_layers)}
    for name, (value, resize) in wanted.items():
        own = {name, f"fusion.{name}"} & {*arm.changes}
        if value is not None and hasattr(model.fusion, name) and not own:
            model = resize(model, value)
    return replace(arm, recipe=replace(arm.recipe, model=model))


def match_arm(arm: Arm, params: int) -> Arm:
    """The arm with the width of its fusion fitted to a number of parameters."""
    model = match_params(arm.recipe.model, arm.task, params)
    return replace(arm, recipe=replace(arm.recipe, model=model))


def all_strategies(
    task: Task, fusions: Sequence[str] = CORE, *, subsets: bool = False
) -> list[str]:
    """Names of the unimodal baselines, then of the fusions; with one modality, the baseline only.

    Args:
        task: the data, for its modalities.
        fusions: keys of ``FUSIONS``.
        subsets: add each fusion on every proper subset of at least two modalities.

    Example:
        >>> from mmjax.tasks import load_task
        >>> all_strategies(load_task("synthetic", options={"size": "60"}), ["concat", "gmu"])
        ['a_only', 'b_only', 'concat', 'gmu']
    """
    names = task.modalities
    alone = [f"{name}_only" for name in names]
    if len(alone) == 1:
        return alone
    sizes = range(2, len(names)) if subsets else ()
    parts = ["+".join(part) for size in sizes for part in combinations(names, size)]
    return [*alone, *fusions, *(f"{fusion}@{part}" for fusion in fusions for part in parts)]
