"""What the reference leaves out: that which Flax and NamedTuple add to every class."""

from typing import Any

from sphinx.application import Sphinx


def _drop_flax_fields(*event: Any) -> tuple[str, str | None] | None:
    """A module's signature without the fields that Flax adds to every module."""
    *_, signature, returns = event
    own, added, _ = (signature or "").partition(", parent=")
    return (f"{own})", returns) if added else None


def _skip_tuple_fields(*event: Any) -> bool | None:
    """Whether a member is a field of a NamedTuple, documented as "Alias for field number 0"."""
    *_, member, _, _ = event
    return True if type(member).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects both."""
    app.connect("autodoc-process-signature", _drop_flax_fields)
    app.connect("autodoc-skip-member", _skip_tuple_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
