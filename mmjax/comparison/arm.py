"""Arms: the lines of a comparison, made by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from mmjax.comparison.cell_search import search_steps
from mmjax.comparison.tuning import tune_steps
from mmjax.data.task import Task
from mmjax.errors import UnknownNameError, UsageError, look_up
from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.training.recipe import FusionLike, Recipe, make_model, name_fusion
from mmjax.training.sizes import match_params, set_num_layers, set_width

CORE = (
    "early",
    "concat",
    "sum",
    "product",
    "attention_pool",
    "gmu",
    "transformer",
    "cross_attention",
    "late_mean",
    "product_of_experts",
)
"""The strategies that a comparison runs unless told otherwise: ten of most kinds."""


@dataclass(frozen=True)
class Arm:
    """One line of a comparison.

    Attributes:
        strategy: its name.
        recipe: how it is trained.
        task: the data, with the modalities that it uses.
        trials: trainings that choose its learning rate, weight decay and width on validation.
        search_seconds: wall time of the search for its cells or hyperparameters.
    """

    strategy: str
    recipe: Recipe
    task: Task
    trials: int = 0
    search_seconds: float = 0.0

    @property
    def planned_steps(self) -> int:
        """Train steps that it takes at most: searches, preliminary runs, and the run itself."""
        searched = search_steps(self.recipe) + tune_steps(self.recipe, self.trials)
        return searched + self.recipe.planned_steps


def make_arm(
    task: Task,
    strategy: FusionLike,
    encoders: Mapping[str, str] | None = None,
    absent: str = "mask",
    **recipe: Any,
) -> Arm:
    """An arm, by name but for fusions of one's own.

    Args:
        task: the data.
        strategy: a key of ``FUSIONS``; ``FUSION@A+B`` for the same on modalities A and B alone;
            ``NAME_only`` for the baseline of modality NAME; or a fusion of one's own, a module or
            a class of one, which names the strategy.
        encoders: {modality: key of ``ENCODERS``} where the default is not wanted.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.
        **recipe: fields of ``Recipe`` other than the model; a fusion that is defined with a method
            of its own is trained by that.

    Raises:
        UnknownNameError: there is no such strategy, encoder, modality or stand-in.
        UsageError: the fusion is not for such targets, gives something else, or is no fusion.
    """
    part, fusion = _find(task, strategy) if isinstance(strategy, str) else (task, strategy)
    model = make_model(part, fusion, encoders, absent)
    own_method = getattr(model.fusion, "method", None)
    if own_method:
        recipe["method"] = METHODS[own_method]()
    name = strategy if isinstance(strategy, str) else name_fusion(model.fusion)
    return Arm(name, Recipe(model, **recipe), part)


def _find(task: Task, strategy: str) -> tuple[Task, str]:
    """The modalities and the fusion that a name stands for."""
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
    """The same arm with its fusion so wide and so deep, where it has a width and layers."""
    model = arm.recipe.model
    if width is not None and hasattr(model.fusion, "width"):
        model = set_width(model, width)
    if num_layers is not None and hasattr(model.fusion, "num_layers"):
        model = set_num_layers(model, num_layers)
    return replace(arm, recipe=replace(arm.recipe, model=model))


def match_arm(arm: Arm, params: int) -> Arm:
    """The same arm with its fusion as wide as a number of parameters allows."""
    model = match_params(arm.recipe.model, arm.task, params)
    return replace(arm, recipe=replace(arm.recipe, model=model))


def all_strategies(
    task: Task, fusions: Sequence[str] = CORE, *, subsets: bool = False
) -> list[str]:
    """The baseline of each modality, then the fusions; with one modality the baseline only.

    Args:
        task: gives the modalities.
        fusions: keys of ``FUSIONS``.
        subsets: each fusion on every subset of two modalities or more, too.
    """
    names = task.modalities
    alone = [f"{name}_only" for name in names]
    if len(alone) == 1:
        return alone
    sizes = range(2, len(names)) if subsets else ()
    parts = ["+".join(part) for size in sizes for part in combinations(names, size)]
    return [*alone, *fusions, *(f"{fusion}@{part}" for fusion in fusions for part in parts)]
