"""Plans an ablation: which variants are trained, at which learning rates, in how much time."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rich.console import Console

from mmjax.comparison.ablation import Ablation
from mmjax.comparison.arm import Arm, StrategyLike
from mmjax.comparison.levels import make_ablation
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.training.fit import fit
from mmjax.training.optimiser import Adam, per_seed
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import adam_of
from mmjax.training.sizes import count_params

MakeArms = Callable[[Sequence[StrategyLike]], list[Arm]]
"""Makes the arms of strategies on the task of an ablation."""

RATE_FACTORS = (1 / 3, 3.0)
"""Learning rates, relative to that of the base, at which variants of other sizes also train."""

_DESIGNS = ("grid", "fractional", "one-at-a-time")  # from the most to the least informative
_UNITS = {"s": 1, "min": 60, "h": 3600}
_TRIED = 40  # steps of a measurement


class Asked(NamedTuple):
    """What an ablation is asked to do.

    Attributes:
        vary: {factor: its values, or {name: value}}.
        drop: components to remove.
        design: one of ``DESIGNS``; None for one-at-a-time, or with a budget for the most
            informative that fits.
        runs: number of variants of a fractional design.
        learning_rates: at which every variant is trained, the best by validation counting; empty
            for that of the base, and where variants differ in size also a third and three times it.
        budget: wall time, such as ``10min``.
    """

    vary: Mapping[str, Any] = {}
    drop: Sequence[str] = ()
    design: str | None = None
    runs: int | None = None
    learning_rates: Sequence[float] = ()
    budget: str | None = None


def plan_ablation(
    task: Task,
    base: StrategyLike,
    asked: Asked,
    make: MakeArms,
    console: Console,
    workers: int = 1,
) -> tuple[Ablation, list[Arm]]:
    """The ablation, and the arms of its variants at all of their learning rates.

    Args:
        task: the data.
        base: the strategy that is varied.
        asked: what to vary, and how.
        make: makes arms.
        console: for the plan.
        workers: number of arms that run at once.

    Raises:
        UnknownNameError: there is no such factor, component or design.
        UsageError: a value cannot be read, a factor is both varied and tuned, or the budget is too
            small for any design.
    """
    (root,) = make([base])
    if asked.learning_rates and (root.trials or "learning_rate" in asked.vary):
        problem = f"the learning rate is {'tuned' if root.trials else 'varied'} already"
        raise UsageError("learning_rates", problem, fix="Leave out one of them.")
    if asked.budget is None:
        ablation, arms = _lay_out(task, base, root, asked, make)
    else:
        seconds = parse_seconds(asked.budget)
        ablation, arms = _fit_in(task, base, root, asked, make, console, seconds * workers)
    several = len(arms) > len(ablation.points)
    rates = f" at {len(arms) // len(ablation.points)} learning rates" * several
    seeds = len(root.recipe.seeds)
    console.print(
        f"{ablation.design}: {len(ablation.points)} variants of {ablation.base}{rates}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}"
    )
    return ablation, arms


def _lay_out(
    task: Task, base: StrategyLike, root: Arm, asked: Asked, make: MakeArms
) -> tuple[Ablation, list[Arm]]:
    """The variants of a design, and their arms."""
    design = asked.design or "one-at-a-time"
    ablation, variants = make_ablation(task, base, root, asked.vary, asked.drop, design, asked.runs)
    arms = make([*variants.values()])
    rates = _other_rates(arms, asked)
    if not rates:
        return ablation, arms
    at = lambda one, rate: replace(one, changes={**one.changes, "learning_rate": rate})
    others = {name: [at(one, rate) for rate in rates] for name, one in variants.items()}
    more = make([one for some in others.values() for one in some])
    own = {name: (name, *(one.name for one in some)) for name, some in others.items()}
    by_name = {arm.strategy: arm for arm in (*arms, *more)}
    ordered = [by_name[name] for names in own.values() for name in names]
    return ablation._replace(rates=own), ordered


def _other_rates(arms: Sequence[Arm], asked: Asked) -> list[float]:
    """Learning rates besides that of the base at which all variants train."""
    if arms[0].trials or "learning_rate" in asked.vary:
        return []
    if own := [arm.strategy for arm in arms if not isinstance(arm.recipe.tx, Adam)]:
        if asked.learning_rates:
            problem = f"{own[0]} has an optimiser of its own, whose learning rate is unknown"
            raise UsageError("learning_rates", problem, fix="Leave them out.")
        return []
    (rate, *_) = per_seed(adam_of(arms[0].recipe).learning_rate)
    if asked.learning_rates:
        return [other for other in asked.learning_rates if other != rate]
    sizes = {count_params(arm.recipe.model, arm.task) for arm in arms}
    return [float(f"{factor * rate:.3g}") for factor in RATE_FACTORS] if len(sizes) > 1 else []


def parse_seconds(text: str) -> float:
    """Parses a duration.

    Raises:
        UsageError: it is none.

    Example:
        >>> parse_seconds("10min"), parse_seconds("1.5h"), parse_seconds("90s")
        (600.0, 5400.0, 90.0)
    """
    found = re.fullmatch(rf"(\d+\.?\d*)\s*({'|'.join(_UNITS)})", text.strip())
    if not found or not float(found[1]):
        raise UsageError("budget", expected="a duration such as 90s, 10min or 2h", got=repr(text))
    return float(found[1]) * _UNITS[found[2]]


def _fit_in(
    task: Task,
    base: StrategyLike,
    root: Arm,
    asked: Asked,
    make: MakeArms,
    console: Console,
    seconds: float,
) -> tuple[Ablation, list[Arm]]:
    """The most informative design that takes no longer, by the measured steps of the base."""
    compiling, training = measure(root)
    tell = lambda total: console.print(
        f"About {_show(total)} of {_show(seconds)}: {_show(training)} for each training, "
        f"{_show(compiling)} for each compilation."
    )
    found: list[float] = []
    for design in (asked.design,) if asked.design else _DESIGNS:
        affordable = int(seconds / (compiling + training * (1 + len(RATE_FACTORS))))
        runs = asked.runs or affordable if design == "fractional" else None
        try:
            trial = asked._replace(design=design, runs=runs)
            ablation, arms = _lay_out(task, base, root, trial, make)
        except UsageError:
            if design == (asked.design or _DESIGNS[-1]):
                raise
            continue  # which does not suit these factors
        found.append(len(ablation.points) * compiling + len(arms) * training)
        if found[-1] <= seconds:
            tell(found[-1])
            return ablation, arms
    problem = f"the smallest design would take about {_show(min(found))}"
    raise UsageError("budget", problem, fix="Vary less, or train fewer seeds or steps.")


def _show(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def measure(arm: Arm) -> tuple[float, float]:
    """Seconds to compile an arm, and to train all of its seeds and folds, from a few steps."""
    part = arm.parts[0] if arm.parts else arm
    steps = min(_TRIED, part.recipe.steps)
    short = replace(part.recipe, steps=steps, seeds=part.recipe.seeds[:1])
    program = compile_recipe(short, part.task)
    taken = fit(short, part.task, program=program).seconds - program.seconds
    times = arm.planned_steps / steps * len(part.recipe.seeds)
    return program.seconds * max(1, len(arm.parts)), taken * times
