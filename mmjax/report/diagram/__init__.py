"""Diagrams of a fusion: how data flows from its inputs to its prediction.

``dataflow`` traces the fusion, ``placement`` lays out its parts, ``drawing`` draws them.
"""

__all__ = [
    "dataflow",
    "drawing",
    "placement",
]
