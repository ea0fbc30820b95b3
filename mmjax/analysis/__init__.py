"""Analysis of results: which differences are significant, and where scores come from.

``study`` holds all results on one task, ``answers`` the score of each strategy on each row,
``verdicts`` the conclusions, and ``assessment`` both of them; the other modules measure trained
arms on behalf of ``examine``.
"""

__all__ = [
    "answers",
    "assessment",
    "attribution",
    "availability",
    "bench",
    "calibration",
    "corruptions",
    "cost",
    "examine",
    "peaks",
    "representation",
    "robustness",
    "statistics",
    "study",
    "summary",
    "threads",
    "verdicts",
]
