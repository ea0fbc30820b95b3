"""Many strategies trained and scored alike on one task.

An ``arm`` is a strategy with its recipe; ``loop`` yields what comes of each arm, ``outcomes`` says
what that is; ``tuning`` and ``cell_search`` settle what an arm leaves open.
"""

__all__ = [
    "arm",
    "cell_search",
    "encoded_arms",
    "encodings",
    "loop",
    "outcomes",
    "scores",
    "tuning",
]
