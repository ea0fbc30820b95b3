"""The figures of a report, drawn by Matplotlib without a display.

Each function takes rows or arrays and returns a Figure; ``style`` is shared by all.
"""

__all__ = [
    "ablation_figures",
    "attribution_figures",
    "calibration_figures",
    "cost_figures",
    "pictures",
    "rank_figures",
    "representation_figures",
    "robustness_figures",
    "roofline",
    "samples",
    "scores_figure",
    "style",
    "svg",
    "verdict_figures",
]
