"""Ablations of simulated variants, without training any."""

import numpy as np

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.comparison.ablation import KEPT, REMOVED, Ablation
from mmjax.comparison.designs import make_points

SPLITS = ("valid", "test")
GRID = {"width": ("64", "16", "128"), "method": ("joint", "ogm_ge"), "gate": (KEPT, REMOVED)}


def helps(point):
    """Width 128 helps with the gate only, and the gate helps."""
    return 0.2 * (point[0] == 2 and not point[2]) - 0.2 * point[2]


def make_ablation(factors=GRID, design="grid", effect=helps, *, seeds=4, rows=300, without=()):
    """The assessment of variants that are right with a probability of 0.6 plus an effect."""
    rng = np.random.default_rng(0)
    removes = [words == (KEPT, REMOVED) for words in factors.values()]
    points = make_points([len(words) for words in factors.values()], design, removes=removes)
    names = [f"gmu:{number}" if any(p) else "gmu" for number, p in enumerate(points)]
    ablation = Ablation(names[0], design, factors, dict(zip(names, points, strict=True)))
    target, group = rng.integers(2, size=rows), np.arange(rows)
    hard, score_rows, predictions, history = rng.random(rows), [], {}, []
    for name, point in ablation.points.items():
        noise = 0.03 * rng.normal(size=(seeds, rows))
        right = hard + noise < 0.6 + effect(point)
        logits = 2.0 * np.eye(2)[np.where(right, target, 1 - target)]
        predictions[name] = {"seeds": np.arange(seeds), **dict.fromkeys(SPLITS, logits)}
        about = {"task": "toy", "strategy": name, "modalities": "a+b", "hidden": "", "nll": 0.5}
        about |= {"params": 1000, "seconds": 1.0, "data": "x", "rows": rows, "groups": rows}
        about |= {"versions": "mmjax 0", "device": "cpu"}
        for seed, score in enumerate(right.mean(axis=1).tolist()):
            own = {**about, "seed": seed, "accuracy": score, "macro_f1": score}
            score_rows += [{**own, "split": split} for split in SPLITS]
            history.append({"strategy": name, "seed": seed, "step": 1, "valid_accuracy": score})
    labels = {f"{s}_{n}": v for s in SPLITS for n, v in (("target", target), ("group", group))}
    given = {} if "predictions" in without else predictions
    return Assessment(
        Study("toy", (), score_rows, history, {}, given, labels, (), {}, {}, ablation)
    )
