"""`mmjax tune`: a search over fusions, methods and numbers, in a study that workers share.

Unlike ``mmjax.comparison.tuning``, which gives every arm the same few random trials, it learns from
one trial what to try next, and drops those that fall behind. The only package that knows Optuna.
"""

__all__ = [
    "batch",
    "database",
    "params",
    "plots",
    "shared_study",
    "space",
    "trial_rows",
    "worker",
]
