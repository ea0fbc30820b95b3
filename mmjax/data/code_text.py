"""Text as token ids, by the tokenizers ``bytes`` and ``words``."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from mmjax.data.code_ids import Ids, check_counts, pad_ids
from mmjax.data.coerce import as_plain, find_gaps
from mmjax.errors import DataError, UsageError, name_rows, tell
from mmjax.types import PADDING


@dataclass(frozen=True)
class Text(Ids):
    """What the codings of text share."""

    length: int = 256

    def __post_init__(self) -> None:
        check_counts(length=self.length)

    def split(self, text: str) -> Sequence[Any]:
        """The tokens of a text."""
        raise NotImplementedError

    def look_up(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[int]]:
        """The ids of the tokens of each row."""
        raise NotImplementedError

    def fit(self, name: str, given: Any, present: np.ndarray, train: np.ndarray) -> Self:
        """The coding with a length of no more than the longest row's."""
        text, _ = _as_text(name, given, None)
        longest = max((len(self.split(row)) for row in text[present]), default=0)
        return replace(self, length=max(min(self.length, longest), 1))

    def encode(
        self, name: str, given: Any, present: np.ndarray | None = None, ids: Any = None
    ) -> np.ndarray:
        """The tokens of each row up to ``length``; a row that lacks the modality is empty.

        Rows that are cut are reported.

        Raises:
            DataError: a row that has the modality is not text.
        """
        if getattr(given, "dtype", None) == np.int32:  # coded already
            return pad_ids(self, name, given, present, ids)
        text, missing = _as_text(name, given, ids)
        here = np.ones(len(text), bool) if present is None else present
        if (missing & here).any():
            expected, got = "text wherever the modality is present", name_rows(missing & here, ids)
            fix = "Fill it in, or mark rows that lack the modality by present=..."
            raise DataError(f"input {name!r}", expected=expected, got=f"none in {got}", fix=fix)
        split = [self.split(row) if there else [] for row, there in zip(text, here, strict=True)]
        longest = max(map(len, split), default=0)
        if longest > self.length:
            cut = sum(len(row) > self.length for row in split)
            took = f"cut {cut} of {len(split)} rows after {self.length} tokens"
            say = f"kinds={{{name!r}: {type(self).__name__}(..., length={longest})}} keeps all"
            tell(f"input {name!r}: {took}; {say}")
        coded = np.full((len(split), self.length), PADDING, np.int32)
        for line, row in zip(coded, self.look_up(split), strict=True):
            line[: len(row)] = row[: self.length]
        return coded


@dataclass(frozen=True)
class Bytes(Text):
    """Text as the bytes of its UTF-8 encoding: 256 ids for every language, none of them unknown.

    Reference: Xue et al., ByT5: Towards a token-free future with pre-trained byte-to-byte models
    (arXiv:2105.13626).

    Attributes:
        length: most bytes of a row; longer rows are cut, which is reported.

    Raises:
        UsageError: the length is not positive.

    Example:
        >>> coding = Bytes().fit("notes", ["hi", "Ü"], *np.ones((2, 2), bool))
        >>> coding.encode("notes", ["Ü", "a"]).tolist()
        [[195, 156], [97, -1]]
    """

    @property
    def known(self) -> int:
        """The number of different bytes."""
        return 256

    def split(self, text: str) -> Sequence[int]:
        """The bytes of a text."""
        return text.encode("utf-8", errors="replace")

    def look_up(self, rows: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """The bytes themselves."""
        return [[*row] for row in rows]

    def say(self, row: np.ndarray) -> str:
        """The text."""
        return bytes(token for token in row.tolist() if token >= 0).decode(errors="replace")


@dataclass(frozen=True)
class Words(Text):
    """Text as words and punctuation marks in lower case; id 0 stands for unknown ones.

    Words are learned from the training rows: those that occur in at least two of them, and of these
    the most frequent.

    Reference: Manning et al., Introduction to Information Retrieval (Cambridge 2008), section 2.2.

    Attributes:
        length: most words of a row; longer rows are cut, which is reported.
        most: number of words to learn.
        words: those that have been learned, from id 1 on.

    Raises:
        UsageError: a number is not positive, or ``words`` are not different words.

    Example:
        >>> rows = ["Good, good!", "a good one", "good a day"]
        >>> coding = Words().fit("notes", rows, *np.ones((2, 3), bool))
        >>> coding.words
        ('good', 'a')
        >>> coding.encode("notes", ["A bad day", "good"]).tolist()
        [[2, 0, 0, -1], [1, -1, -1, -1]]
    """

    most: int = 10_000
    words: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_counts(length=self.length, most=self.most)
        strings = all(isinstance(word, str) for word in self.words)
        if not strings or len(set(self.words)) < len(self.words):
            raise UsageError("words", expected="different words", got=f"{self.words!r:.80}")

    @property
    def known(self) -> int:
        """The number of words, and one for unknown ones."""
        return 1 + len(self.words)

    def split(self, text: str) -> Sequence[str]:
        """The words and punctuation marks of a text."""
        return re.findall(r"\w+|[^\w\s]", text.lower())

    def look_up(self, rows: Sequence[Sequence[str]]) -> Sequence[Sequence[int]]:
        """The place of each word among those learned, from 1 on; 0 for others."""
        place = {word: index for index, word in enumerate(self.words, start=1)}
        return [[place.get(word, 0) for word in row] for row in rows]

    def say(self, row: np.ndarray) -> str:
        """The words, with a question mark for each unknown one."""
        return " ".join(("?", *self.words)[token] for token in row if token >= 0)

    def fit(self, name: str, given: Any, present: np.ndarray, train: np.ndarray) -> Self:
        """The coding with a length, and the words of the training rows unless it has some.

        Raises:
            DataError: no word occurs in two training rows.
        """
        sized = super().fit(name, given, present, train)
        if self.words:
            return sized
        text, _ = _as_text(name, given, None)
        rows = [self.split(row) for row in text[present & train]]
        times = Counter(word for row in rows for word in row)
        spread = Counter(word for row in rows for word in {*row})
        several = [word for word in times if spread[word] > 1]
        words = sorted(several, key=lambda word: (-times[word], word))[: self.most]
        if not words:
            fix = "Read text whose words do not repeat by the kind 'bytes'."
            expected = "words that occur in several training rows"
            raise DataError(f"input {name!r}", expected=expected, got="none", fix=fix)
        return replace(sized, words=tuple(words))


def _as_text(name: str, given: Any, ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Text [rows] of str, empty where it is missing, and where it is.

    Raises:
        DataError: a row is something else.
    """
    where, array = f"input {name!r}", as_plain(f"input {name!r}", given)
    if array.dtype.kind == "U":
        array = np.asarray(given, object)  # or else NaN in a list would become text
    array = array[:, 0] if array.shape[1:] == (1,) else array
    if array.ndim != 1:
        raise DataError(where, expected="one text per row", got=f"shape {array.shape}")
    missing = find_gaps(array)
    other = ~missing & np.array([not isinstance(text, str) for text in array], bool)
    if other.any():
        got = f"{type(array[int(other.argmax())]).__name__} in {name_rows(other, ids)}"
        raise DataError(where, expected="text", got=got, fix="Convert it by .astype(str).")
    return np.where(missing, "", array), missing
