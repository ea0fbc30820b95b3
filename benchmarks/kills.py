"""Is a run that was killed, and goes on, the run that it would have been, byte by byte?

    python benchmarks/kills.py --out runs/kills.jsonl

Each round kills a training process at a random moment, with SIGKILL, lets another one go on from
what it has left, and compares parameters, optimiser, metrics and keys with those of a run that
nobody has disturbed. The last round is a control: what goes on loses the optimiser's state, and
the comparison must notice. About a quarter of a minute a round on two CPU cores.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.progress import track

from mmjax.storage.jsonl import append_rows

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from killed import differing, kill_one, start


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: file that the rows are appended to.
        rounds: processes that are killed.
        seed: of the moments.
    """

    out: Path
    rounds: int = 20
    seed: int = 0


def main(benchmark: Benchmark) -> None:
    """Kills, goes on, compares, and appends a row for the rounds and one for the control."""
    rng = np.random.default_rng(benchmark.seed)
    reached, identical = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start(folder / "whole").wait()
        for index in track(range(benchmark.rounds), "rounds"):
            reached.append(kill_one(folder / str(index), rng))
            identical += not differing(folder / str(index), folder / "whole")
        kill_one(folder / "control", rng, "--forget")
        noticed = bool(differing(folder / "control", folder / "whole"))
    append_rows(
        benchmark.out,
        [
            {
                "kind": "killed, and gone on with",
                "rounds": benchmark.rounds,
                "identical": identical,
                "first_step": min(reached),
                "last_step": max(reached),
            },
            {
                "kind": "control: the optimiser's state is lost",
                "rounds": 1,
                "identical": int(not noticed),
            },
        ],
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
