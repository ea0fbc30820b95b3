"""Arms that differ in numbers alone train together, as lanes of one program.

They are compiled once, and an accelerator trains them in parallel.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import chex
import jax
import numpy as np
from jax import lax

from mmjax.comparison.arm import Arm
from mmjax.comparison.cell_search import is_open
from mmjax.data.task import Split
from mmjax.errors import DivergenceError, tell
from mmjax.storage.trees import flatten
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.feed import streamed
from mmjax.training.fit import Fit, Progress, fit
from mmjax.training.functions import key_of
from mmjax.training.optimiser import Adam
from mmjax.training.program import Program
from mmjax.training.recipe import Recipe, adam_of, join_lanes
from mmjax.training.sizes import num_params
from mmjax.training.step import outline_params

_MOST = 2**24
"""Parameters of all lanes of a program; training holds some six numbers for each. Larger models
fill a device by themselves, and take long to train rather than to compile."""


def group_arms(arms: Sequence[Arm]) -> list[list[int]]:
    """Which arms train together: their places, in groups that are in the order of their first.

    These are arms on equal rows whose recipes differ in learning rate, weight decay, rate of
    dropout and the values of their seeds only. An arm trains by itself if it is still to be
    searched for or tuned, if its method has preliminary runs (of which one that diverges would end
    all), if its optimiser is the user's own, or if it is spread over a mesh or streams its rows:
    its models or rows are large.

    Example:
        >>> from mmjax.comparison.arm import make_arm
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> make = lambda name, rate: make_arm(task, name, tx=Adam(rate))
        >>> group_arms([make(name, rate) for rate in (1e-3, 1e-2) for name in ("sum", "max")])
        [[0, 2], [1, 3]]
    """
    groups: list[list[int]] = []
    alike: dict[Any, list[list[int]]] = {}  # groups by what their recipes have in common
    for place, arm in enumerate(arms):
        known = alike.setdefault(_without_numbers(arm.recipe), []) if _may_join(arm) else []
        admitting = [group for group in known if _admits([arms[i] for i in group], arm)]
        group = admitting[0] if admitting else []
        if not group:
            groups.append(group)
            known.append(group)
        group.append(place)
    return groups


def _may_join(arm: Arm) -> bool:
    recipe = arm.recipe
    searched = arm.trials or is_open(recipe) or recipe.planned_steps > recipe.steps
    large = recipe.mesh is not None or streamed(arm.task.train)
    return isinstance(recipe.tx, Adam) and not searched and not large


def _without_numbers(recipe: Recipe) -> Any:
    """A hashable value that recipes of arms that train together have in common."""
    tx = replace(adam_of(recipe), learning_rate=1.0, weight_decay=0.0)
    dropout, seeds = None if recipe.dropout is None else 0.0, tuple(range(len(recipe.seeds)))
    return key_of(replace(recipe, tx=tx, dropout=dropout, seeds=seeds), at_once=True)


def _admits(group: Sequence[Arm], arm: Arm) -> bool:
    """Whether a group of such recipes has the rows and the metric of an arm, and room for it."""
    one, two = group[0].task, arm.task
    same = one.metric is two.metric and one.scale is two.scale
    same = same and all(_equal(one.splits[name], two.splits[name]) for name in ("train", "valid"))
    return same and len(group) < _most_arms(arm)


def _equal(one: Split, two: Split) -> bool:
    arrays, others = flatten(one.batch()), flatten(two.batch())

    def equal(x: Any, y: Any) -> bool:
        known = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)  # not the user's reader
        return x is y or (known and x.dtype == y.dtype and np.array_equal(x, y, equal_nan=True))

    return arrays.keys() == others.keys() and all(equal(x, others[n]) for n, x in arrays.items())


def _most_arms(arm: Arm) -> int:
    params = num_params(outline_params(arm.recipe.model, arm.task.train.batch()))
    return max(1, _MOST // (params * len(arm.recipe.seeds)))


def join_arms(arms: Sequence[Arm]) -> Arm:
    """The arm that trains several, by a name of its own; an arm by itself is its own."""
    first, *others = arms
    if not others:
        return first
    recipe = join_lanes([arm.recipe for arm in arms])
    return replace(first, strategy=f"{first.strategy}~{len(arms)}", recipe=recipe)


def train_together(
    arms: Sequence[Arm],
    make_program: Callable[[], Program],
    progress: Progress,
    checkpoints: Callable[[Arm], Checkpoints | None],
) -> list[Fit | None]:
    """Trains a group of ``group_arms``; None for an arm that must train by itself.

    That is an arm that diverged, to say where, or all of them after any error, such as a lack of
    memory. The others train as by themselves: the same steps on the same rows, model selection and
    early stopping. On CPU, where lanes run in sequence, their results differ from those by what XLA
    makes of numbers that it is not told when it compiles, which is rounding at most; on other
    devices also by the rounding of batched products.

    Args:
        arms: the group.
        make_program: compiles the recipe of ``join_arms``.
        progress: called after each round with the number of steps of all arms.
        checkpoints: of the arm that trains them.
    """
    on_steps = lambda steps: progress(len(arms) * steps)
    try:
        joint = join_arms(arms)
        program, kept = make_program(), checkpoints(joint)
        trained = fit(
            joint.recipe, joint.task, program=program, progress=on_steps, checkpoints=kept
        )
    except DivergenceError:
        return [None] * len(arms)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        names = ", ".join(arm.strategy for arm in arms)
        tell(f"cannot train {names} together, and so trains them one by one: {reason}")
        return [None] * len(arms)
    own = [_take(trained, arm.recipe, place) for place, arm in enumerate(arms)]
    return [None if each.diverged.all() else each for each in own]


def _take(trained: Fit, recipe: Recipe, place: int) -> Fit:
    """The training of one of several recipes, which are in equal shares of the lanes."""
    size = len(recipe.seeds)
    own = lambda x: x[place * size :][:size]
    share = 1 / trained.recipe.joined
    program = trained.program
    params, state = _cut((trained.params, trained.state), place * size, size)
    last = int(state.step[0])
    curve = lambda entries: [
        {name: value if name == "step" else own(value) for name, value in entry.items()}
        for entry in entries
        if entry["step"] <= last
    ]
    return Fit(
        recipe,
        program._replace(zeros=jax.tree.map(own, program.zeros), seconds=share * program.seconds),
        params,
        state,
        curve(trained.history),
        curve(trained.losses),
        own(trained.best_step),
        share * trained.seconds,
    )


@partial(jax.jit, static_argnames="size")
def _cut(lanes: chex.ArrayTree, first: int, size: int) -> chex.ArrayTree:
    """Some of the lanes, by one program for all; a plain index compiles one for each of them."""
    return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, size), lanes)
