"""What is computed of results: whether differences are real, and where scores come from.

``study`` holds all that is known of one task's strategies, ``answers`` how each does on each row,
``verdicts`` what follows, and ``assessment`` keeps both; the other modules measure trained arms,
as ``examine`` asks them to.
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
