"""Output for people: pages, tables, figures, LaTeX.

Everything here is made from an ``analysis.study.Study``: ``sections`` decides what to show;
``page``, ``paper`` and ``notebook`` render it.
"""

__all__ = [
    "ablation_drawings",
    "across",
    "console",
    "diagram",
    "extras",
    "figures",
    "frames",
    "grids",
    "latex",
    "latex_ablation",
    "lines",
    "notebook",
    "page",
    "paper",
    "progress",
    "score_table",
    "search_page",
    "sections",
    "tables",
    "task_tables",
    "venues",
]
