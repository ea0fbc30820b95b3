"""Arms: the entries of a comparison, built from the names of strategies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from mmjax.comparison.cell_search import search_steps
from mmjax.comparison.tuning import tune_steps
from mmjax.data.task import Task
from mmjax.errors import UnknownNameError, UsageError, look_up
from mmjax.registry import CORE, FUSIONS, METHODS
from mmjax.training.recipe import FusionLike, Recipe, make_model, name_fusion
from mmjax.training.sizes import match_params, set_num_layers, set_width


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
    """

    strategy: str
    recipe: Recipe
    task: Task
    trials: int = 0
    search_seconds: float = 0.0

    @property
    def planned_steps(self) -> int:
        """The most training steps that it can take, searches and preliminary runs included."""
        searched = search_steps(self.recipe) + tune_steps(self.recipe, self.trials)
        return searched + self.recipe.planned_steps


def make_arm(
    task: Task,
    strategy: FusionLike,
    encoders: Mapping[str, str] | None = None,
    absent: str = "mask",
    **recipe: Any,
) -> Arm:
    """Builds an arm from the name of a strategy, or from a fusion of your own.

    Args:
        task: the data.
        strategy: a key of ``FUSIONS``; ``FUSION@A+B`` to use modalities A and B only; ``NAME_only``
            for the unimodal baseline of modality NAME; or a fusion of your own, a module or a
            module class, whose name becomes the strategy's.
        encoders: {modality: key of ``ENCODERS``}, for modalities that should not get their default.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.
        **recipe: fields of ``Recipe`` other than the model. A fusion that prescribes a training
            method is trained with that one.

    Raises:
        UnknownNameError: there is no such strategy, encoder, modality or stand-in.
        UsageError: the fusion does not support this kind of target, returns the wrong shape, or is
            not a fusion.

    Example:
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> arm = make_arm(task, "gmu", seeds=(0, 1), steps=100)
        >>> arm.strategy, arm.task.modalities, arm.planned_steps
        ('gmu', ('a', 'b'), 100)
    """
    part, fusion = _find(task, strategy) if isinstance(strategy, str) else (task, strategy)
    model = make_model(part, fusion, encoders, absent)
    own_method = getattr(model.fusion, "method", None)
    if own_method:
        recipe["method"] = METHODS[own_method]()
    name = strategy if isinstance(strategy, str) else name_fusion(model.fusion)
    return Arm(name, Recipe(model, **recipe), part)


def _find(task: Task, strategy: str) -> tuple[Task, str]:
    """The task and the fusion that a strategy's name stands for."""
    baselines = {f"{name}_only": name for name in task.modalities}
    if strategy in baselines:
        return task.only(baselines[strategy]), "concat"
    fusion, at, chosen = strategy.partition("@")
    if fusion not in FUSIONS:
        raise UnknownNameError("strategy", strategy, [*baselines, *FUSIONS])
    names = chosen.split("+") if at else task.modalities
    for name in names:
        look_up("modality", name, task.shapes)
    if len(set(names)) < len(names):
        raise UsageError("strategy", expected="each modality once", got=repr(strategy))
    return task.only(*names), fusion


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
