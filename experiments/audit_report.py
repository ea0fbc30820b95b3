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
BOOTSTRAPS, PAIRS, PAIR_SEEDS = 200, 1000, 5
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
Wins = Mapping[str, Mapping[str, tuple[float, float]]]
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
        groups: {task: the group of each reported row}.
        fresh: answers of the baseline on the task ``null``, [times, seeds, rows].
        out: an existing folder.
        protocol: contaminations.
    """
    draws = {name: make_draws(arms, groups[name]) for name, arms in study.items()}
    pages = ["# The audit\n", headline(study, protocol)]
    added = {name: measure(arms, draws[name]) for name, arms in study.items()}
    write_text(out / "inflation.csv", inflation_csv(study, added))
    pages += ["## Inflation\n", *inflation(added), _INFLATION]
    wins = {how: count_wins(study, both) for how, both in SIDES.items()}
    pages += ["## Methods that do nothing\n", *nothing(wins), _NOTHING]
    pages += ["## Verdicts on methods that do nothing\n", verdicts(study, groups, fresh)]
    pages += ["## Rankings\n", rankings(study, draws)]
    pages += ["## Seeds that a ranking needs\n", seeds_needed(study)]
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
_GAINS = """![Claimed and true gains](gains.png)

Gains that are claimed, of the method alone contaminated, against true ones; a dot is a method."""


def make_draws(arms: Mapping[str, Arm], group: np.ndarray) -> list[Draw]:
    """All seeds and rows first, then bootstrap draws of those that all arms share."""
    seeds = min(arm["clean"].test.shape[1] for arm in arms.values())
    whole = Draw(np.arange(seeds), np.ones(len(group)))
    return [whole, *resample(seeds, group, BOOTSTRAPS)]


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


def interval(values: np.ndarray | list[float]) -> str:
    """The first value, and the percentiles of the others, in points."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return f"{100 * values[0]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def measure(arms: Mapping[str, Arm], draws: Sequence[Draw]) -> dict[str, dict[str, np.ndarray]]:
    """{quantity: {contamination: what it adds, [draws, methods]}}, and "claims" under "clean"."""

    def on(side: Mapping[str, Arm], dirty: set[str]) -> np.ndarray:
        return np.array([[score(arm, draw, dirty) for arm in side.values()] for draw in draws])

    base = {BASELINE: arms[BASELINE]}
    clean, clean_base = on(others(arms), set()), on(base, set())
    added: dict[str, dict[str, np.ndarray]] = {name: {} for name in QUANTITIES}
    added["claims"] = {"clean": clean - clean_base}
    for name, dirty in protocols(arms).items():
        score_added = on(others(arms), sides(dirty, both=True)[0]) - clean
        added["scores"][name] = score_added
        for both, quantity in ((True, "gains"), (False, "gains, method alone")):
            added[quantity][name] = score_added - (on(base, sides(dirty, both)[1]) - clean_base)
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
                bounds = np.percentile(values[1:], [2.5, 97.5], axis=0)
                points = 100 * np.stack([values[0], *bounds], axis=1)
                for method, some in zip(others(study[task]), points, strict=True):
                    table.writerow([task, method, name, quantity, *(f"{p:.2f}" for p in some)])
    return text.getvalue()


def headline(study: Study, protocol: set[str]) -> str:
    """What a protocol lets a method that does nothing claim, a sentence for each task."""
    lines = [f"The protocol: {'; '.join(CONTAMINATIONS[name] for name in sorted(protocol))}."]
    for task, arms in study.items():
        done = protocol & everything(arms)
        alone, alike = (nothing_wins(arms[BASELINE], done, b, PAIR_SEEDS) for b in (False, True))
        lines.append(
            f"{task}: a method that does nothing wins {100 * alone[0]:.0f} % of the time, and by a "
            f"point or more {100 * alone[1]:.0f} %, if this is done to it alone; "
            f"{100 * alike[0]:.0f} % and {100 * alike[1]:.0f} % if it is done to the baseline, too."
        )
    return "\n\n".join(lines)


def count_wins(study: Study, both: bool) -> Wins:
    """{task: {contamination: how often the baseline with other seeds beats it, and by a point}}."""
    return {
        task: {
            name: nothing_wins(arms[BASELINE], dirty, both, PAIR_SEEDS)
            for name, dirty in {"none": set(), **protocols(arms)}.items()
        }
        for task, arms in study.items()
    }


def nothing(wins: Mapping[str, Wins]) -> list[str]:
    """Tables of how often a method that does nothing looks better."""
    pages = []
    for how, of_task in wins.items():
        rows = []
        for name in ["none", *CONTAMINATIONS, "all together"]:
            found = [of.get(name) for of in of_task.values()]
            cells = ["-" if f is None else f"{100 * f[0]:.0f} ({100 * f[1]:.0f})" for f in found]
            rows.append([name, *cells])
        title = f"A method that does nothing wins, in % of draws, and by a point or more; {how}:\n"
        pages += [title, markdown_table(["contamination", *of_task], rows)]
    return pages


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
            every = list(arms.values())
            values = [agreement(every, true[task], d, known[name]) for d in draws[task]]
            low, high = np.percentile(values[1:], [2.5, 97.5])
            cells.append(f"{values[0]:.2f} [{low:.2f}, {high:.2f}]")
        rows.append([name, *cells])
    return markdown_table(["contamination", *study], rows)


def seeds_needed(study: Study) -> str:
    """Tau of the clean ranking of ten training methods from fewer seeds with the truth."""
    rows = []
    rng = np.random.default_rng(0)
    for task, arms in study.items():
        ten = [arm for name, arm in arms.items() if name.startswith(f"{BASELINE}:")][:10]
        if task == NULL or len(ten) < 2:
            continue
        total = min(arm["clean"].test.shape[1] for arm in ten)
        whole = np.ones(ten[0]["clean"].test.shape[2])
        true, cells = [truth(arm) for arm in ten], []
        for count in COUNTS:
            some = [Draw(rng.permutation(total)[:count], whole) for _ in range(BOOTSTRAPS)]
            cells.append(f"{np.mean([agreement(ten, true, draw, set()) for draw in some]):.2f}")
        rows.append([task, *cells])
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
        rows.append([name, f"{true:+.1f}", interval(clean), interval(dirty)])
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
            panel.plot(np.percentile(mean[1:], [2.5, 97.5]), [place, place], color=FUSED)
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
            won = [100 * often for often, _ in found.values()]
            panel.plot(won, places, "o", color=color, markersize=5, alpha=0.8, label=how)
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
