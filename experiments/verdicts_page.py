"""The page of verdicts.py: its rows as tables, figures, and a table for a spreadsheet."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmjax.analysis.statistics import ALPHA, FEWEST
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import read_rows

Rows = Sequence[dict[str, Any]]

KIND = ("score", "rows", "size", "seeds", "luck", "accuracy", "discordance", "gap")
BOUNDS = {"told": 0.055, "sure": 0.0015, "in_list": 0.055}
COVERED = 0.94


def write_summary(out: Path) -> None:
    """Writes summary.md, a table and figures into a folder that verdicts.py has filled."""
    lists, powers = read_rows(out / "lists.jsonl"), read_rows(out / "power.jsonl")
    (trained,) = read_rows(out / "trained.jsonl")
    alike = [row for row in lists if row["gap"] == 0]
    unlike = [row for row in lists if row["gap"] > 0]
    valid = [_kind(row) for row in alike if not _broken(row, "plain_")]
    fair = [row for row in unlike if _kind(row) in valid and _covers(row, "plain_")]
    text = _SUMMARY.format(
        lists=max(row["lists"] for row in lists),
        cells=len(alike),
        fewest=FEWEST,
        alike=markdown_table(_ALIKE, _alike(alike), text_columns=0),
        broken=sum(_broken(row, "") for row in alike),
        broken_plain=sum(_broken(row, "plain_") for row in alike),
        uncovered=sum(not _covers(row, "") for row in alike),
        uncovered_plain=sum(not _covers(row, "plain_") for row in alike),
        missed=_missed(unlike, ""),
        missed_plain=sum(not _covers(row, "plain_") for row in unlike),
        narrowest=100 * min(row["narrowest"] for row in lists),
        unlike=markdown_table(_UNLIKE, _unlike(fair), text_columns=0),
        fair=len(fair),
        unfair=len(unlike) - len(fair),
        rounds=powers[0]["rounds"],
        power=markdown_table(_POWER, map(_powers, powers), text_columns=0),
        strategy=trained["strategy"],
        copies=trained["rounds"],
        seeds=trained["seeds"],
        told=_percent(trained),
    )
    (out / "summary.md").write_text(text, encoding="utf-8")
    with (out / "lists.csv").open("w", encoding="utf-8", newline="") as file:
        columns = [*KIND, "lists", "truth", *BOUNDS, "covered", "plain_told", "plain_sure"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        rounded = lambda value: round(value, 6) if isinstance(value, float) else value
        writer.writerows({name: rounded(value) for name, value in row.items()} for row in lists)
    save(lists_figure(alike, fair), out / "lists.png")
    save(power_figure(powers), out / "power.png")


def _kind(row: dict[str, Any]) -> tuple:
    return tuple(row[name] for name in KIND if name != "gap")


def _broken(row: dict[str, Any], analysis: str) -> bool:
    """Whether copies are told apart more often than they may be, sampling error set aside."""
    return any(
        row[f"{analysis}{name}"] > bound + 2 * row[f"{analysis}{name}_error"]
        for name, bound in BOUNDS.items()
    )


def _covers(row: dict[str, Any], analysis: str) -> bool:
    return row[f"{analysis}covered"] >= COVERED - 2 * row[f"{analysis}covered_error"]


def _missed(rows: Rows, analysis: str) -> str:
    """The kinds in which intervals cover too seldom, counted by score and number of rows."""
    found = Counter((row["score"], row["rows"]) for row in rows if not _covers(row, analysis))
    told = [f"{count} of {score} on {number} rows" for (score, number), count in found.items()]
    kinds = f"{sum(found.values())} kinds"
    return f"{kinds}: {', '.join(told)}; such a score is skewed" if told else kinds


_ALIKE = (
    "seeds", "rows", "kinds", "p < 0.05, worst", "p < 0.001, all", "p < 0.001, worst",
    "false in a list, worst", "covered, least", "textbook: p < 0.05, worst",
    "textbook: p < 0.001, worst", "textbook: kinds out of bounds",
)  # fmt: skip


def _alike(rows: Rows) -> list[list[str]]:
    lines = []
    for (seeds, number), part in _by_size(rows):
        worst = lambda name, part=part: f"{100 * max(row[name] for row in part):.2f} %"
        sure = np.average([row["sure"] for row in part], weights=[row["lists"] for row in part])
        least = 100 * min(row["covered"] for row in part)
        counts = [worst("told"), f"{100 * sure:.3f} %", worst("sure"), worst("in_list")]
        textbook = [worst("plain_told"), worst("plain_sure")]
        broken = sum(_broken(row, "plain_") for row in part)
        head = [str(seeds), str(number), str(len(part))]
        lines.append([*head, *counts, f"{least:.1f} %", *textbook, str(broken)])
    return lines


_UNLIKE = ("seeds", "rows", "kinds", "told", "textbook", "largest loss, points")


def _unlike(rows: Rows) -> list[list[str]]:
    lines = []
    for (seeds, number), part in _by_size(rows):
        mean = lambda name, part=part: f"{100 * np.mean([row[name] for row in part]):.1f} %"
        loss = 100 * max(row["plain_told"] - row["told"] for row in part)
        head = [str(seeds), str(number), str(len(part))]
        lines.append([*head, mean("told"), mean("plain_told"), f"{loss:.1f}"])
    return lines


def _by_size(rows: Rows):
    size = lambda row: (row["seeds"], row["rows"])
    return [(key, list(part)) for key, part in groupby(sorted(rows, key=size), key=size)]


_POWER = ("seeds", "luck of a seed", "true difference, points", "told apart", "power", "stated")


def _powers(row: dict[str, Any]) -> list[str]:
    stated, low, high = (100 * row[name] for name in ("stated", "stated_low", "stated_high"))
    return [
        str(row["seeds"]),
        str(row["of_seed"]),
        f"{100 * row['truth']:.1f}",
        _percent(row),
        f"{100 * row['power']:.1f} %",
        f"{stated:.0f} ({low:.0f} to {high:.0f}) %",
    ]


def _percent(row: dict[str, Any]) -> str:
    return f"{100 * row['told']:.1f} +- {100 * row['told_error']:.1f} %"


def lists_figure(alike: Rows, fair: Rows) -> Figure:
    """How often copies are told apart, and how often true differences are, by both analyses."""
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, rows, title in ((left, alike, "copies"), (right, fair, "true differences")):
        for seeds in sorted({row["seeds"] for row in rows}):
            own = [row for row in rows if row["seeds"] == seeds]
            x, y = ([100 * row[name] for row in own] for name in ("plain_told", "told"))
            axes.plot(x, y, "o", ms=3, alpha=0.6, label=seeds)
        most = max((row["plain_told"] for row in rows), default=1)
        axes.plot([0, 100 * most], [0, 100 * most], color="grey", linestyle=":", linewidth=1)
        axes.set_title(f"{title} told apart in %")
        axes.set_xlabel("textbook analysis")
        axes.set_ylabel("verdicts")
    left.axhline(100 * ALPHA, color="grey", linewidth=0.5)
    left.legend(title="seeds", frameon=False)
    return figure


def power_figure(rows: Rows) -> Figure:
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


_SUMMARY = """# Do verdicts keep their word?

