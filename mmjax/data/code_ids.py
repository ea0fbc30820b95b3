"""Token ids, int32 [rows, length], with ``PADDING`` after the end of a row."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mmjax.data.chunks import chunks
from mmjax.data.coerce import as_plain
from mmjax.errors import DataError, UsageError, name_rows
from mmjax.types import PADDING

_MAX = 2**31 - 1  # ids are int32


@dataclass(frozen=True)
class Ids:
    """What the codings of token ids share."""

    encoder: ClassVar[str] = "text"
    axis: ClassVar[str] = "length"
    attribute: ClassVar[str] = "vocabulary"
    dtype: ClassVar[Any] = np.int32

    @property
    def known(self) -> int:
        """The size of the vocabulary."""
        raise NotImplementedError

    def check(self, where: str, values: np.ndarray, present: np.ndarray, ids: Any = None) -> None:
        """Raises DataError unless these are token ids of the vocabulary, or padding."""
        if values.dtype != np.int32 or values.ndim != 2:
            expected, got = "token ids, int32 [rows, length]", f"{values.dtype} {values.shape}"
            raise DataError(where, expected=expected, got=got)
        outside = [((x < PADDING) | (x >= self.known)).any(axis=1) for x in chunks(values)]
        bad = np.concatenate(outside) & present
        if bad.any():
            row = values[int(bad.argmax())]
            expected = f"token ids from 0 to {self.known - 1}, and {PADDING} for padding"
            got = f"{row.min()} to {row.max()} in {name_rows(bad, ids)}"
            fix = "Map other tokens to an id of these, such as one for unknown tokens."
            raise DataError(where, expected=expected, got=got, fix=fix)

    def find_scale(self, values: np.ndarray, present: np.ndarray) -> None:
        """None: ids are not standardised."""


@dataclass(frozen=True)
class TokenIds(Ids):
    """Ids of the user's own, [rows, length] with -1 for padding, or a list of ids for each row.

    Attributes:
        vocabulary: number of ids; by default the largest plus one.
        length: of a row; by default that of the longest.

    Raises:
        UsageError: a number is not positive.

    Example:
        >>> coding = TokenIds().fit("notes", [[7, 2], [5]], *np.ones((2, 2), bool))
        >>> coding
        TokenIds(vocabulary=8, length=2)
        >>> coding.encode("notes", [[1], [2, 3]]).tolist()
        [[1, -1], [2, 3]]
    """

    vocabulary: int | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        check_counts(vocabulary=self.vocabulary, length=self.length)

    @property
    def known(self) -> int:
        """The size of the vocabulary."""
        return self.vocabulary or 0

    def fit(self, name: str, given: Any, present: np.ndarray, train: np.ndarray) -> "TokenIds":
        """The coding with its vocabulary and length: of all rows, not only those of training."""
        found = _as_ids(name, given)
        largest = int(found[present].max(initial=0))
        return TokenIds(self.vocabulary or largest + 1, self.length or found.shape[1])

    def encode(
        self, name: str, given: Any, present: np.ndarray | None = None, ids: Any = None
    ) -> np.ndarray:
        """Pads rows to the length; a row that lacks the modality is empty.

        Raises:
            DataError: these are not token ids of the vocabulary, or a row is too long.
        """
        return pad_ids(self, name, given, present, ids)

    def say(self, row: np.ndarray) -> str:
        """The ids."""
        return " ".join(str(token) for token in row if token >= 0)


def check_counts(**counts: int | None) -> None:
    """Raises UsageError for a number that is not a positive integer; None is one that is open.

    Example:
        >>> check_counts(vocabulary=1000, length=None)
    """
    for name, count in counts.items():
        if count is not None and (type(count) is not int or not 1 <= count <= _MAX):
            raise UsageError(name, expected="a positive integer", got=f"{count!r:.80}")


def _as_ids(name: str, given: Any) -> np.ndarray:
    """Token ids int64 [rows, length] of an array, or of a list of lists of any lengths.

    Raises:
        DataError: these are not integers.
    """
    where = f"input {name!r}"
    array = as_plain(where, given)
    if array.dtype.kind == "O" and array.ndim == 1:
        rows = [np.atleast_1d([] if row is None else as_plain(where, row)) for row in array]
        array = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.float64)
        for line, row in zip(array, rows, strict=True):
            if row.ndim != 1 or row.dtype.kind not in "iuf":
                got = f"{row.dtype} {row.shape}"
                raise DataError(where, expected="a list of token ids for each row", got=got)
            line[: len(row)] = row
    sound = array.ndim == 2 and array.size > 0 and array.dtype.kind in "iuf"
    if not sound or not ((array == np.rint(array)) & (np.abs(array) <= _MAX)).all():
        fix = "Give one integer per token, and -1 after the end of a row."
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError(where, expected="token ids [rows, length]", got=got, fix=fix)
    return array.astype(np.int64)


def pad_ids(coding: Any, name: str, given: Any, present: np.ndarray | None, ids: Any) -> np.ndarray:
    """Ids padded to the length of a coding, in rows that have the modality; see ``encode``."""
    found = _as_ids(name, given)
    if found.shape[1] > coding.length:
        expected = f"at most {coding.length} token ids per row"
        got, fix = f"{found.shape[1]}", "Cut longer rows."
        raise DataError(f"input {name!r}", expected=expected, got=got, fix=fix)
    wide = np.full((len(found), coding.length), PADDING, np.int32)
    wide[:, : found.shape[1]] = found
    present = np.ones(len(wide), bool) if present is None else present
    coding.check(f"input {name!r}", wide, present, ids)
    wide[~present] = PADDING
    return wide
