"""Tables and figures of the audit."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from audit_claims import (
    CONTAMINATIONS,
    USUAL,
    Arm,
    Draw,
    agreement,
    nothing_wins,
    resample,
    score,
    sides,
    truth,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmjax.analysis.statistics import ALPHA, compare_pair
from mmjax.report.figures.scores_figure import save
from mmjax.report.figures.style import ALONE, FUSED, QUIET, calm
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

BASELINE, NULL = "concat", "null"
BOOTSTRAPS, DRAWS, PAIRS, PAIR_SEEDS = 200, 2000, 1000, 5
COUNTS = (1, 2, 3, 5, 10)
QUANTITIES = {
    "scores": "Points added to scores, mean over methods, 95 % intervals:\n",
    "gains": "Points added to gains over the baseline, both sides treated alike:\n",
    "gains, method alone": "Points added to gains, the method alone contaminated:\n",
}
SIDES = {"both sides treated alike": True, "the method alone contaminated": False}
Study = Mapping[str, Mapping[str, Arm]]
Inflation = Mapping[str, Mapping[str, np.ndarray]]
"""What ``measure`` returns for a task."""
Wins = Mapping[str, Mapping[str, np.ndarray]]
"""What ``count_wins`` returns."""


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


def make_draws(
    arms: Mapping[str, Arm], group: np.ndarray, leaking: np.ndarray | None
) -> list[Draw]:
    """All seeds and rows first, then bootstrap draws of those that all arms share."""
    total = [arm["clean"].test.shape[1] for arm in arms.values()]
    counts = min(total), arms[BASELINE]["clean"].test.shape[1]
    every_first = [np.add.outer(np.arange(n), np.arange(n)) % n for n in counts]  # each is the one
    ones = None if leaking is None else np.ones(len(leaking))
    whole = Draw(every_first[0], np.ones(len(group)), ones, every_first[1])
    return [whole, *resample(counts, group, leaking, BOOTSTRAPS)]


def applies(contamination: str, arms: Mapping[str, Arm]) -> bool:
    """Whether it can be done on a task."""
    return contamination != "speakers shared" or "leaking clean" in arms[BASELINE]


def everything(arms: Mapping[str, Arm]) -> set[str]:
    """All contaminations that can be done on a task."""
    return {name for name in CONTAMINATIONS if applies(name, arms)}


def protocols(arms: Mapping[str, Arm]) -> dict[str, set[str]]:
    """Each contamination that can be done on a task, and all together."""
    single = {name: {name} for name in CONTAMINATIONS if applies(name, arms)}
    return {**single, "all together": everything(arms)}


def others(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms that are compared with the baseline."""
    return {name: arm for name, arm in arms.items() if name != BASELINE}


def bounds(values: np.ndarray | list[float]) -> np.ndarray:
    """[low, high] of the first value: percentiles of the others, about the first one.

    Draws of a maximum or of a correlation have another mean than the value, which is taken off.
    """
    values = np.asarray(values)
    return values[0] + np.percentile(values[1:] - values[1:].mean(axis=0), [2.5, 97.5], axis=0)


def interval(values: np.ndarray | list[float]) -> str:
    """The first value, and its bounds, in points."""
    value, low, high = np.round(100 * np.array([values[0], *bounds(values)]), 1) + 0.0  # no -0.0
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def measure(arms: Mapping[str, Arm], draws: Sequence[Draw]) -> dict[str, dict[str, np.ndarray]]:
    """{quantity: {contamination: what it adds, [draws, methods]}}, and "claims" under "clean"."""

    def of_methods(dirty: set[str]) -> np.ndarray:
        methods = others(arms).values()
        return np.array([[score(arm, draw, dirty).mean() for arm in methods] for draw in draws])

    def of_baseline(dirty: set[str]) -> np.ndarray:
        own = [draw._replace(seeds=draw.of_baseline) for draw in draws]
        return np.array([[score(arms[BASELINE], draw, dirty).mean()] for draw in own])

    clean, clean_base = of_methods(set()), of_baseline(set())
    added: dict[str, dict[str, np.ndarray]] = {name: {} for name in QUANTITIES}
    added["claims"] = {"clean": clean - clean_base}
    for name, dirty in protocols(arms).items():
        score_added = of_methods(sides(dirty, both=True)[0]) - clean
        added["scores"][name] = score_added
        for both, quantity in ((True, "gains"), (False, "gains, method alone")):
            base_added = of_baseline(sides(dirty, both)[1]) - clean_base
            added[quantity][name] = score_added - base_added
    return added


