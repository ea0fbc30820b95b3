"""How often does an ablation find an effect that is not there, and how often one that is?

    python experiments/ablation_verdicts.py --out runs/ablation_verdicts

Simulated ablations: all variants are alike, or one level of the first factor is better or worse and
nothing else matters. Rows and seeds are shared by all variants, as in a real one. Counted is, over
designs, numbers of seeds and of test rows, how often any of the effects that are not there has a
corrected p below 0.05, for variants against the base, main effects and interactions each; and how
often the effect that is there is found.

About fifteen minutes on two CPU cores; the same command goes on where it was stopped. Expected: 5 %
or less, but for sampling error. docs/results/ablation_verdicts.md is its summary.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tyro
from simulated import Row, go_on, simulate_lists

from mmjax.analysis.ablation_verdict import against_base
from mmjax.analysis.answers import Answers
from mmjax.analysis.effects import interactions, main_effects
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.designs import make_points
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

DESIGNS = {
    "one-at-a-time, 4 changes": ("one-at-a-time", (3, 2, 2)),
    "one-at-a-time, 10 changes": ("one-at-a-time", (4, 4, 3, 3)),
    "grid 2 x 2": ("grid", (2, 2)),
    "grid 3 x 3 x 2": ("grid", (3, 3, 2)),
    "two-level, 8 factors in 12 runs": ("fractional", (2,) * 8),
    "D-optimal, 4 x 3 x 2 x 2 in 12 runs": ("fractional", (4, 3, 2, 2)),
}
FAMILIES = ("variants", "effects", "interactions")
GAP = 0.4  # standard deviations of a margin, 9 points of accuracy
ALIKE = {"accuracy": 0.8, "discordance": 0.15}
LUCK = 0.05  # of seeds; with one, a verdict is about those trained models alone


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows and summary.
        ablations: simulated ablations of each kind.
        rows: numbers of test rows.
        seeds: numbers of seeds.
        designs: keys of ``DESIGNS``.
    """

    out: Path
    ablations: int = 1000
    rows: tuple[int, ...] = (100, 300, 1000)
    seeds: tuple[int, ...] = (1, 3, 5)
    designs: tuple[str, ...] = tuple(DESIGNS)


def main(study: Study) -> None:
    """Simulates what is missing, and writes the summary."""
    names = ("design", "rows", "seeds", "gap")
    each = product(study.designs, study.rows, study.seeds, (0.0, GAP))
    kinds = [dict(zip(names, values, strict=True)) for values in each]
    make = lambda kind: count(**kind, ablations=study.ablations)
    rows = go_on(study.out / "rows.jsonl", kinds, make)
    write_text(study.out / "summary.md", summarise(rows))


def count(design: str, rows: int, seeds: int, gap: float, *, ablations: int) -> Iterator[Row]:
    """One row per family: how many ablations have a false effect in it, and find the true one."""
    rng = np.random.default_rng([sorted(DESIGNS).index(design), rows, seeds, int(gap > 0)])
    kind, levels = DESIGNS[design]
    ablation = lay_out(kind, levels)
    false, found = dict.fromkeys(FAMILIES, 0), dict.fromkeys(FAMILIES, 0)
    for _ in range(ablations):
        answers = simulate(rng, ablation, rows, seeds, gap)
        for name, told in judge(answers, ablation, planted=gap > 0).items():
            false[name] += any(is_told for is_told, real in told if not real)
            real = [is_told for is_told, is_real in told if is_real]
            found[name] += float(np.mean(real)) if real else 0.0
    for name in FAMILIES if kind == "grid" else FAMILIES[: 1 + (kind == "fractional")]:
        yield {"ablations": ablations, "family": name, "false": false[name], "found": found[name]}


