"""The main job: many fusions and every unimodal baseline, on one task, into flat rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import combinations
from typing import Any

import chex
import jax
import numpy as np

from mmjax.errors import UnknownNameError, look_up
from mmjax.evaluate import Predict, hide, scores
from mmjax.fit import Fit, Program, Progress, compile_recipe, fit
from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.recipe import Recipe, make_model
from mmjax.search import is_open, search, search_steps
from mmjax.sizes import match_params
from mmjax.task import Task
from mmjax.tune import apply_trial, tune, tune_steps

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
"""The strategies that a comparison runs unless told otherwise: a few of every kind."""

Row = dict[str, Any]

_PACKAGES = ("mmjax", "jax", "jaxlib", "flax", "optax", "numpy")


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
    strategy: str,
    encoders: Mapping[str, str] | None = None,
    absent: str = "mask",
    **recipe: Any,
) -> Arm:
    """An arm by name.

    Args:
        task: the data.
        strategy: a key of ``FUSIONS``; ``FUSION@A+B`` for the same on modalities A and B alone;
            or ``NAME_only`` for the baseline of modality NAME.
        encoders: {modality: key of ``ENCODERS``} where the default is not wanted.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.
        **recipe: fields of ``Recipe`` other than the model; a fusion that is defined with a method
            of its own is trained by that.

    Raises:
        UnknownNameError: there is no such strategy, encoder, modality or stand-in.
    """
    baselines = {f"{name}_only": name for name in task.modalities}
    fusion, _, chosen = strategy.partition("@")
    if strategy in baselines:
        part, fusion = task.only(baselines[strategy]), "concat"
    elif fusion not in FUSIONS:
        raise UnknownNameError("strategy", strategy, [*baselines, *FUSIONS])
    else:
        names = chosen.split("+") if chosen else task.modalities
        for name in names:
            look_up("modality", name, task.shapes)
        part = task.only(*names)
    own_method = getattr(FUSIONS[fusion], "method", None)
    if own_method:
        recipe["method"] = METHODS[own_method]()
    return Arm(strategy, Recipe(make_model(part, fusion, encoders, absent), **recipe), part)


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


def compare(
    arms: Sequence[Arm],
    *,
    on_arm: Callable[[Arm, Fit, list[Row]], None] = lambda arm, trained, rows: None,
    on_idle: Callable[[Arm, Fit], None] = lambda arm, trained: None,
    progress: Progress = lambda steps: None,
) -> list[Row]:
    """Trains every arm and scores it on validation and test.

    Args:
        arms: what to compare, at least one.
        on_arm: called with each arm, its training and its rows once they are known.
        on_idle: called next, when no other arm compiles beside it: for what is timed.
        progress: called after each epoch with the number of steps that it took.
    """
    rows = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        compile_arm = lambda arm: pool.submit(compile_recipe, arm.recipe, arm.task)
        settled = (settle(arm, progress) for arm in arms)
        arm = next(settled)
        ahead = compile_arm(arm)
        while arm:
            program, following = ahead.result(), next(settled, None)
            if following:
                ahead = compile_arm(following)  # while this one trains
            trained = fit(arm.recipe, arm.task, program=program, progress=progress)
            new = make_rows(arm, trained)
            on_arm(arm, trained, new)
            wait([ahead])
            on_idle(arm, trained)
            rows += new
            arm = following
    return rows


def settle(arm: Arm, progress: Progress = lambda steps: None) -> Arm:
    """The arm with its cells and its hyperparameters found, if they are to be searched."""
    start = time.perf_counter()
    if is_open(arm.recipe):
        arm = replace(arm, recipe=_find_cells(arm, progress))
    if arm.trials:
        best, _ = tune(arm.recipe, arm.task, arm.trials, progress)
        arm = replace(arm, recipe=apply_trial(arm.recipe, best))
    return replace(arm, search_seconds=time.perf_counter() - start)


def _find_cells(arm: Arm, progress: Progress) -> Recipe:
    def judge(recipes: Sequence[Recipe], task: Task) -> list[float]:
        proxies = [Arm(str(index), recipe, task) for index, recipe in enumerate(recipes)]
        rows = compare(proxies, progress=progress)
        return [row["accuracy"] for row in rows if row["split"] == "valid"]

    return search(arm.recipe, arm.task, judge, progress)


def make_encoded_arms(
    tasks: Sequence[Task], strategy: str, seeds: Sequence[int], **recipe
) -> list[Arm]:
    """A strategy on encoded tasks: an arm for each seed, because each has its own encodings."""
    raw = dict.fromkeys(tasks[0].modalities, "raw")
    return [
        make_arm(task, strategy, raw, seeds=(seed,), **recipe)
        for task, seed in zip(tasks, seeds, strict=True)
    ]


def fit_each(
    arms: Sequence[Arm], program: Program | None = None, progress: Progress = lambda steps: None
) -> tuple[list[tuple[Arm, Fit]], Program]:
    """Trains arms that differ in seeds and data but not in shapes, with one program.

    Args:
        arms: such as ``make_encoded_arms`` makes; cells are searched with the first.
        program: what an earlier call returned for the same shapes.
        progress: called after each epoch with the number of steps that it took.

    Returns:
        each arm with its training, the first of which bears what search and compilation took; and
        the program.
    """
    first = settle(arms[0], progress)
    if program is None or is_open(arms[0].recipe):
        program = compile_recipe(first.recipe, first.task)
    done = []
    for arm in arms:
        arm = replace(first, recipe=replace(first.recipe, seeds=arm.recipe.seeds), task=arm.task)
        done.append((arm, fit(arm.recipe, arm.task, program=program, progress=progress)))
        first, program = replace(first, search_seconds=0.0), program._replace(seconds=0.0)
    return done, program


def make_rows(arm: Arm, trained: Fit) -> list[Row]:
    """One flat row per seed and labelled split: the scores, and everything that made them."""
    return add_facts(score_rows(arm, trained.predict, trained.params), arm, trained)


def add_facts(rows: Sequence[Row], arm: Arm, trained: Fit) -> list[Row]:
    """Rows of an arm's scores with everything that made them."""
    facts = {
        **trained.program.sizes._asdict(),
        "seconds": round(arm.search_seconds + trained.seconds, 3),
        "steps": arm.recipe.steps,
        "trials": arm.trials,
        "recipe": repr(arm.recipe),
        "data": arm.task.digest(),
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
    }
    best = dict(zip(arm.recipe.seeds, trained.best_step.tolist(), strict=True))
    return [{**row, "best_step": best[row["seed"]], **facts} for row in rows]


