"""Tables and figures of the audit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from audit_claims import (
    CONTAMINATIONS,
    USUAL,
    Arm,
    Draw,
    agreement,
    claim,
    nothing_wins,
    resample,
    score,
    sides,
    truth,
)
from matplotlib.figure import Figure

from mmjax.analysis.statistics import ALPHA, compare_pair
from mmjax.report.figures.scores_figure import save
from mmjax.report.figures.style import ALONE, FUSED, QUIET, calm
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

BASELINE = "concat"
BOOTSTRAPS, PAIRS, PAIR_SEEDS = 200, 1000, 5
COUNTS = (1, 2, 3, 5, 10)
QUANTITIES = {
    "scores": "Points added to scores, mean over methods, 95 % intervals:\n",
    "gains": "Points added to gains over the baseline, both sides treated alike:\n",
    "gains, method alone": "Points added to gains, the method alone contaminated:\n",
}
Study = Mapping[str, Mapping[str, Arm]]
Inflation = Mapping[str, Mapping[str, np.ndarray]]
"""What ``measure`` returns for a task."""


def write_report(
    study: Study, groups: Mapping[str, np.ndarray], out: Path, protocol: set[str]
) -> None:
    """Writes summary.md and the figures that it shows.

    Args:
        study: {task: {strategy: its answers}}.
        groups: {task: the group of each reported row}.
        out: an existing folder.
        protocol: contaminations.
    """
    draws = {name: make_draws(arms, groups[name]) for name, arms in study.items()}
    pages = ["# The audit\n", headline(study, protocol)]
    added = {name: measure(arms, draws[name]) for name, arms in study.items()}
    write_text(out / "inflation.csv", inflation_csv(study, added))
    pages += ["## Inflation\n", *inflation(added), _INFLATION]
    pages += ["## Methods that do nothing\n", *nothing(study)]
    pages += ["## Verdicts on methods that do nothing\n", verdicts(study, groups)]
    pages += ["## Rankings\n", rankings(study, draws)]
    pages += ["## Seeds that a ranking needs\n", seeds_needed(study)]
    pages += ["## Every method\n", _GAINS]
    pages += [gains(name, study[name], draws[name]) for name in study]
    save(inflation_figure(added), out / "inflation.png")
    save(gains_figure(study, draws), out / "gains.png")
    write_text(out / "summary.md", "\n\n".join(page.strip() for page in pages) + "\n")


_INFLATION = """![Points added to scores](inflation.png)

Points added to scores: each method (bars), and their mean with its 95 % interval. What each
contamination adds to each method, with intervals: [inflation.csv](inflation.csv)."""
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
    """{quantity: {contamination: what it adds, [draws, methods]}}."""

    def on(side: Mapping[str, Arm], dirty: set[str]) -> np.ndarray:
        return np.array([[score(arm, draw, dirty) for arm in side.values()] for draw in draws])

    base = {BASELINE: arms[BASELINE]}
    clean, clean_base = on(others(arms), set()), on(base, set())
    added: dict[str, dict[str, np.ndarray]] = {name: {} for name in QUANTITIES}
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
            cells = ["-" if v is None else interval(v.mean(axis=1)) for v in tasks]
            rows.append([name, *cells])
        pages += [title, markdown_table(["contamination", *added], rows)]
    return pages


def inflation_csv(study: Study, added: Mapping[str, Inflation]) -> str:
    """What each contamination adds to each method, with 95 % intervals."""
    lines = ["task,method,contamination,quantity,points,low,high"]
    for task, of_task in added.items():
        for quantity, of_quantity in of_task.items():
            for name, values in of_quantity.items():
                bounds = np.percentile(values[1:], [2.5, 97.5], axis=0)
                points = 100 * np.stack([values[0], *bounds], axis=1)
                for method, some in zip(others(study[task]), points, strict=True):
                    cells = ",".join(f"{one:.2f}" for one in some)
                    lines.append(f'{task},{method},{name},"{quantity}",{cells}')
    return "\n".join(lines) + "\n"


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


def nothing(study: Study) -> list[str]:
    """How often the baseline with other seeds looks better than the baseline."""
    pages = []
    for both, how in ((True, "both sides treated alike"), (False, "the method alone contaminated")):
        rows = []
        clean = [nothing_wins(arms[BASELINE], set(), both, PAIR_SEEDS) for arms in study.values()]
        rows.append(["none", *(f"{100 * w:.0f} ({100 * large:.0f})" for w, large in clean)])
        for name in [*CONTAMINATIONS, "all together"]:
            cells = []
            for arms in study.values():
                if name not in protocols(arms):
                    cells.append("-")
                    continue
                wins, large = nothing_wins(arms[BASELINE], protocols(arms)[name], both, PAIR_SEEDS)
                cells.append(f"{100 * wins:.0f} ({100 * large:.0f})")
            rows.append([name, *cells])
        title = f"A method that does nothing wins, in % of draws, and by a point or more; {how}:\n"
        pages += [title, markdown_table(["contamination", *study], rows)]
    return pages


def verdicts(study: Study, groups: Mapping[str, np.ndarray]) -> str:
    """How often the library's test tells a method that does nothing from the baseline."""
    rows = []
    for task, arms in study.items():
        right = arms[BASELINE]["clean"].test[USUAL].astype(float)
        rng, told = np.random.default_rng(0), 0
        for _ in range(PAIRS):
            order = rng.permutation(len(right))[: 2 * PAIR_SEEDS]
            one, other = right[order[:PAIR_SEEDS]], right[order[PAIR_SEEDS:]]
            told += compare_pair(one, other, groups[task]).p < ALPHA
        rows.append([task, f"{100 * told / PAIRS:.1f}"])
    return markdown_table(["task", f"told apart, % of {PAIRS:,} pairs"], rows)


