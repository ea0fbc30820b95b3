"""Where Optuna keeps a study: a database with the signs of life of those who work on it."""

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
"""How often a worker says that it is alive, and after what silence it is taken for dead."""
_MAX_RETRIES = 3  # of a trial that may be what its workers die of
_LOCK_SECONDS = 60  # that SQLite waits for another writer


def import_optuna() -> ModuleType:
    """Optuna, which does not come with mmjax unasked.

    Raises:
        UsageError: it is not installed.
    """
    return import_extra("tune", "optuna", "tune")


def open_storage(where: str | Path) -> "RDBStorage":
    """A database, in which what a silent worker leaves waits to be done again.

    Args:
        where: its URL, as SQLAlchemy has it; or a file of SQLite's, which may have any name.

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
    except Exception as error:  # of SQLAlchemy, of a driver, or that there is no driver
        cause = error.__cause__ or error
        got = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise UsageError("storage", expected="the URL of a database", got=got) from error


def allow_experimental() -> warnings.catch_warnings:
    """Heartbeats, retries and samplers that are fixed in part are experimental in Optuna."""
    category = import_optuna().exceptions.ExperimentalWarning
    return warnings.catch_warnings(action="ignore", category=category)
