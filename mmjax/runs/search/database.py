"""The database of an Optuna study, with heartbeats of its workers."""

import sqlite3
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmjax.errors import UsageError, import_extra

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

BEAT_SECONDS, GRACE_SECONDS = 10, 60
"""Heartbeat interval of a worker, and the silence after which its trials are stale."""
_MAX_RETRIES = 3  # a trial may itself be what kills its workers
_LOCK_SECONDS = 60  # how long SQLite waits for another writer


def import_optuna() -> ModuleType:
    """Imports Optuna.

    Raises:
        UsageError: it is not installed.
    """
    return import_extra("tune", "optuna", "tune")


def open_storage(where: str | Path) -> "RDBStorage":
    """Opens a database in which trials of stale workers are retried.

    Args:
        where: an SQLAlchemy URL, or the path of a SQLite file.

    Raises:
        UsageError: it cannot be opened.
    """
    storages = import_optuna().storages
    url, options = str(where), dict[str, Any]()
    if isinstance(where, Path):
        connect = partial(sqlite3.connect, where, timeout=_LOCK_SECONDS, check_same_thread=False)
        url, options = "sqlite:///study.db", {"creator": connect}
    elif where.startswith("sqlite"):
        options = {"connect_args": {"timeout": _LOCK_SECONDS}}
    try:
        with allow_experimental():
            return storages.RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=BEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=storages.RetryHeartbeatStaleTrialCallback(
                    _MAX_RETRIES
                ),
            )
    except Exception as error:  # from SQLAlchemy, a driver, or a missing driver
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise UsageError("storage", f"cannot open the database: {reason}") from error


def allow_experimental() -> warnings.catch_warnings:
    """Context manager that silences warnings about experimental features of Optuna."""
    category = import_optuna().exceptions.ExperimentalWarning
    return warnings.catch_warnings(action="ignore", category=category)