def inflation(added: Mapping[str, Inflation]) -> list[str]:
    """Tables of points added to scores and to gains, means over methods."""
    pages = []
    for quantity, title in QUANTITIES.items():
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
        for quantity in QUANTITIES:
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
        base, draw = arms[BASELINE], some_seeds(arms[BASELINE], draws[task][0])
        dirty = protocol & everything(arms)
        alone, alike = (nothing_wins(base, draw, dirty, both) for both in (False, True))
        lines.append(
            f"{task}: a method that does nothing wins {100 * alone[0]:.0f} % of the time, and by a "
            f"point or more {100 * alone[1]:.0f} %, if this is done to it alone; "
            f"{100 * alike[0]:.0f} % and {100 * alike[1]:.0f} % if it is done to the baseline, too."
        )
    return "\n\n".join(lines)


def some_seeds(baseline: Arm, rows: Draw, times: int = DRAWS) -> Draw:
    """The same rows; seeds of the baseline for both sides of a comparison, at random."""
    rng, total = np.random.default_rng(0), baseline["clean"].test.shape[1]
    order = rng.permuted(np.tile(np.arange(total), (times, 1)), axis=1)
    return rows._replace(seeds=order[:, : 2 * PAIR_SEEDS])


def count_wins(study: Study, draws: Mapping[str, list[Draw]], both: bool) -> Wins:
    """How often the baseline with other seeds beats the baseline, and by a point.

    {task: {contamination: [draws, 2]}}: on all rows first, then on bootstrap draws of rows.
    """
    wins: dict[str, dict[str, np.ndarray]] = {}
    for task, arms in study.items():
        base, (whole, *others) = arms[BASELINE], draws[task]
        tried = [some_seeds(base, whole), *(some_seeds(base, d, DRAWS // 10) for d in others)]
        wins[task] = {
            name: np.array([nothing_wins(base, draw, dirty, both) for draw in tried])
            for name, dirty in {"none": set(), **protocols(arms)}.items()
        }
    return wins


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
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for task, arms in study.items():
        right, rng = arms[BASELINE]["clean"].test[USUAL], np.random.default_rng(0)
        orders = [rng.permutation(len(right)) for _ in range(PAIRS)]
        pairs[task] = [
            (right[order[:PAIR_SEEDS]], right[order[PAIR_SEEDS : 2 * PAIR_SEEDS]])
            for order in orders
        ]
    if fresh is not None:
        both = fresh.reshape(-1, 2, PAIR_SEEDS, fresh.shape[-1])
        pairs[f"{NULL}, each pair of models of its own"] = [(one, other) for one, other in both]
    rows = []
    for name, of_task in pairs.items():
        group = groups[name.partition(",")[0]]
        ps = [compare_pair(a.astype(float), b.astype(float), group).p for a, b in of_task]
        rows.append([name, f"{len(ps):,}", f"{100 * np.mean(np.array(ps) < ALPHA):.1f}"])
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
    apart = [
        "-"
        if task == NULL
        else f"{clean_agreement(list(arms.values()), PAIR_SEEDS, apart=True):.2f}"
        for task, arms in study.items()
    ]
    rows.insert(1, ["clean, 5 seeds; truth of 5 others", *apart])
    return markdown_table(["contamination", *study], rows)


def clean_agreement(arms: Sequence[Arm], count: int, apart: bool) -> float:
    """Mean tau of the clean ranking from ``count`` seeds with the truth, of other seeds or all."""
    rng = np.random.default_rng(0)
    total = min(arm["clean"].test.shape[1] for arm in arms)
    whole, none = np.ones(arms[0]["clean"].test.shape[2]), [set[str]()] * len(arms)
    taus = []
    for _ in range(BOOTSTRAPS):
        order = rng.permutation(total)
        true = [truth(arm, order[total // 2 :]) if apart else truth(arm) for arm in arms]
        taus.append(agreement(arms, true, Draw(order[:count], whole), none))
    return float(np.mean(taus))


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


def true_gains(task: str, arms: Mapping[str, Arm]) -> list[float]:
    """In points, of all methods."""
    base = truth(arms[BASELINE])
    return [0.0 if task == NULL else 100 * (truth(arm) - base) for arm in others(arms).values()]


def claims(added: Inflation) -> dict[str, np.ndarray]:
    """Gains that are claimed cleanly and with everything, [draws, methods]."""
    clean = added["claims"]["clean"]
    return {"clean": clean, "all together": clean + added["gains, method alone"]["all together"]}


def gains(task: str, arms: Mapping[str, Arm], added: Inflation) -> str:
    """A table of a task: what is claimed of each method, cleanly and with everything, and true."""
    rows = []
    told = [values.T for values in claims(added).values()]
    for name, true, clean, dirty in zip(others(arms), true_gains(task, arms), *told, strict=True):
        rows.append([name, f"{round(true, 1) + 0.0:+.1f}", interval(clean), interval(dirty)])
    rows.sort(key=lambda row: -float(row[1]))
    head = ["method", "true gain", "clean claim", "claim with all contaminations"]
    return f"### {task}\n\n{markdown_table(head, rows)}"


def panels(tasks: Sequence[str], xlabel: str, share: bool) -> tuple[Figure, list[Axes]]:
    """A panel for each task, three in a row."""
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3 * columns + 1, 2.8 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=share, squeeze=False).flat)
    for spare in axes[len(tasks) :]:
        spare.set_axis_off()
    for panel, task in zip(axes, tasks, strict=False):
        panel.set_title(task)
        panel.set_xlabel(xlabel)
        calm(panel, grid="x" if share else "both")
    return figure, axes[: len(tasks)]


def inflation_figure(added: Mapping[str, Inflation]) -> Figure:
    """Points added to scores, a panel for each task."""
    figure, axes = panels(list(added), "points added", share=True)
    names = [*CONTAMINATIONS, "all together"][::-1]
    for panel, of_task in zip(axes, added.values(), strict=True):
        for name, values in of_task["scores"].items():
            place = names.index(name)
            each, mean = 100 * values[0], 100 * values.mean(axis=1)
            panel.plot(each, np.full(len(each), place), "|", color=QUIET, markersize=7)
            panel.plot(bounds(mean), [place, place], color=FUSED)
            panel.plot(mean[0], place, "o", color=FUSED, markersize=5)
        panel.axvline(0, color=QUIET, linewidth=0.8)
        panel.set_yticks(range(len(names)), names)
    return figure


def nothing_figure(wins: Mapping[str, Wins]) -> Figure:
    """How often a method that does nothing wins, a panel for each task."""
    tasks = list(next(iter(wins.values())))
    figure, axes = panels(tasks, "wins, % of draws", share=True)
    names = ["none", *CONTAMINATIONS, "all together"][::-1]
    for panel, task in zip(axes, tasks, strict=True):
        for (how, of_task), color in zip(wins.items(), (FUSED, ALONE), strict=True):
            found = of_task[task]
            places = [names.index(name) for name in found]
            shift = 0.12 if how == next(iter(wins)) else -0.12
            for place, values in zip(places, found.values(), strict=True):
                ends = 100 * bounds(values[:, 0]).clip(0, 1)
                panel.plot(ends, [place + shift] * 2, color=color, linewidth=1)
            won = [100 * values[0, 0] for values in found.values()]
            heights = np.array(places) + shift
            panel.plot(won, heights, "o", color=color, markersize=5, alpha=0.8, label=how)
        panel.axvline(50, color=QUIET, linewidth=0.8)
        panel.set_xlim(0, 100)
        panel.set_yticks(range(len(names)), names)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def gains_figure(study: Study, added: Mapping[str, Inflation]) -> Figure:
    """Claimed against true gains of all methods, cleanly and with all contaminations."""
    figure, axes = panels(list(study), "true gain, points", share=False)
    for panel, (task, arms) in zip(axes, study.items(), strict=True):
        true = true_gains(task, arms)
        for (label, values), color in zip(claims(added[task]).items(), (FUSED, ALONE), strict=True):
            told = 100 * values[0]
            panel.plot(true, told, "o", color=color, markersize=4, alpha=0.8, label=label)
        low, high = panel.get_ylim()
        ends = min(low, *true), max(high, *true)
        panel.plot(ends, ends, color=QUIET, linewidth=0.8)
        panel.set_ylabel("claimed gain, points")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
