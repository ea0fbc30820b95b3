"""Three ablations on real digits: a transformer, ten training methods, and how much data.

    python experiments/ablations.py --data DATA --out runs/ablations

What in the bottleneck transformer matters on written and spoken digits, which of ten training
methods matters for a speaker who was never heard, and from how much data on fusion pays. Each is
one line of `mmjax ablate`, which is printed; the same command goes on where it was stopped. After
the last, a table compares fusion with the modality that is best on validation, share by share.

DATA holds mnist/ and fsdd/, as for the task mnist_fsdd. Expected: docs/results/README.md, "Three
ablations on real digits", whose second has twenty seeds.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from mmjax.analysis.statistics import holm
from mmjax.analysis.verdicts import format_p
from mmjax.cli import main as mmjax
from mmjax.runs.studies import read_assessments

STUDIES = {
    "bottleneck": "bottleneck --vary num_layers=1,2,4 num_bottlenecks=1,4,16 fusion_layer=0,1 "
    "--drop positions,dropout",
    "methods": "concat --vary method=joint,modality_dropout,two_stage,gradient_blending,ogm_ge,agm,"
    "pmr,mmpareto,greedy,distillation --options split=speaker test_speaker=george",
    "learning_curve": "concat --vary train=0.01,0.03,0.1,0.3,1 modalities=subsets --design grid "
    "--learning-rates 0.003",
}


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        data: folder with the recordings and the images.
        out: folder with one run folder for each ablation.
        only: keys of ``STUDIES``.
        seeds: number of seeds.
        steps: train steps of each seed.
    """

    data: str
    out: Path
    only: tuple[str, ...] = tuple(STUDIES)
    seeds: int = 5
    steps: int = 200


def main(study: Study) -> None:
    """Runs the commands."""
    shared = f"--task mnist_fsdd --seeds {study.seeds} --steps {study.steps} --data"
    for name in study.only:
        words = [*shlex.split(f"ablate {STUDIES[name]} {shared}"), study.data]
        print(f"\nmmjax {shlex.join(words)}\n")
        mmjax([*words, "--out", str(study.out / name), "--resume"])
        if name == "learning_curve":
            print("\n".join(gains(study.out / name)))


def gains(folder: Path) -> list[str]:
    """A table with the gain of fusion over the best modality at each share of the rows."""
    (assessment,) = read_assessments([folder])
    answers, ablation = assessment.answers, assessment.study.ablation
    assert answers
    assert ablation
    at = {point: name for name, point in ablation.points.items()}
    shares, subsets = ablation.factors.values()
    order, pairs = sorted(range(len(shares)), key=lambda index: float(shares[index])), []
    for share in order:
        fused, *alone = (at[share, subset] for subset in range(len(subsets)))
        best = max(alone, key=lambda name: answers.valid_score[name])
        pairs.append((fused, best, answers.compare(fused, best)))
    lines = ["| train | fused % | best modality | its % | gain | p, Holm |"]
    lines.append("|---:|---:|---|---:|---:|---:|")
    corrected = holm(np.array([pair.p for _, _, pair in pairs]))
    for share, (fused, best, pair), p in zip(order, pairs, corrected, strict=True):
        mean = lambda name: f"{100 * answers.scores[name].mean():.2f}"
        gain, modality = pair.difference, subsets[ablation.points[best][1]]
        interval = f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        cells = shares[share], mean(fused), modality, mean(best), interval, format_p(p)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
