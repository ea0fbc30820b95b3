"""How long does a grid of 18 variants take, beside its 18 trainings alone?

    python benchmarks/ablation.py

Two grids of 3 x 3 x 2 variants on the built-in digits, five seeds each. The variants of one differ
in numbers alone and train as lanes of one program; those of the other differ in width, method and
a component, and each is compiled. `mmjax ablate` is timed as a whole process, with the import, the
verdict, the figures and the page. Beside it one process trains the same 18 recipes one after the
other and does nothing else. Both start without compiled programs. Expected: less than twice.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial

import tyro

from mmjax import load_task
from mmjax.comparison.arm import make_arm
from mmjax.comparison.levels import make_ablation
from mmjax.training.fit import fit

VARY = {
    "numbers": {"learning_rate": "0.001,0.003,0.01", "weight_decay": "0.0001,0.001,0.01"},
    "programs": {"width": "32,64,128", "method": "joint,ogm_ge,modality_dropout"},
}
DROP = "dropout"


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        base: a strategy.
        seeds: number of seeds.
        steps: train steps of each seed.
        alone: train only the variants of this grid, one after the other.
    """

    base: str = "gmu"
    seeds: int = 5
    steps: int = 200
    alone: str = ""


def main(study: Study) -> None:
    """Measures both grids, and prints a line for each."""
    if study.alone:
        return train(study)
    size = ["--seeds", str(study.seeds), "--steps", str(study.steps)]
    for name, vary in VARY.items():
        varied = [f"{factor}={levels}" for factor, levels in vary.items()]
        asked = ["ablate", study.base, "--vary", *varied, "--drop", DROP, "--design", "grid"]
        asked += ["--learning-rates", "0.003"] if name == "programs" else []
        with tempfile.TemporaryDirectory() as folder:
            whole = measure(["-m", "mmjax", *asked, *size, "--out", f"{folder}/run"], folder)
        with tempfile.TemporaryDirectory() as folder:
            alone = measure([__file__, "--base", study.base, *size, "--alone", name], folder)
        print(f"{name}: ablation {whole:.0f} s, trainings {alone:.0f} s, {whole / alone:.2f}")


def train(study: Study) -> None:
    """Trains the variants of a grid, and nothing else."""
    task = load_task("digits")
    make = partial(make_arm, task, seeds=tuple(range(study.seeds)), steps=study.steps)
    levels = {factor: values.split(",") for factor, values in VARY[study.alone].items()}
    _, variants = make_ablation(task, study.base, make(study.base), levels, [DROP], "grid")
    for variant in variants.values():
        arm = make(variant)
        fit(arm.recipe, arm.task)


def measure(arguments: list[str], cache: str) -> float:
    """Wall time of a Python process, in seconds."""
    begun = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
