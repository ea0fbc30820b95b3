"""The bases of ablations: strategies, recipes and finished runs, as arguments of ``ablate``."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mmjax.comparison.arm import StrategyLike
from mmjax.comparison.factors import Variant
from mmjax.errors import UsageError, tell
from mmjax.registry import parse_pairs
from mmjax.runs.run_file import RUN, read_run_file
from mmjax.runs.settings import Settings, parse_augment, parse_shares
from mmjax.runs.studies import read_studies
from mmjax.runs.trained import TrainedRun
from mmjax.training.optimiser import Adam, Optax
from mmjax.training.recipe import Recipe

_SHARED = ("mixup", "sampling", "batch_size", "steps", "accumulate", "dtype", "remat", "mesh")
_OF_ROWS = ("train", "missing")
_NOT_OF_RECIPES = ("task", "data", "options", "missing")


def as_base(
    base: StrategyLike | Recipe | TrainedRun | Path, modalities: Sequence[str] = ()
) -> tuple[StrategyLike, dict[str, Any]]:
    """A strategy, and arguments of ``ablate`` that a recipe or a finished run brings along.

    Args:
        base: as in ``ablate``.
        modalities: of the task, of which a recipe may use a part.

    Raises:
        UsageError: the recipe has numbers that differ by seed, or seeds not counted from 0.
        DataError: the folder of a run is damaged.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> strategy, given = as_base(Recipe(make_model(synthetic(size=60), "gmu"), patience=3))
        >>> strategy.name, given["steps"]
        ('gmu:patience=3', 200)
    """
    if isinstance(base, TrainedRun):
        own, given = _of_recipe(base.arm.recipe, modalities)
        rows = {n: v for n, v in base.arm.changes.items() if n.partition(".")[0] in _OF_ROWS}
        return replace(own, changes={**rows, **own.changes}), given
    if isinstance(base, Path):
        read_run_file(base)  # which refuses the path of no run
        settings, strategy = read_base(base, Settings())
        return strategy, _of_settings(settings)
    return _of_recipe(base, modalities) if isinstance(base, Recipe) else (base, {})


def _of_recipe(recipe: Recipe, modalities: Sequence[str]) -> tuple[Variant, dict[str, Any]]:
    if recipe.seeds != tuple(range(len(recipe.seeds))):
        expected = "a recipe with seeds counted from 0"
        raise UsageError("base", expected=expected, got=f"seeds {recipe.seeds}"[:80])
    if any(isinstance(number, tuple) for number in (*recipe.tx.numbers, recipe.dropout)):
        raise UsageError("base", "its numbers differ by seed", fix="Give it one of each.")
    adam = recipe.tx if isinstance(recipe.tx, Adam) else Adam()
    own = {
        "patience": (recipe.patience, Recipe.patience),
        "warmup": (adam.warmup, Adam.warmup),
        "clip": (adam.clip, Adam.clip),
    }
    changes: dict[str, Any] = {n: value for n, (value, usual) in own.items() if value != usual}
    if {*modalities} - {*recipe.model.encoders}:
        changes["modalities"] = tuple(recipe.model.encoders)
    given: dict[str, Any] = {name: getattr(recipe, name) for name in _SHARED}
    if isinstance(recipe.tx, Optax):
        given["optimizer"] = recipe.tx.tx
    else:
        given |= {"learning_rate": adam.learning_rate, "weight_decay": adam.weight_decay}
    model = recipe.model
    return Variant(model.fusion, changes), given | {
        "encoders": dict(model.encoders),
        "objective": recipe.objective,
        "method": recipe.method,
        "augment": dict(recipe.augment),
        "class_weights": recipe.class_weights,
        "absent": model.absent,
        "dropout": recipe.dropout,
        "seeds": len(recipe.seeds),
    }


def _of_settings(settings: Settings) -> dict[str, Any]:
    words = settings.class_weights
    weights = words[0] if words == ("balanced",) else parse_shares("class_weights", words)
    given = {n: value for n, value in asdict(settings).items() if n not in _NOT_OF_RECIPES}
    return given | {
        "encoders": parse_pairs("encoders", settings.encoders),
        "augment": parse_augment(settings.augment),
        "class_weights": weights or None,
    }


def read_base(base: str | Path, settings: Settings) -> tuple[Settings, str]:
    """The settings and the strategy of a base, which may be the folder of a run.

    Of several strategies in a folder, the best fusion on validation is taken. Settings that are not
    the default override those of the run.

    Example:
        >>> read_base("gmu", Settings(seeds=3))[1]
        'gmu'
    """
    folder = Path(base)
    if not (folder / RUN).exists():
        return settings, str(base)
    run = read_run_file(folder)
    changed: dict[str, Any] = {
        one.name: getattr(settings, one.name)
        for one in fields(Settings)
        if getattr(settings, one.name) != one.default
    }
    strategy = run.strategies[0]
    if len(run.strategies) > 1:
        strategy = _best_fusion(folder)
        tell(f"base: {strategy}, the best fusion of {folder} on validation")
    return replace(run.settings, **changed), strategy


def _best_fusion(folder: Path) -> str:
    (study,) = read_studies([folder])
    fusions = [name for name in study.strategies if name not in study.baselines]
    if not fusions:
        raise UsageError("base", f"{folder} has no fusion", fix="Name a strategy.")
    return max(fusions, key=study.on_validation)