def rankings(study: Study, draws: Mapping[str, list[Draw]]) -> str:
    """Kendall's tau of reported rankings with the true one."""
    rows = []
    true = {task: [truth(arm) for arm in arms.values()] for task, arms in study.items()}
    for name in ["clean", *CONTAMINATIONS, "all together"]:
        cells = []
        for task, arms in study.items():
            known = {"clean": set(), **protocols(arms)}
            if name not in known or task == "null":
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
        if task == "null" or len(ten) < 2:
            continue
        total = min(arm["clean"].test.shape[1] for arm in ten)
        whole = np.ones(ten[0]["clean"].test.shape[2])
        true, cells = [truth(arm) for arm in ten], []
        for count in COUNTS:
            some = [Draw(rng.permutation(total)[:count], whole) for _ in range(BOOTSTRAPS)]
            cells.append(f"{np.mean([agreement(ten, true, draw, set()) for draw in some]):.2f}")
        rows.append([task, *cells])
    return markdown_table(["task", *(f"{count} seeds" for count in COUNTS)], rows)


def gains(task: str, arms: Mapping[str, Arm], draws: Sequence[Draw]) -> str:
    """A table of a task: what is claimed of each method, cleanly and with everything, and true."""
    base, rows = arms[BASELINE], []
    for name, arm in others(arms).items():
        true = f"{100 * (truth(arm) - truth(base)):+.1f}"
        told = [
            interval([claim(arm, base, (d, d), dirty, both=False) for d in draws])
            for dirty in (set(), everything(arms))
        ]
        rows.append([name, true, *told])
    rows.sort(key=lambda row: -float(row[1]))
    head = ["method", "true gain", "clean claim", "claim with all contaminations"]
    return f"### {task}\n\n{markdown_table(head, rows)}"


def inflation_figure(added: Mapping[str, Inflation]) -> Figure:
    """Points added to scores, a panel for each task."""
    figure = Figure(figsize=(2.4 * len(added) + 1.6, 3), layout="constrained")
    panels = figure.subplots(1, len(added), sharey=True, squeeze=False)[0]
    names = [*CONTAMINATIONS, "all together"][::-1]
    for axes, (task, of_task) in zip(panels, added.items(), strict=True):
        for name, values in of_task["scores"].items():
            place = names.index(name)
            each, mean = 100 * values[0], 100 * values.mean(axis=1)
            axes.plot(each, np.full(len(each), place), "|", color=QUIET, markersize=7)
            axes.plot(np.percentile(mean[1:], [2.5, 97.5]), [place, place], color=FUSED)
            axes.plot(mean[0], place, "o", color=FUSED, markersize=5)
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(task)
        axes.set_xlabel("points added")
        calm(axes, grid="x")
    return figure


def gains_figure(study: Study, draws: Mapping[str, list[Draw]]) -> Figure:
    """Claimed against true gains of all methods, cleanly and with all contaminations."""
    figure = Figure(figsize=(2.6 * len(study), 3), layout="constrained")
    panels = figure.subplots(1, len(study), squeeze=False)[0]
    for axes, (task, arms) in zip(panels, study.items(), strict=True):
        base, whole = arms[BASELINE], draws[task][0]
        true = [100 * (truth(arm) - truth(base)) for arm in others(arms).values()]
        kinds = (("clean", set(), FUSED), ("all together", everything(arms), ALONE))
        for label, dirty, color in kinds:
            pair = whole, whole
            told = [100 * claim(a, base, pair, dirty, both=False) for a in others(arms).values()]
            axes.plot(true, told, "o", color=color, markersize=4, alpha=0.8, label=label)
        ends = [*axes.get_xlim(), *axes.get_ylim()]
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=QUIET, linewidth=0.8)
        axes.set_title(task)
        axes.set_xlabel("true gain, points")
        calm(axes, grid="both")
    panels[0].set_ylabel("claimed gain, points")
    panels[-1].legend(loc="best", fontsize="small")
    return figure
