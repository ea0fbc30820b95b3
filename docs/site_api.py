"""How docstrings are read: as they are, without what Flax and NamedTuple add to every class."""

import re
from typing import Any

from sphinx.application import Sphinx


def _drop_flax_fields(*event: Any) -> tuple[str, str | None] | None:
    """A module's signature without the fields that Flax adds to every module."""
    *_, signature, returns = event
    own, *added = re.split(r", parent[:=]", signature or "", maxsplit=1)
    return (f"{own})", returns) if added else None


def _skip_tuple_fields(*event: Any) -> bool | None:
    """Whether a member is a field of a NamedTuple, documented as "Alias for field number 0"."""
    *_, member, _, _ = event
    return True if type(member).__name__ == "_tuplegetter" else None


def _keep_first_line(*event: Any) -> None:
    """Begins the docstring of a value by an empty comment: its first line has no "type:" in it."""
    _, what, *_, lines = event
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects them."""
    app.connect("autodoc-process-signature", _drop_flax_fields)
    app.connect("autodoc-skip-member", _skip_tuple_fields)
    app.connect("autodoc-process-docstring", _keep_first_line, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
