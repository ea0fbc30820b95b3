"""All results of the strategies on one task."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.analysis.statistics import Folds
from mmjax.analysis.summary import scored_split
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.outcomes import ArmResult
from mmjax.comparison.scores import Row, baselines, labels, over_folds
from mmjax.data.targets import Kind, kind_of
from mmjax.data.task import Task
from mmjax.metrics import metric_of
from mmjax.types import Metric

TABLES = ("robustness", "representation", "weights", "cost")


class Study(NamedTuple):
    """All results of the strategies on one task.

    Attributes:
        task: its name.
        folders: the run folders it was read from.
        rows: scores.
        history: learning curves.
        tables: {name in ``TABLES``: rows} of the tables that are available.
        predictions: {strategy: {"seeds": [seeds], "valid" and "test": [seeds, rows, out_dim]}}.
        labels: {"valid_target", "valid_group", "test_target", "test_group": [rows]}, and
            "deviation" of standardised numbers, and "fold" and "fold_train", or empty.
        commands: the command lines that produced it.
        pictures: {file name: SVG or PNG}, of data and embeddings.
        failed: {strategy: reason} of those that could not be trained.
        ablation: what was varied, if the strategies are the variants of an ablation.

    Example:
        >>> row = {"strategy": "sum", "modalities": "a+b", "split": "test", "hidden": ""}
        >>> rows = [{**row, "seed": 0, "accuracy": 0.5}, {**row, "seed": 1, "accuracy": 0.75}]
        >>> study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {})
        >>> study.scores("sum").tolist()
        [0.5, 0.75]
    """

    task: str
    folders: tuple[Path, ...]
    rows: list[Row]
    history: list[Row]
    tables: dict[str, list[Row]]
    predictions: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]
    commands: tuple[str, ...]
    pictures: dict[str, bytes]
    failed: Mapping[str, str]
    ablation: Ablation | None = None

    @property
    def split(self) -> str:
        """``test``, or ``valid`` where the test rows have no labels."""
        return scored_split(self.rows)

    @property
    def strategies(self) -> dict[str, str]:
        """{strategy: its modalities with "+" between them}, in the order of the rows."""
        return {row["strategy"]: row["modalities"] for row in self.rows}

    @property
    def baselines(self) -> list[str]:
        """The unimodal strategies."""
        return baselines(self.rows)

    @property
    def target(self) -> np.ndarray:
        """Targets of the scored split, from ``labels``."""
        return self.labels[f"{self.split}_target"]

    @property
    def group(self) -> np.ndarray:
        """Groups of the scored split, from ``labels``."""
        return self.labels[f"{self.split}_group"]

    @property
    def data(self) -> dict[str, str]:
        """{modalities: digest of the arrays}, of the first strategy that uses them."""
        found: dict[str, str] = {}
        for row in self.rows:
            found.setdefault(row["modalities"], row["data"])
        return found

    @property
    def metric(self) -> Metric:
        """By which models were selected and are compared."""
        return metric_of(self.rows[0])

    @property
    def folds(self) -> Folds | None:
        """How rows were dealt, in cross-validation."""
        if "fold" not in self.labels:
            return None
        sizes = self.labels["fold_train"]
        tested = self.labels["fold"].size / len(sizes)
        return Folds(self.labels["fold"], tested / float(sizes.mean()))

    @property
    def kind(self) -> Kind:
        """The kind of the targets; "classes" where only accuracies are known."""
        if self.labels:
            return kind_of(self.labels["valid_target"])
        return "numbers" if "r2" in self.rows[0] else "classes"

    def scores(
        self, strategy: str, column: str | None = None, split: str | None = None
    ) -> np.ndarray:
        """[seeds] of a column with no modality hidden, seeds sorted; NaN where it is not finite.

        With folds, [repeats * seeds], each the mean of all rows that were tested.

        Args:
            strategy: its name.
            column: of the rows; by default the metric.
            split: by default the scored one.
        """
        column = column or self.metric.name
        keys = ("strategy", "split", "hidden")
        wanted = (strategy, split or self.split, "")
        found = [row for row in self.rows if tuple(map(row.get, keys)) == wanted]
        return over_folds(found, column)

    def on_validation(self, strategy: str) -> float:
        """Mean validation score, by which strategies are selected; negated if lower is better."""
        return self.metric.sign * float(self.scores(strategy, split="valid").mean())

    def read(self, values: np.ndarray) -> np.ndarray:
        """Predictions or targets as metrics read them: numbers in their own units."""
        return values * self.labels.get("deviation", 1) if self.kind == "numbers" else values


def make_study(
    task: Task,
    results: Iterable[ArmResult],
    failed: Mapping[str, str],
    ablation: Ablation | None = None,
) -> Study:
    """The study of the arms that this process has trained.

    Args:
        task: the data, with all modalities.
        results: the results of the arms.
        failed: {strategy: reason} of the others.
        ablation: what they vary, if they are the variants of an ablation.

    Example:
        >>> from mmjax import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> study = make_study(task, [], failed={"gmu": "out of memory"})
        >>> study.task, sorted(study.labels)
        ('synthetic/xor', ['test_group', 'test_target', 'valid_group', 'valid_target'])
    """
    results = list(results)
    tables: dict[str, list[Row]] = {}
    for result in results:
        for name, rows in result.tables.items():
            tables.setdefault(name, []).extend(rows)
    return Study(
        task=task.name,
        folders=(),
        rows=[row for result in results for row in result.rows],
        history=[row for result in results for row in result.history],
        tables={name: rows for name, rows in tables.items() if rows},
        predictions={result.arm.strategy: result.predictions for result in results},
        labels=labels(task),
        commands=(),
        pictures={},
        failed=failed,
        ablation=ablation,
    )


def merge_studies(parts: Iterable[Study]) -> list[Study]:
    """Merges the studies that have the same task, data and metric; an ablation stays on its own.

    A strategy that two studies trained with the same recipe is taken from the first; with another
    recipe, the number of its study is appended to its name.

    Example:
        >>> row = {"strategy": "sum", "modalities": "a+b", "split": "test", "data": "digest"}
        >>> parts = [Study("toy", (Path("run"),), [{**row, "recipe": recipe}],
        ...                [], {}, {}, {}, (), {}, {}) for recipe in ("short", "long")]
        >>> (study,) = merge_studies(parts)
        >>> list(study.strategies)
        ['sum', 'sum (2)']
    """
    merged: list[Study] = []
    for part in parts:
        same = [index for index, other in enumerate(merged) if _same_data(other, part)]
        if same:
            merged[same[0]] = _merge(merged[same[0]], part)
        else:
            merged.append(part)
    return merged


def _same_data(one: Study, other: Study) -> bool:
    if one.ablation or other.ablation:  # whose points are those of its own variants
        return False
    common = one.data.keys() & other.data.keys()
    alike = one.task == other.task and one.metric.name == other.metric.name
    return alike and any(common) and all(one.data[k] == other.data[k] for k in common)


def _merge(one: Study, other: Study) -> Study:
    recipes = {row["strategy"]: row.get("recipe") for row in one.rows}
    number = len(one.folders) + 1
    names = {}
    for row in other.rows:
        name = row["strategy"]
        known = name in recipes
        if not known or recipes[name] != row.get("recipe"):
            names[name] = f"{name} ({number})" if known else name

    more = rename(other, names)
    return Study(
        task=one.task,
        folders=(*one.folders, *other.folders),
        rows=one.rows + more.rows,
        history=one.history + more.history,
        tables={
            name: one.tables.get(name, []) + more.tables.get(name, [])
            for name in one.tables.keys() | more.tables.keys()
        },
        predictions={**one.predictions, **more.predictions},
        labels=one.labels or other.labels,
        commands=(*one.commands, *other.commands),
        pictures={**other.pictures, **one.pictures},
        failed={**other.failed, **one.failed},
    )


def rename(study: Study, names: Mapping[str, str]) -> Study:
    """The study of some of its strategies, under other names.

    Args:
        study: the study.
        names: {strategy: its new name}.

    Example:
        >>> rows = [{"strategy": name, "modalities": "a+b"} for name in ("sum", "mean")]
        >>> study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {})
        >>> rename(study, {"mean": "average"}).strategies
        {'average': 'a+b'}
    """

    def renamed(rows: Iterable[Row]) -> list[Row]:
        kept = [row for row in rows if row["strategy"] in names]
        return [{**row, "strategy": names[row["strategy"]]} for row in kept]

    return study._replace(
        rows=renamed(study.rows),
        history=renamed(study.history),
        tables={name: renamed(rows) for name, rows in study.tables.items()},
        predictions={names[k]: arrays for k, arrays in study.predictions.items() if k in names},
    )
