"""What a task is, and how your own arrays become one.

``task`` defines the type, ``coerce`` converts what users have, ``validate`` rejects what cannot be
trained on, ``splits`` deals out rows, ``scale`` standardises, and ``missing`` drops modalities.
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