def score_rows(
    arm: Arm,
    predict: Predict,
    params: chex.ArrayTree,
    hidden: Sequence[str] = (),
    splits: Sequence[str] = ("valid", "test"),
) -> list[Row]:
    """The scores alone: one flat row per seed and labelled split.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
        hidden: modalities made absent before scoring.
        splits: which to score.
    """
    rows = []
    for split_name in splits:
        split = arm.task.splits[split_name]
        if not split.labelled:
            continue
        prediction = predict(params, hide(split.batch(), hidden))
        where = {"split": split_name, "hidden": "+".join(hidden)}
        size = {"rows": split.size, "groups": len(np.unique(split.group))}
        for seed, logits in zip(arm.recipe.seeds, prediction, strict=True):
            scored = scores(logits, split.target)
            rows.append({**identify(arm), "seed": seed, **where, **scored, **size})
    return rows


def identify(arm: Arm) -> Row:
    """The keys by which a row says whose it is: task, strategy, modalities."""
    modalities = "+".join(arm.task.modalities)
    return {"task": arm.task.name, "strategy": arm.strategy, "modalities": modalities}


def history_rows(arm: Arm, trained: Fit) -> list[Row]:
    """One flat row per seed and epoch: the learning curves."""
    rows = []
    for epoch in trained.history:
        for index, seed in enumerate(arm.recipe.seeds):
            metrics = {k: float(v[index]) for k, v in epoch.items() if k != "step"}
            rows.append({**identify(arm), "seed": seed, "step": epoch["step"], **metrics})
    return rows


@cache
def versions() -> str:
    """The versions of the packages that decide a result."""
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
