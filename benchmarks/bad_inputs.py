"""Does every bad input end in one clear error? The whole catalogue, and files spoilt at random.

Each input of tests/bad_inputs.py that must be refused is tried; then good files of each kind are
cut, flipped, spliced and given wrong numbers in their headers. An input counts as ``accepted``
where what is left is a valid file still, and as ``other`` where it ends in an error that is not
mmjax's, takes ten seconds, or takes 8 MiB of memory (which cannot be told of those two whose
readers have threads): of those there must be none. A number in the middle of an array may change
unnoticed where a kind carries no checksum: of IDX files that are not packed, .npy, WAV and CSV.

    python benchmarks/bad_inputs.py --out runs/bad_inputs.jsonl

About four minutes on two CPU cores; a checkpoint and a prepared task take 0.1 s a time.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bad_inputs import BAD, FOLDERS, KINDS, check_good, outcome, try_mutations

from mmjax.storage.jsonl import append_rows


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: file that a JSON row for each kind is appended to.
        mutations: files of each kind that are spoilt, folders a twentieth of it.
        seed: of the mutations.
    """

    out: Path | None = None
    mutations: int = 5000
    seed: int = 0


def main(benchmark: Benchmark) -> list[dict]:
    """Tries everything, and returns a row for each kind."""
    rows = []
    for kind in track((*KINDS, "task"), "kinds"):
        with tempfile.TemporaryDirectory() as folder:
            came = Counter(_try(benchmark, kind, Path(folder)))
        counts = {name: came[name] for name in ("clear_error", "accepted", "other")}
        rows.append({"kind": kind, "tried": came.total(), **counts})
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        if benchmark.out:
            append_rows(benchmark.out, [{**rows[-1], "seed": benchmark.seed}])
    return rows


def _try(benchmark: Benchmark, kind: str, folder: Path):
    """Yields "clear_error", "accepted" or "other" for each input; prints what the others are."""
    for number, bad in enumerate(bad for bad in BAD if bad.kind == kind):
        if kind in KINDS:
            check_good(kind)
        place = folder / f"bad-{number}"
        place.mkdir()
        came = outcome(kind, bad.run, place)
        yield _count(came if came != "accepted" else "should not be accepted", bad.name)
    if kind in KINDS:
        times = benchmark.mutations // (20 if kind in FOLDERS else 1)
        for came, which in try_mutations(kind, times, benchmark.seed, folder):
            yield _count(came, which)


def _count(came: str, which: str) -> str:
    if came in ("clear_error", "accepted"):
        return came
    print(f"{which}: {came}", file=sys.stderr)
    return "other"


if __name__ == "__main__":
    if any(row["other"] for row in main(tyro.cli(Benchmark))):
        sys.exit(1)
