"""The summary of the audit: its tables, beside the figures."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from audit_claims import (
    CONTAMINATIONS,
    USUAL,
    Arm,
    Draw,
    agreement,
    nothing_wins,
    score,
    sides,
    truth,
)
from audit_figures import gains_figure, inflation_figure, nothing_figure
from audit_measures import (
    BASELINE,
    DRAWS,
    NULL,
    PAIR_SEEDS,
    SIDES,
    Inflation,
    Study,
    Wins,
    bounds,
    claims,
    clean_agreement,
    count_wins,
    everything,
    make_draws,
    measure,
    others,
    protocols,
    seeds_of_pairs,
    true_gains,
)

from mmjax.analysis.statistics import ALPHA, compare_pair
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

PAIRS = 1000
MORE = 20_000  # on the task whose answer is known, where the pairs of forty models can be many
COUNTS = (1, 2, 3, 5, 10)
TITLES = {
    "scores": "Points added to scores, mean over methods, 95 % intervals:\n",
    "gains": "Points added to gains over the baseline, both sides treated alike:\n",
    "gains, method alone": "Points added to gains, the method alone contaminated:\n",
}


def write_report(
    study: Study,
    groups: Mapping[str, np.ndarray],
    fresh: np.ndarray | None,
    out: Path,
    protocol: set[str],
) -> None:
    """Writes summary.md and the figures that it shows.

    Args:
        study: {task: {strategy: its answers}}.
        groups: {task: the group of each reported row}, and of the leaking task if there is one.
        fresh: answers of the baseline on the task ``null``, [times, seeds, rows].
        out: an existing folder.
        protocol: contaminations.
    """
    draws = {
        name: make_draws(arms, groups[name], groups.get(f"{name} leaking"))
        for name, arms in study.items()
    }
    pages = ["# The audit\n", headline(study, draws, protocol)]
    added = {name: measure(arms, draws[name]) for name, arms in study.items()}
    write_text(out / "inflation.csv", inflation_csv(study, added))
    pages += ["## Baseline, and gains that are true\n", baselines(study, groups, draws, added)]
    pages += ["## Inflation\n", *inflation(added), _INFLATION]
    wins = {how: count_wins(study, draws, both) for how, both in SIDES.items()}
    pages += ["## Methods that do nothing\n", *nothing(wins), _NOTHING]
    pages += ["## Verdicts on methods that do nothing\n", verdicts(study, groups, fresh)]
    pages += ["## Rankings\n", _RANKINGS, rankings(study, draws)]
    pages += ["## Seeds that a ranking needs\n", _SEEDS, seeds_needed(study)]
    pages += ["## Every method\n", _GAINS]
    pages += [gains(name, arms, added[name]) for name, arms in study.items()]
    save(inflation_figure(added), out / "inflation.png")
    save(nothing_figure(wins), out / "nothing.png")
    save(gains_figure(study, added), out / "gains.png")
    write_text(out / "summary.md", "\n\n".join(page.strip() for page in pages) + "\n")


_INFLATION = """![Points added to scores](inflation.png)

Points added to scores: each method (bars), and their mean with its 95 % interval. What each
contamination adds to each method, with intervals: [inflation.csv](inflation.csv)."""
_NOTHING = """![How often a method that does nothing wins](nothing.png)

How often a method that does nothing wins, in % of draws."""
_RANKINGS = "Kendall's tau of the ranking that a protocol reports with the true one, all arms:\n"
_SEEDS = "Kendall's tau of the clean ranking of ten training methods with the true one:\n"
_GAINS = """![Claimed and true gains](gains.png)

