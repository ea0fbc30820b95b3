"""Additional tables of a page: calibration, robustness, representation, cost."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from mmjax.analysis.calibration import calibration_rows
from mmjax.analysis.robustness import robustness_summary
from mmjax.analysis.study import Study
from mmjax.analysis.summary import group_by
from mmjax.types import Metric


class Grid(NamedTuple):
    """A table with text in the first column and numbers in all others.

    Attributes:
        title: of the table.
        caption: what its numbers mean.
        heads: headings of all columns.
        digits: decimal places of each column but the first.
        rows: a text, then a number or None for each other column.
    """

    title: str
    caption: str
    heads: Sequence[str]
    digits: Sequence[int]
    rows: Sequence[Sequence[Any]]


def make_grids(study: Study) -> Iterator[Grid]:
    """The tables that the results of a study allow.

    Example:
        >>> row = {"strategy": "sum", "embedding": "fused", "ari": 0.9, "nmi": 0.8,
        ...        "silhouette": 0.5, "probe_accuracy": 1.0}
        >>> score = {"strategy": "sum", "modalities": "a+b", "split": "test"}
        >>> study = Study("toy", (), [score], [], {"representation": [row]}, {}, {}, (), {}, {})
        >>> [(grid.title, grid.rows) for grid in make_grids(study)]
        [('Representation', [('sum, fused', 0.9, 0.8, 0.5, 1.0)])]
    """
    if study.predictions and not study.folds and study.split == "test" and study.kind == "classes":
        yield _calibration(study)
    if "robustness" in study.tables:
        yield _robustness(study.tables["robustness"], study.metric)
    if "representation" in study.tables:
        yield _representation(study.tables["representation"])
    if "cost" in study.tables:
        yield _cost(study.tables["cost"])


def _calibration(study: Study) -> Grid:
    rows = []
    for name, arrays in study.predictions.items():
        if not all(np.isfinite(arrays[split]).all() for split in ("valid", "test")):
            continue  # the strategy has diverged
        found = calibration_rows(
            arrays["valid"],
            study.labels["valid_target"],
            arrays["test"],
            study.labels["test_target"],
            arrays["seeds"].tolist(),
        )
        mean = lambda key, scaled, found=found: np.mean(
            [row[key] for row in found if row["scaled"] == scaled]
        )
        parts = ("ece", "ece_equal_mass", "brier", "nll")
        before = [mean(part, False) for part in parts]
        after = [mean(part, True) for part in parts]
        both = [value for pair in zip(before, after, strict=True) for value in pair]
        rows.append((name, mean("temperature", True), *both, mean("aurc", False)))
    measures = ("ECE", "ECE, equal mass", "Brier", "NLL")
    heads = [f"{name}{tail}" for name in measures for tail in ("", " after")]
    return Grid(
        "Calibration",
        "Means over seeds, before and after temperature scaling; the temperature is fitted on "
        "validation, between 0.05 and 20, and above 1 it lowers confidence. ECE from 0 to 1, Brier "
        "score from 0 to 2, NLL in nats, AURC the area under the risk-coverage curve. Lower is "
        "better.",
        ("strategy", "temperature", *heads, "AURC"),
        (2, *[3] * 9),
        rows,
    )


def _robustness(rows: Sequence[dict[str, Any]], metric: Metric) -> Grid:
    found = group_by(robustness_summary(rows), itemgetter("strategy", "modality"))
    keys = ("clean", "area", "relative", "effective")
    lines = [
        (f"{strategy}, {modality} corrupted", *(metric.factor * _mean(some, key) for key in keys))
        for (strategy, modality), some in found.items()
    ]
    return Grid(
        "Robustness",
        f"Means over corruptions, in {metric.unit}, {_sampled(rows)}. Area: mean score over "
        "severities. Relative: area minus its mean over strategies (after Taori et al., 2020); "
        "effective: the same after correcting for the clean score (Liang et al., 2021).",
        ("strategy", *keys),
        (1 if metric.percent else 3,) * 4,
        lines,
    )


def _sampled(rows: Sequence[dict[str, Any]]) -> str:
    """What scores under corruption rest on; folders of earlier versions do not say how many."""
    sizes = sorted({row["rows"] for row in rows if "rows" in row})
    known = f"the same {' or '.join(map(str, sizes))} {rows[0].get('split', '')} rows"
    return f"on {known if sizes else 'a sample of rows'} for all strategies"


def _representation(rows: Sequence[dict[str, Any]]) -> Grid:
    found = group_by(rows, itemgetter("strategy", "embedding"))
    keys = ("ari", "nmi", "silhouette", "probe_accuracy")
    return Grid(
        "Representation",
        "Agreement of k-means clusters of the embeddings with the classes (adjusted Rand index, "
        "normalised mutual information), separation of the classes (silhouette), and accuracy of a "
        "linear probe. First seed; 1 is best.",
        ("strategy, embedding", "ARI", "NMI", "silhouette", "linear probe"),
        (3, 3, 3, 3),
        [
            (f"{strategy}, {embedding}", *(_mean(some, key) for key in keys))
            for (strategy, embedding), some in found.items()
        ],
    )


def _cost(rows: Sequence[dict[str, Any]]) -> Grid:
    lines = [
        (
            row["strategy"],
            row["params"],
            row["flops"] / 1e6,
            row["bytes"] / 1e6,
            row["compile_seconds"],
            row["step_ms"],
            row["latency_1_us"],
            row["latency_256_us"],
            row["peak_bytes"] / 1e6,
        )
        for row in rows
    ]
    return Grid(
        "Cost",
        "Operations and memory traffic of the forward pass of one row, as counted by XLA; "
        "compilation time; time of a train step per seed; prediction time per row in batches of 1 "
        "and 256; memory of the training program, its rows included. Times depend on the load of "
        "the machine.",
        (
            "strategy",
            "parameters",
            "MFLOP",
            "MB moved",
            "compile s",
            "step ms",
            "us, batch 1",
            "us, batch 256",
            "peak MB",
        ),
        (0, 2, 2, 1, 2, 0, 1, 0),
        lines,
    )


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))
