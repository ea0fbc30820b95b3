"""`mmjax tune`: a search over fusions, methods and numbers, in a study that workers share.

Unlike ``mmjax.comparison.tuning``, which gives every arm the same few random trials, it learns from
one trial what to try next, and drops those that fall behind. The only package that knows Optuna.
"""

from mmjax.runs.search.worker import tune_in

__all__ = ["tune_in"]