Gains that are claimed, of the method alone contaminated, against true ones; a dot is a method."""


def interval(values: np.ndarray | list[float]) -> str:
    """The first value, and its bounds, in points."""
    value, low, high = np.round(100 * np.array([values[0], *bounds(values)]), 1) + 0.0  # no -0.0
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def baselines(
    study: Study,
    groups: Mapping[str, np.ndarray],
    draws: Mapping[str, list[Draw]],
    added: Mapping[str, Inflation],
) -> str:
    """The clean baseline, and how many clean claims have an interval with the true gain."""
    rows = []
    for task, arms in study.items():
        base, whole = arms[BASELINE], draws[task][0]
        reported = score(base, whole._replace(seeds=whole.of_baseline), set()).mean()
        low, high = 100 * bounds(added[task]["claims"]["clean"])
        true = np.array(true_gains(task, arms))
        sizes = f"{len(groups[task]):,}", f"{len(np.unique(groups[task])):,}"
        found = f"{((low <= true) & (true <= high)).sum()} of {len(true)}"
        rows.append([task, *sizes, f"{100 * reported:.1f}", f"{100 * truth(base):.1f}", found])
    head = ["task", "reported rows", "groups", "baseline %", "on rows held out %"]
    return markdown_table([*head, "true gains in the interval of the clean claim"], rows)


def inflation(added: Mapping[str, Inflation]) -> list[str]:
    """Tables of points added to scores and to gains, means over methods."""
    pages = []
    for quantity, title in TITLES.items():
        rows = []
        for name in [*CONTAMINATIONS, "all together"]:
            tasks = [of_task[quantity].get(name) for of_task in added.values()]
            means = [None if values is None else values.mean(axis=1) for values in tasks]
            cells = ["-" if m is None else interval(m) if m.any() else "0" for m in means]
            rows.append([name, *cells])
        pages += [title, markdown_table(["contamination", *added], rows)]
    return pages


def inflation_csv(study: Study, added: Mapping[str, Inflation]) -> str:
    """What each contamination adds to each method, with 95 % intervals."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["task", "method", "contamination", "quantity", "points", "low", "high"])
    for task, of_task in added.items():
        for quantity in TITLES:
            for name, values in of_task[quantity].items():
                points = 100 * np.stack([values[0], *bounds(values)], axis=1)
                for method, some in zip(others(study[task]), points, strict=True):
                    table.writerow([task, method, name, quantity, *(f"{p:.2f}" for p in some)])
    return text.getvalue()


def headline(study: Study, draws: Mapping[str, list[Draw]], protocol: set[str]) -> str:
    """What a protocol lets a method that does nothing claim, a sentence for each task."""
    done = "; ".join(text for name, text in CONTAMINATIONS.items() if name in protocol)
    lines = [f"The protocol: {done}."]
    for task, arms in study.items():
        base = arms[BASELINE]
        draw = draws[task][0]._replace(seeds=seeds_of_pairs(base, DRAWS))
        dirty = protocol & everything(arms)
        alone, alike = (nothing_wins(base, draw, dirty, both) for both in (False, True))
        lines.append(
            f"{task}: a method that does nothing wins {100 * alone[0]:.0f} % of the time, and by a "
            f"point or more {100 * alone[1]:.0f} %, if this is done to it alone; "
            f"{100 * alike[0]:.0f} % and {100 * alike[1]:.0f} % if it is done to the baseline, too."
        )
    return "\n\n".join(lines)


def nothing(wins: Mapping[str, Wins]) -> list[str]:
    """Tables of how often a method that does nothing looks better."""
    pages = []
    for how, of_task in wins.items():
        rows = []
        for name in ["none", *CONTAMINATIONS, "all together"]:
            found = [of.get(name) for of in of_task.values()]
            rows.append([name, *("-" if one is None else wins_cell(one) for one in found)])
        title = (
            "A method that does nothing wins, in % of draws, with intervals over rows; in "
            f"parentheses, by a point or more; {how}:\n"
        )
        pages += [title, markdown_table(["contamination", *of_task], rows)]
    return pages


def wins_cell(values: np.ndarray) -> str:
    """How often, its interval over rows, and how often by a point, in %."""
    low, high = bounds(values[:, 0]).clip(0, 1)
    often, by_a_point = values[0]
    return f"{100 * often:.0f} [{100 * low:.0f}, {100 * high:.0f}] ({100 * by_a_point:.0f})"


