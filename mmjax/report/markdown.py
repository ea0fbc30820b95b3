"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(
    heads: Sequence[str], lines: Iterable[Sequence[object]], *, text_columns: int = 1
) -> str:
    """A pipe table, without a newline at its end; nothing where there are no lines.

    Args:
        heads: of the columns.
        lines: the cells of each, as many as there are heads.
        text_columns: how many of the first columns are to the left; all others are to the right.
    """
    body = [_line(cells) for cells in lines]
    ruler = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return "\n".join([_line(heads), f"|{'|'.join(ruler)}|", *body]) if body else ""


def _line(cells: Iterable[object]) -> str:
    escaped = (str(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