Made by `python experiments/verdicts.py --out runs/verdicts`.

## Copies

{cells} kinds of comparisons between strategies that are equally good, each in up to {lists} lists
of ten strategies against one: accuracy on 12 to 1000 test rows in groups of 1, 2, and 1 to 5; 1 to
10 seeds; accuracies of 50 to 99 %; two strategies that differ on 0.2 to 10 % of the rows; and luck
of the seeds that is none, 5 % or 30 % of what is a strategy's own. The same for R2 and NLL on 12
and 100 rows. With one seed there is no luck, for a verdict is about the trained models then.

A kind is out of bounds where p < 0.05 for more than 5.5 % of the pairs, p < 0.001 for more than
0.15 %, or more than 5.5 % of the lists have a false difference after Holm's correction, each by
more than two standard errors. Of the {cells} kinds, {broken} are out of bounds. Of the textbook's
crossed analysis, which lets parts of the variance be zero, {broken_plain} would be.

Intervals cover the difference, which is zero, in less than 94 % of the cases in {uncovered} of
these kinds (textbook: {uncovered_plain}). The narrowest of all reaches {narrowest:.2f} points to
either side.

{alike}

![Copies and true differences that are told apart](lists.png)

The rows of all kinds are in [lists.csv](lists.csv).

## True differences

The same kinds, with a strategy that is better by half of the discordance: three rows won for one
lost. Intervals cover the true difference in less than 94 % of the cases in {missed}. Of the
textbook's analysis, it would be {missed_plain} kinds.

The table has means over the {fair} kinds in which the textbook's analysis is within bounds and its
intervals cover; in the {unfair} others its power is that of luck. What is lost is lost where few
rows differ: the textbook tells a difference by four rows of which all are won, for which the exact
p is 0.125, and a verdict needs {fewest}.

{unlike}

## The power that is stated

Share of {rounds} simulated comparisons, of 200 groups of two rows each, in which two strategies are
told apart at 5 %, with its standard error. Where the true difference is 0 every verdict is false.
Power: what `mmjax.analysis.statistics.power` gives for the variances, known from all comparisons
together; stated: what it gives for those that one comparison finds, a median with quartiles. Luck:
how much a seed shifts all answers, as a standard deviation in units of the noise's.

{power}

![Told apart against power](power.png)

## Trained copies

`{strategy}` on the same encodings of `digits`, {copies} pairs of copies of {seeds} seeds each. Told
apart: {told}.
"""