def verdicts(study: Study, groups: Mapping[str, np.ndarray], fresh: np.ndarray | None) -> str:
    """How often the library's test tells a method that does nothing from the baseline."""
    rows = []

    def add(name: str, models: np.ndarray, group: np.ndarray) -> None:
        pairs = models.reshape(-1, 2, PAIR_SEEDS, models.shape[-1])
        told = [compare_pair(*pair.astype(float), group).p < ALPHA for pair in pairs]
        rows.append([name, f"{len(told):,}", f"{100 * np.mean(told):.1f}"])

    for task, arms in study.items():
        right = arms[BASELINE]["clean"].test[USUAL]
        for count in (PAIRS, MORE) if task == NULL else (PAIRS,):
            rng = np.random.default_rng(0)
            orders = [rng.permutation(len(right))[: 2 * PAIR_SEEDS] for _ in range(count)]
            add(task, right[np.array(orders)], groups[task])
    if fresh is not None:
        add(f"{NULL}, each pair of models of its own", fresh, groups[NULL])
    return markdown_table(["task", "pairs", "told apart, %"], rows)


def rankings(study: Study, draws: Mapping[str, list[Draw]]) -> str:
    """Kendall's tau of reported rankings with the true one."""
    rows = []
    true = {task: [truth(arm) for arm in arms.values()] for task, arms in study.items()}
    for name in ["clean", *CONTAMINATIONS, "all together"]:
        cells = []
        for task, arms in study.items():
            known = {"clean": set(), **protocols(arms)}
            if name not in known or task == NULL:
                cells.append("-")
                continue
            method, base = sides(known[name], both=True)
            done = [base if arm == BASELINE else method for arm in arms]
            every = list(arms.values())
            values = [agreement(every, true[task], draw, done) for draw in draws[task]]
            low, high = bounds(values).clip(-1, 1)
            cells.append(f"{values[0]:.2f} [{low:.2f}, {high:.2f}]")
        rows.append([name, *cells])
    apart = lambda arms: f"{clean_agreement(list(arms.values()), PAIR_SEEDS, apart=True):.2f}"
    cells = ["-" if task == NULL else apart(arms) for task, arms in study.items()]
    rows.insert(1, ["clean, 5 seeds; truth of 5 others", *cells])
    return markdown_table(["contamination", *study], rows)


def seeds_needed(study: Study) -> str:
    """Tau of the clean ranking of ten training methods from fewer seeds with the truth."""
    rows = []
    for task, arms in study.items():
        ten = [arm for name, arm in arms.items() if name.startswith(f"{BASELINE}:")][:10]
        if task == NULL or len(ten) < 2:
            continue
        total = min(arm["clean"].test.shape[1] for arm in ten)
        for name, apart in ((task, False), (f"{task}, truth of other seeds", True)):
            possible = total // 2 if apart else total
            cells = [
                f"{clean_agreement(ten, count, apart):.2f}" if count <= possible else "-"
                for count in COUNTS
            ]
            rows.append([name, *cells])
    heads = ["1 seed", *(f"{count} seeds" for count in COUNTS[1:])]
    return markdown_table(["task", *heads], rows)


def gains(task: str, arms: Mapping[str, Arm], added: Inflation) -> str:
    """A table of a task: what is claimed of each method, cleanly and with everything, and true."""
    rows = []
    told = [values.T for values in claims(added).values()]
    for name, true, clean, dirty in zip(others(arms), true_gains(task, arms), *told, strict=True):
        rows.append([name, f"{round(true, 1) + 0.0:+.1f}", interval(clean), interval(dirty)])
    rows.sort(key=lambda row: -float(row[1]))
    head = ["method", "true gain", "clean claim", "claim with all contaminations"]
    return f"### {task}\n\n{markdown_table(head, rows)}"
