"""Many strategies trained and scored alike on one task.

An ``arm`` is a strategy with its recipe; ``loop`` yields what comes of each arm, ``outcomes`` says
what that is; ``tuning`` and ``cell_search`` settle what an arm leaves open; ``frozen`` puts frozen
encoders before the arms.
"""

__all__ = [
    "arm",
    "cell_search",
    "encoded_arms",
    "encodings",
    "frozen",
    "frozen_encoder",
    "loop",
    "outcomes",
    "scores",
    "tuning",
]
