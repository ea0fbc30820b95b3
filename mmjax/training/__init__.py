"""How a model is trained: a recipe, one jitted step, all seeds at once, on any devices.

``fit`` is the loop: it takes a ``recipe`` and a task, runs the ``step`` over ``epochs`` of rows
that ``feed`` brings, and keeps the best parameters of each seed and a ``checkpoint``.
"""

__all__ = [
    "checkpoint",
    "early_stopping",
    "epochs",
    "feed",
    "fit",
    "lanes",
    "mesh",
    "optimiser",
    "predict",
    "program",
    "recipe",
    "sizes",
    "step",
]
