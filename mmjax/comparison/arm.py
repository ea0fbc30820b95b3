"""Arms: the entries of a comparison, built from the names of strategies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.comparison.cell_search import search_steps
from mmjax.comparison.frozen import EncodedTask, FrozenEncoders
from mmjax.comparison.tuning import tune_steps
from mmjax.data.task import Fold, Task
from mmjax.errors import UnknownNameError, UsageError, look_up
from mmjax.registry import CORE, FUSIONS, METHODS, OBJECTIVES, Strategy, parse_strategy
from mmjax.training.class_weights import check_balance
from mmjax.training.recipe import EncoderLike, FusionLike, Recipe, make_model, name_member
from mmjax.training.sizes import match_params, set_num_layers, set_width
from mmjax.training.step import init_params, make_forward
from mmjax.types import Batch, Objective, Outputs


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
    """

    strategy: str
    recipe: Recipe
    task: Task
    trials: int = 0
    search_seconds: float = 0.0
    parts: tuple["Arm", ...] = ()
    fold: Fold | None = None

    @property
    def planned_steps(self) -> int:
        """The most training steps that it can take, searches and preliminary runs included."""
        if self.parts:
            return sum(part.planned_steps for part in self.parts)
        searched = search_steps(self.recipe) + tune_steps(self.recipe, self.trials)
        return searched + self.recipe.planned_steps


def make_arm(
    task: Task,
    strategy: FusionLike,
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
            ``:CHOICE`` for another method, objective or encoder. Or a fusion of your own, a module
            or a module class, whose name becomes the strategy's.
        encoders: {modality: encoder}, as in ``make_model``, for modalities that should not get
            their default.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.
        choices: what to add to the name, if arms are to differ in other arguments.
        frozen: runs frozen encoders; arms that share it share their features.
        **recipe: fields of ``Recipe`` other than the model; of ``augment``, only the modalities
            that the arm uses count. A fusion that prescribes a training method is trained with that
            one.

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
    part, fusion = task, strategy
    if isinstance(strategy, str):
        asked = parse_strategy(strategy)
        part, fusion = _find(task, asked)
        named = _find_choices(part, asked)
        if choices and asked.choices:
            problem = f"{strategy} cannot be combined with the alternatives {'+'.join(choices)}"
            raise UsageError("strategy", problem, fix="Name all choices, or none.")
        if "method" in named and prescribed_method(strategy):
            problem = f"{asked.member} prescribes the method {prescribed_method(strategy)}"
            raise UsageError("strategy", problem, fix="Leave the method out of its name.")
        encoders, recipe = {**(encoders or {}), **named.pop("encoders")}, {**recipe, **named}
    part, encoders = (frozen or FrozenEncoders())(part, encoders or {})
    model = make_model(part, fusion, encoders, absent)
    own_method = prescribed_method(model.fusion)
    if own_method:
        recipe["method"] = METHODS[own_method]()
    if "augment" in recipe:
        varied = recipe["augment"].items()
        recipe["augment"] = {name: made for name, made in varied if name in part.modalities}
    _check_variation(part, recipe)
    name = strategy if isinstance(strategy, str) else name_member(model.fusion, FUSIONS)
    added = f":{'+'.join(choices)}" if choices else ""
    made = Recipe(model, **recipe)
    check_balance(made, part)
    _check_objective(made, part)
    return Arm(f"{name}{added}", made, part)


def _check_variation(task: Task, recipe: Mapping[str, Any]) -> None:
    """Raises UsageError if inputs are to be varied that cannot be."""
    varied = {*recipe.get("augment", ())}
    frozen = task.frozen if isinstance(task, EncodedTask) else {}
    if both := sorted(varied & {*frozen}):
        problem = f"{both[0]} has a frozen encoder, which sees its rows only once"
        fix = "Make the encoder trainable, or leave out its augmentations."
        raise UsageError("augment", problem, fix=fix)
    name = "mixup" if recipe.get("mixup") is not None else "augment"
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


def modalities_of(task: Task, strategy: FusionLike) -> tuple[str, ...]:
    """The modalities that a strategy uses."""
    if not isinstance(strategy, str):
        return task.modalities
    part, _ = _find(task, parse_strategy(strategy))
    return part.modalities


def prescribed_method(strategy: FusionLike) -> str | None:
    """The key of the training method without which a fusion makes no sense, if there is one."""
    if isinstance(strategy, str):
        strategy = FUSIONS.get(parse_strategy(strategy).member, strategy)
    return getattr(strategy, "method", None)


def _find(task: Task, asked: Strategy) -> tuple[Task, str]:
    """The task and the fusion that a strategy's name stands for."""
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


def _find_choices(task: Task, asked: Strategy) -> dict[str, Any]:
    """Arguments of ``make_arm`` that a strategy's name states."""
    found: dict[str, Any] = {"encoders": {}}
    for choice in asked.choices:
        modality, equals, encoder = choice.partition("=")
        if equals:
            look_up("modality of an encoder", modality, task.shapes)
            found["encoders"][modality] = encoder
        elif choice in METHODS:
            found["method"] = METHODS[choice]()
        else:
            found["objective"] = look_up("choice", choice, {**dict.fromkeys(METHODS), **OBJECTIVES})
    return found


def resize_arm(arm: Arm, width: int | None = None, num_layers: int | None = None) -> Arm:
    """The arm with another width and depth of its fusion; ignored where the fusion has none."""
    model = arm.recipe.model
    if width is not None and hasattr(model.fusion, "width"):
        model = set_width(model, width)
    if num_layers is not None and hasattr(model.fusion, "num_layers"):
        model = set_num_layers(model, num_layers)
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
