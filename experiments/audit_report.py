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
Study = Mapping[str, Mapping[str, Arm]]


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
    pages += ["## Inflation of scores\n", *inflation(study, draws)]
    pages += ["## Methods that do nothing\n", *nothing(study)]
    pages += ["## Verdicts on methods that do nothing\n", verdicts(study, groups)]
    pages += ["## Rankings\n", rankings(study, draws)]
    pages += ["## Seeds that a ranking needs\n", seeds_needed(study)]
    pages += ["## Every method\n", *(gains(name, study[name], draws[name]) for name in study)]
    save(inflation_figure(study, draws), out / "inflation.png")
    save(gains_figure(study, draws), out / "gains.png")
    figures = "![Inflation of scores](inflation.png)\n\n![Claimed and true gains](gains.png)\n"
    write_text(out / "summary.md", "\n\n".join(page.strip() for page in [*pages, figures]) + "\n")


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


def interval(values: Sequence[float]) -> str:
    """The first value, and the percentiles of the others, in points."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return f"{100 * values[0]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def of_scores(arms: Mapping[str, Arm], draws: Sequence[Draw], dirty: set[str]) -> list[float]:
    """Mean inflation of the methods' scores in each draw."""
    dirty = dirty - {"baseline not tuned"}
    pairs = lambda draw: [
        score(a, draw, dirty) - score(a, draw, set()) for a in others(arms).values()
    ]
    return [float(np.mean(pairs(draw))) for draw in draws]


def of_gains(
    arms: Mapping[str, Arm], draws: Sequence[Draw], dirty: set[str], both: bool
) -> list[float]:
    """Mean inflation of the methods' gains over the baseline in each draw."""
    base = arms[BASELINE]

    def extra(arm: Arm, draw: Draw) -> float:
        pair = draw, draw
        return claim(arm, base, pair, dirty, both) - claim(arm, base, pair, set(), both)

    return [float(np.mean([extra(a, draw) for a in others(arms).values()])) for draw in draws]


def inflation(study: Study, draws: Mapping[str, list[Draw]]) -> list[str]:
    """Tables of points added to scores and to gains."""
    kinds = {
        "Points added to scores, mean over methods, 95 % intervals:\n": of_scores,
        "Points added to gains over the baseline, both sides treated alike:\n": (
            lambda arms, some, dirty: of_gains(arms, some, dirty, both=True)
        ),
        "Points added to gains, the method alone contaminated:\n": (
            lambda arms, some, dirty: of_gains(arms, some, dirty, both=False)
        ),
    }
    pages = []
    for title, measure in kinds.items():
        rows = []
        for name in [*CONTAMINATIONS, "all together"]:
            cells = [
                interval(measure(arms, draws[task], protocols(arms)[name]))
                if name in protocols(arms)
                else "-"
                for task, arms in study.items()
            ]
            rows.append([name, *cells])
        pages += [title, markdown_table(["contamination", *study], rows)]
    return pages


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


def inflation_figure(study: Study, draws: Mapping[str, list[Draw]]) -> Figure:
    """Points added to scores, a panel for each task."""
    figure = Figure(figsize=(2.4 * len(study) + 1.6, 3), layout="constrained")
    panels = figure.subplots(1, len(study), sharey=True, squeeze=False)[0]
    names = [*CONTAMINATIONS, "all together"]
    for axes, (task, arms) in zip(panels, study.items(), strict=True):
        for place, name in enumerate(reversed(names)):
            if name in protocols(arms):
                values = np.array(of_scores(arms, draws[task], protocols(arms)[name]))
                low, high = np.percentile(100 * values[1:], [2.5, 97.5])
                axes.plot([low, high], [place, place], color=FUSED, linewidth=1.5)
                axes.plot(100 * values[0], place, "o", color=FUSED, markersize=5)
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(range(len(names)), names[::-1])
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