def judge(
    answers: Answers, ablation: Ablation, *, planted: bool
) -> dict[str, list[tuple[bool, bool]]]:
    """For each family: whether each effect is significant, and whether it is there."""
    last = ablation.factors["f0"][-1]
    has_it = lambda name: planted and ablation.points[name][0] == len(ablation.factors["f0"]) - 1
    factorial = ablation.design in ("grid", "fractional")
    main = main_effects(answers, ablation) if factorial else []
    both = interactions(answers, ablation) if ablation.design == "grid" else []
    is_it = lambda effect: (effect.factors[0], effect.levels[0][1]) == ("f0", last)
    return {
        "variants": [(v.told, has_it(v.strategy)) for v in against_base(answers, ablation)],
        "effects": [(effect.told, planted and is_it(effect)) for effect in main],
        "interactions": [(effect.told, False) for effect in both],
    }


def lay_out(design: str, levels: Sequence[int]) -> Ablation:
    """A design of factors f0, f1, ... with levels 0, 1, ..."""
    points = make_points(levels, design)
    names = ["".join(map(str, point)) for point in points]
    factors = {f"f{i}": tuple(map(str, range(n))) for i, n in enumerate(levels)}
    return Ablation(names[0], design, factors, dict(zip(names, points, strict=True)))


def simulate(
    rng: np.random.Generator, ablation: Ablation, rows: int, seeds: int, gap: float
) -> Answers:
    """Answers of all variants; those with the last level of the first factor may be better."""
    group, luck = np.arange(rows), LUCK if seeds > 1 else 0.0
    names, last = list(ablation.points), len(ablation.factors["f0"]) - 1
    (margins,) = simulate_lists(rng, 1, len(names), group, seeds=seeds, luck=luck, **ALIKE)
    better = np.array([ablation.points[name][0] == last for name in names])
    margins = margins + gap * better[:, None, None]
    scores = dict(zip(names, (margins > 0).astype(float), strict=True))
    return Answers(scores, group, {}, [], "test")


def summarise(rows: list[Row]) -> str:
    """The page: for each family, designs by numbers of rows and seeds."""
    total = rows[0]["ablations"]
    parts = [_HEAD.format(total=total, error=f"{100 * (0.05 * 0.95 / total) ** 0.5:.1f}", gap=GAP)]
    for family in FAMILIES:
        some = [row for row in rows if row["family"] == family]
        sizes = sorted({(row["rows"], row["seeds"]) for row in some})
        lines = []
        for design in dict.fromkeys(row["design"] for row in some):
            at = {(r["rows"], r["seeds"], r["gap"]): r for r in some if r["design"] == design}
            cells = [_cell(at, size, family) for size in sizes]
            lines.append([design, *cells])
        heads = ["design", *(f"{n}, {seeds}" for n, seeds in sizes)]
        parts.append(f"## {_TITLES[family]}\n\n{markdown_table(heads, lines)}\n")
    worst = max(rows, key=lambda row: row["false"])
    parts.append(
        f"The largest rate of false effects is {100 * worst['false'] / total:.1f} %: "
        f"{worst['family']} of {worst['design']}, {worst['rows']} rows, {worst['seeds']} seeds, "
        f"{'one effect' if worst['gap'] else 'all alike'}.\n"
    )
    return "\n".join(parts)


def _cell(at: dict[tuple[int, int, float], Row], size: tuple[int, int], family: str) -> str:
    alike, planted = at.get((*size, 0.0)), at.get((*size, GAP))
    show = lambda row, name: "-" if row is None else f"{100 * row[name] / row['ablations']:.1f}"
    power = "" if family == "interactions" or planted is None else (
        f" / {100 * planted['found'] / planted['ablations']:.0f}"
    )  # fmt: skip
    return f"{show(alike, 'false')} ({show(planted, 'false')}){power}"


_TITLES = {
    "variants": "Variants against the base",
    "effects": "Main effects",
    "interactions": "Interactions",
}

_HEAD = """# Verdicts of ablations

Made by `python experiments/ablation_verdicts.py --out runs/ablation_verdicts`. In %, for numbers of
test rows and of seeds: how often an ablation whose variants are all alike has any significant
effect at the 5 % level; in brackets, how often one has a significant effect that is not there
beside one that is; and after the stroke, how often the effect that is there, {gap} standard
deviations of a margin, is found. {total} ablations each: the standard error of 5 % is {error}
points.
"""


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
