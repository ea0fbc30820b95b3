"""Three ablations on real digits: a transformer, ten training methods, and how much data.

    python experiments/ablations.py --data DATA --out runs/ablations

What in the bottleneck transformer matters on written and spoken digits, which of ten training
methods matters for a speaker who was never heard, and from how much data on fusion pays. Each is
one line of `mmjax ablate`, which is printed; the same command goes on where it was stopped.

DATA holds mnist/ and fsdd/, as for the task mnist_fsdd.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmjax.cli import main as mmjax

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


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
