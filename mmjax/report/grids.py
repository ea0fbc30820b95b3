"""Tables of a page beside the main one: what it has no room for."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.analysis.calibration import calibration_rows
from mmjax.analysis.robustness import robustness_summary
from mmjax.analysis.study import Study
from mmjax.data.targets import MAIN_SCORES


class Grid(NamedTuple):
    """A table whose first column is words and whose others are numbers.

    Attributes:
        title: of the table.
        caption: what its numbers are.
        heads: of all columns.
        digits: behind the point, for each column but the first.
        rows: a word, then a number or None for each other column.
    """

    title: str
    caption: str
    heads: Sequence[str]
    digits: Sequence[int]
    rows: Sequence[Sequence[Any]]


def make_grids(study: Study) -> Iterator[Grid]:
    """The tables that a study's files allow."""
    if study.predictions and study.split == "test" and study.kind == "classes":
        yield _calibration(study)
    if "robustness" in study.tables:
        yield _robustness(study.tables["robustness"], MAIN_SCORES[study.metric])
    if "representation" in study.tables:
        yield _representation(study.tables["representation"])
    if "cost" in study.tables:
        yield _cost(study.tables["cost"])


def _calibration(study: Study) -> Grid:
    rows = []
    for name, arrays in study.predictions.items():
        if not all(np.isfinite(arrays[split]).all() for split in ("valid", "test")):
            continue  # a strategy that has diverged
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
        "Means over seeds, before and after temperature scaling, whose temperature is fitted on "
        "validation, between 0.05 and 20; above 1 it makes the model less sure. ECE from 0 to 1, "
        "Brier score from 0 to 2, NLL in nats; AURC is the area under the risk-coverage curve. "
        "Lower is better.",
        ("strategy", "temperature", *heads, "AURC"),
        (2, *[3] * 9),
        rows,
    )


def _robustness(rows: Sequence[dict[str, Any]], score: str) -> Grid:
    found = defaultdict(list)
    for row in robustness_summary(rows):
        found[row["strategy"], row["modality"]].append(row)
    keys = ("clean", "area", "relative", "effective")
    lines = [
        (f"{strategy}, {modality} corrupted", *(100 * _mean(some, key) for key in keys))
        for (strategy, modality), some in found.items()
    ]
    return Grid(
        "Robustness",
        f"Means over corruptions, in points of {score}, on a sample of the rows: the same for all "
        "strategies, which is why the clean score is not that of the main table. Area: what is "
        "left on average over severities (Liang et al., 2021). Relative: that, above the mean of "
        "all strategies. Effective: what is lost, less than by the mean strategy (Taori et al., "
        "2020).",
        ("strategy", *keys),
        (1, 1, 1, 1),
        lines,
    )


def _representation(rows: Sequence[dict[str, Any]]) -> Grid:
    found = defaultdict(list)
    for row in rows:
        found[row["strategy"], row["embedding"]].append(row)
    keys = ("ari", "nmi", "silhouette", "probe_accuracy")
    return Grid(
        "Representation",
        "How k-means clusters of embeddings match the classes (adjusted Rand index, normalised "
        "mutual information), how far the classes lie apart (silhouette), and the accuracy of a "
        "linear probe on them. The first seed; 1 is best.",
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
        "Operations and memory traffic of one row's forward pass, as XLA counts them; seconds of "
        "compilation; milliseconds of a train step of one seed; microseconds a row in batches of 1 "
        "and of 256; memory of the training program, its rows included. Times are of the machine "
        "as it was.",
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
