"""Rows of scores as tidy tables: a line per row, the same columns in all, factors among them."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from mmjax.analysis.study import Study
from mmjax.comparison.ablation import REMOVED
from mmjax.comparison.factors import REMOVE
from mmjax.comparison.scores import VARIED, Row
from mmjax.errors import UsageError, import_extra
from mmjax.storage.files import whole_file, write_csv


def tidy_rows(studies: Sequence[Study]) -> list[Row]:
    """The rows of studies, all with the same columns; None where a row has no value.

    What an ablation varies is a column by the name of the factor, and rows that do not vary it have
    the level of the base. Numbers are numbers. Of a factor that rows state anyway, such as
    ``learning_rate``, there is one column.

    Example:
        >>> from mmjax.comparison.ablation import Ablation
        >>> points = {"gmu": (0,), "gmu:num_layers=2": (1,)}
        >>> ablation = Ablation("gmu", "grid", {"num_layers": ("1", "2")}, points)
        >>> rows = [{"strategy": "gmu"}, {"strategy": "gmu:num_layers=2", "varied.num_layers": "2"}]
        >>> tidy_rows([Study("toy", (), rows, [], {}, {}, {}, (), {}, {}, ablation)])
        [{'strategy': 'gmu', 'num_layers': 1}, {'strategy': 'gmu:num_layers=2', 'num_layers': 2}]
    """
    found = [_flatten(row, study) for study in studies for row in study.rows]
    stated = {column for study in studies for row in study.rows for column in row}
    names = dict.fromkeys(name for row in found for name in row)
    columns = {name: [row.get(name) for row in found] for name in names}
    for name in columns.keys() - stated:
        columns[name] = _as_numbers(columns[name])
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _flatten(row: Row, study: Study) -> Row:
    """A row in which the changes to a strategy are columns by the names of factors."""
    levels: Row = {}
    if made := study.ablation:
        base = made.points[made.base]
        levels = {name: made.factors[name][i] for name, i in zip(made.factors, base, strict=True)}
    for name, value in row.items():
        if name.startswith(VARIED):
            factor = name.removeprefix(VARIED)
            removed = factor.startswith(REMOVE)
            levels[factor.removeprefix(REMOVE)] = REMOVED if removed else value
    flat = {name: value for name, value in row.items() if not name.startswith(VARIED)}
    return {**flat, **{name: level for name, level in levels.items() if name not in flat}}


def _as_numbers(words: Sequence[str | None]) -> list[Any]:
    """Words as integers, or as numbers, where all of them are."""
    for read in (int, float):
        with suppress(ValueError):
            return [None if word is None else read(word) for word in words]
    return list(words)


def save_rows(studies: Sequence[Study], path: Path) -> None:
    """Writes ``tidy_rows`` as CSV or as Parquet, by the suffix of the path.

    Raises:
        UsageError: the suffix is neither, or pyarrow, which writes Parquet, is not installed.
        OSError: the file cannot be written.

    Example:
        >>> study = Study("toy", (), [{"strategy": "sum", "seed": 0}], [], {}, {}, {}, (), {}, {})
        >>> save_rows([study], Path("rows.csv"))
        >>> Path("rows.csv").read_text().split()
        ['strategy,seed', 'sum,0']
    """
    check_suffix(path)
    rows = tidy_rows(studies)
    if path.suffix == ".csv":
        lines = (["" if cell is None else cell for cell in row.values()] for row in rows)
        write_csv(path, chain([list(rows[0])], lines))
        return
    table = import_extra("rows", "pyarrow", "frames").Table.from_pylist(rows)
    with whole_file(path) as file:
        import_extra("rows", "pyarrow.parquet", "frames").write_table(table, file)


def check_suffix(path: Path) -> None:
    """Raises UsageError if rows cannot be saved under this name."""
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError("rows", expected="a file .csv or .parquet", got=str(path))
