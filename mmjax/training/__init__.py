"""Training: a recipe, one jitted step, all seeds in one program, on any devices.

``fit`` is the training loop: it takes a ``recipe`` and a task, runs the ``step`` over ``epochs`` of
rows from ``feed``, and keeps the best parameters of each seed and a ``checkpoint``.
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
