"""Do verdicts keep their word: few false ones between copies, and the power that they state?

    python experiments/verdicts.py --out runs/verdicts

Simulated: two strategies whose true accuracies are known, with luck of seeds, of groups and of
both. Real: one strategy trained with many seeds on the same encodings of ``digits`` and dealt into
pairs of copies, between which every difference is chance.

About five minutes on two CPU cores. Expected: false verdicts in no more than 5 % of the rounds but
for the sampling error of so many rounds, and differences told as often as
``mmjax.statistics.power`` says. docs/results/verdicts.md is its summary.md.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.progress import track
from scipy.stats import norm
from simulated import simulate

from mmjax.arms import make_arm
from mmjax.comparison import fit_each, make_encoded_arms
from mmjax.encodings import encode
from mmjax.fit import fit
from mmjax.report.figures import save
from mmjax.report.markdown import markdown_table
from mmjax.report.rows import append_rows
from mmjax.statistics import ALPHA, Spread, compare_pair, power
from mmjax.tasks import load_task


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: new folder for rows, figure and summary.
        rounds: simulated comparisons of each kind.
        pairs: pairs of trained copies.
        seeds: seeds of each trained copy.
        strategy: what is copied.
        steps: train steps of a copy.
    """

    out: Path
    rounds: int = 2000
    pairs: int = 100
    seeds: int = 3
    strategy: str = "concat"
    steps: int = 200


def main(study: Study) -> None:
    """Simulates, trains, writes the summary."""
    study.out.mkdir(parents=True)
    kinds = list(product((1, 3, 5, 10), (0.0, 0.1, 0.3), (0.0, 0.15, 0.4)))
    rows = [
        simulated_row(study.rounds, seeds=seeds, of_seed=of_seed, gap=gap)
        for seeds, of_seed, gap in track(kinds, "simulated")
        if seeds > 1 or of_seed == 0  # one seed says nothing about others
    ]
    append_rows(study.out / "simulated.jsonl", rows)
    trained = trained_row(study)
    append_rows(study.out / "trained.jsonl", [trained])
    write_summary(study, rows, trained)


def simulated_row(rounds: int, *, gap: float, **sizes: Any) -> dict[str, Any]:
    """How often a difference is told, and how often it should be, over rounds of simulation.

    ``power`` is that of the variances themselves, as the mean over all rounds estimates them;
    ``stated``, with its quartiles, that of the variances which a single round finds.
    """
    truth = norm.cdf((1 + gap) / _deviation(**sizes)) - norm.cdf(1 / _deviation(**sizes))
    told, stated, parts = [], [], []
    for round_ in range(rounds):
        rng = np.random.default_rng((round_, sizes["seeds"]))
        (first, second), group = simulate(rng, gap=gap, **sizes)
        pair = compare_pair(first, second, group, num_resamples=1)
        told.append(pair.p < ALPHA)
        stated.append(power(pair.spread, truth))
        parts.append(pair.spread)
    return {
        **sizes,
        "gap": gap,
        "truth": truth,
        "rounds": rounds,
        **_rate(told),
        "power": power(Spread(*np.mean(parts, axis=0)), truth),
        "stated": np.median(stated),
        "stated_low": np.quantile(stated, 0.25),
        "stated_high": np.quantile(stated, 0.75),
    }


def _deviation(seeds: int, of_seed: float, of_group: float = 0.4) -> float:
    """Standard deviation of what decides whether an answer is right."""
    return (2 + of_seed**2 + of_group**2) ** 0.5


def _rate(told: list[bool]) -> dict[str, float]:
    rate = float(np.mean(told))
    return {"told": rate, "told_error": (rate * (1 - rate) / len(told)) ** 0.5}


def trained_row(study: Study) -> dict[str, Any]:
    """How often two copies of a trained strategy are told apart."""
    task = load_task("digits")
    alone = {
        name: fit(
            make_arm(task, f"{name}_only", seeds=(0,), steps=study.steps).recipe, task.only(name)
        )
        for name in task.modalities
    }
    (encoded,) = encode(task, alone)
    seeds = range(2 * study.seeds * study.pairs)
    arms = make_encoded_arms([encoded] * len(seeds), study.strategy, seeds, steps=study.steps)
    rows, right, program = encoded.test.batch(), [], None
    for arm in track(arms, "trained"):
        ((_, trained),), program = fit_each([arm], program)
        right.append(trained.predict(trained.params, rows)[0].argmax(axis=-1) == rows.target)
    copies = np.array(right, float).reshape(study.pairs, 2, study.seeds, -1)
    found = [compare_pair(*pair, encoded.test.group, num_resamples=1) for pair in copies]
    told = [pair.p < ALPHA for pair in found]
    return {
        "strategy": study.strategy,
        "seeds": study.seeds,
        "rounds": study.pairs,
        **_rate(told),
    }


def write_summary(study: Study, rows: list[dict[str, Any]], trained: dict[str, Any]) -> None:
    """Writes summary.md."""
    lines = [
        "# Do verdicts keep their word?\n",
        f"Share of {study.rounds} simulated comparisons, of 200 groups of two rows each, in which "
        "two strategies are told apart at 5 %, with its standard error. Where the true difference "
        "is 0 every verdict is false. Power: what `mmjax.statistics.power` gives for the "
        "variances, known from all comparisons together; stated: what it gives for those that "
        "one comparison finds, a median with quartiles. Luck: how much a seed shifts all answers, "
        "as a standard deviation in units of the noise's.\n",
        markdown_table(_HEADS, map(_cells, rows), text_columns=0),
        f"\nTrained: `{trained['strategy']}` on the same encodings of `digits`, "
        f"{trained['rounds']} pairs of copies of {trained['seeds']} seeds each. Told apart: "
        f"{_percent(trained)}.\n",
        "![Told apart against power](power.png)\n",
    ]
    text = "\n".join(lines)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(power_figure(rows), study.out / "power.png")
    print(text)


_HEADS = ("seeds", "luck of a seed", "true difference, points", "told apart", "power", "stated")


def _cells(row: dict[str, Any]) -> list[str]:
    stated, low, high = (100 * row[name] for name in ("stated", "stated_low", "stated_high"))
    return [
        str(row["seeds"]),
        str(row["of_seed"]),
        f"{100 * row['truth']:.1f}",
        _percent(row),
        f"{100 * row['power']:.1f} %",
        f"{stated:.0f} ({low:.0f} to {high:.0f}) %",
    ]


def power_figure(rows: list[dict[str, Any]]) -> Figure:
    """How often differences are told against the power: on the diagonal if power keeps its word."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="grey", linestyle=":", linewidth=1)
    axes.axvline(100 * ALPHA, color="grey", linewidth=0.5)
    for seeds in sorted({row["seeds"] for row in rows}):
        own = [row for row in rows if row["seeds"] == seeds]
        x, y, error = ([100 * row[name] for row in own] for name in ("power", "told", "told_error"))
        axes.errorbar(x, y, yerr=error, fmt="o", ms=4, capsize=2, label=seeds)
    axes.set_xlabel("power in %")
    axes.set_ylabel("told apart in %, +- standard error")
    axes.legend(title="seeds", frameon=False)
    return figure


def _percent(row: dict[str, Any]) -> str:
    return f"{100 * row['told']:.1f} +- {100 * row['told_error']:.1f} %"


if __name__ == "__main__":
    main(tyro.cli(Study))
