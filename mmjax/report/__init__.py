"""What a person reads: a page, tables, figures, LaTeX.

Everything here is made from an ``analysis.study.Study``: ``sections`` decides what is shown of
one, ``page``, ``latex`` and ``notebook`` where.
"""

__all__ = [
    "across",
    "console",
    "diagram",
    "extras",
    "figures",
    "grids",
    "latex",
    "lines",
    "notebook",
    "page",
    "progress",
    "search_page",
    "sections",
    "tables",
]
