"""`mmjax tune`: a hyperparameter search in an Optuna study that workers share.

``mmjax.comparison.tuning`` gives every arm the same few random trials; this search chooses trials
by the results of earlier ones, and prunes. No other package imports Optuna.
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
