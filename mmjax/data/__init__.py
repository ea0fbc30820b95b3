"""What a task is, and how arrays of one's own become one.

``task`` has the type, ``coerce`` takes what people have, ``validate`` refuses what cannot be
trained on, and ``splits``, ``scale`` and ``missing`` make a task out of another.
"""

__all__ = [
    "chunks",
    "coalitions",
    "coerce",
    "coerce_inputs",
    "coerce_targets",
    "missing",
    "scale",
    "splits",
    "targets",
    "task",
    "validate",
]
