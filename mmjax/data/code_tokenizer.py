"""Text as the token ids of a tokenizer that was trained elsewhere."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from mmjax.data.code_ids import check_counts
from mmjax.data.code_text import Text
from mmjax.errors import DataError, UsageError, import_extra
from mmjax.storage.reading import reading


@dataclass(frozen=True, repr=False)
class Tokenizer(Text):
    """Text as the ids of a tokenizer of Hugging Face, special tokens included.

    The task holds the tokenizer itself, so that the file is not needed again. Truncation and
    padding of the file are not used: a row is cut at ``length``, and padded with -1.

    Reference: Moi and Patry, HuggingFace's Tokenizers (https://github.com/huggingface/tokenizers).

    Attributes:
        length: most tokens of a row; longer rows are cut at their end, which is reported.
        definition: the content of a file ``tokenizer.json``; see ``read``.

    Raises:
        UsageError: the length is not positive, the definition is none, or the package tokenizers is
            not installed.

    Example:
        >>> import json
        >>> model = {"type": "WordLevel", "vocab": {"?": 0, "good": 7}, "unk_token": "?"}
        >>> words = {"type": "Whitespace"}
        >>> definition = json.dumps({"version": "1.0", "pre_tokenizer": words, "model": model})
        >>> _ = Path("tokenizer.json").write_text(definition)
        >>> coding = Tokenizer.read("tokenizer.json", length=3)
        >>> coding, coding.known
        (Tokenizer(3949c522, length=3), 8)
        >>> coding.encode("notes", ["good day", "good"]).tolist()
        [[7, 0, -1], [7, -1, -1]]
    """

    definition: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        import_extra("kinds", "tokenizers", "text")
        try:
            _load(self.definition)
        except Exception as error:  # of no class of its own
            expected, fix = "the content of a tokenizer.json", "Use Tokenizer.read."
            got = f"{type(error).__name__}: {error}"[:200]
            raise UsageError("definition", expected=expected, got=got, fix=fix) from error
        check_counts(vocabulary=self.known)

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.definition.encode()).hexdigest()[:8]
        return f"Tokenizer({digest}, length={self.length})"

    @classmethod
    def read(cls, path: str | Path, length: int = 256) -> Self:
        """The tokenizer of a file ``tokenizer.json``.

        Raises:
            DataError: the file is missing or malformed.
            UsageError: the length is not positive, or the package tokenizers is not installed.
        """
        fix = "Write it by tokenizer.save, or download it again."
        with reading(path, "a tokenizer.json of Hugging Face", fix, _MAX_BYTES) as (path, _):
            definition = path.read_text(encoding="utf-8")
            _load(definition)
        return cls(length, definition)

    @property
    def known(self) -> int:
        """The largest id and one, added tokens included."""
        return _count(self.definition)

    def split(self, text: str) -> Sequence[int]:
        """The ids of a text.

        Raises:
            DataError: the tokenizer fails, or gives ids that are not of its vocabulary.
        """
        try:
            ids = _load(self.definition).encode(text).ids
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            got = f"{type(error).__name__}: {error}, for {text[:40]!r}"[:300]
            raise DataError(f"{self}", expected="a tokenizer of any text", got=got) from error
        if max(ids, default=0) >= self.known:
            expected = f"ids of its vocabulary, below {self.known}"
            raise DataError(f"{self}", expected=expected, got=f"{max(ids)}")
        return ids

    def look_up(self, rows: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """The ids themselves."""
        return rows

    def say(self, row: np.ndarray) -> str:
        """The text, without special tokens."""
        return _load(self.definition).decode([token for token in row.tolist() if token >= 0])


_MAX_BYTES = 1 << 26


@lru_cache(maxsize=8)
def _load(definition: str) -> Any:
    loaded = import_extra("kinds", "tokenizers", "text").Tokenizer.from_str(definition)
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


@lru_cache(maxsize=8)
def _count(definition: str) -> int:
    return 1 + max(_load(definition).get_vocab().values(), default=-1)
