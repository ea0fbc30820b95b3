"""Many strategies trained and scored alike on one task.

An ``arm`` is a strategy with its recipe; ``loop`` trains arms one after another and gives each
to a sink; ``tuning``, ``cell_search`` and ``encodings`` settle what an arm leaves open.
"""

__all__ = [
    "arm",
    "cell_search",
    "encodings",
    "loop",
    "scores",
    "tuning",
]
