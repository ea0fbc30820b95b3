"""A picture of a model: how data flows from its inputs to its prediction.

``dataflow`` traces the model, ``placement`` gives each part a place, ``drawing`` draws it.
"""

__all__ = [
    "dataflow",
    "drawing",
    "placement",
]
