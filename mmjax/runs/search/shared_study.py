"""A study that workers share: claims, heartbeats and retries of trials.

Workers send heartbeats. The trials of a stale worker are retried with the same parameters.
"""

import json
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmjax.errors import UsageError
from mmjax.runs.search import database
from mmjax.runs.search.database import allow_experimental, import_optuna, open_storage
from mmjax.runs.search.params import without_numbers
from mmjax.runs.settings import check_same

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_REDUCTION, _RUNGS = 2, 2  # successive halving: after a quarter and after half of the rows


class SharedStudy:
    """Trials in a database, each trained by one of the workers that share it.

    Args:
        where: a database, as in ``open_storage``.
        name: of the study in the database.
        about: settings that all workers must share, serialisable as JSON.
        trials: number of trials to complete.
        rows: training rows per trial, as in ``rows_seen``.
        resume: whether the study may exist already.

    Attributes:
        optuna: the Optuna study.
        trials: as given.
        broken: the exception raised when the database is unavailable.

    Raises:
        UsageError: the study exists and ``resume`` is false; it has other settings; or the database
            cannot be opened.
    """

    def __init__(
        self,
        where: str | Path,
        name: str,
        about: Mapping[str, Any],
        *,
        trials: int,
        rows: int,
        resume: bool,
    ) -> None:
        self.trials = trials
        self._seen: set[int] = set()
        self._module = optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        self.broken = optuna.exceptions.StorageInternalError
        self._lost = optuna.exceptions.UpdateFinishedTrialError
        self._storage = open_storage(where)
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, rows // _REDUCTION**_RUNGS), reduction_factor=_REDUCTION
        )
        known = {"storage": self._storage, "study_name": name, "load_if_exists": resume}
        try:
            self.optuna = optuna.create_study(direction="maximize", pruner=pruner, **known)
        except optuna.exceptions.DuplicatedStudyError as error:
            fix = "Join it with --resume, or choose another folder."
            raise UsageError(f"study {name}", "already in the database", fix=fix) from error
        self._agree(json.loads(json.dumps(about)))

    def _agree(self, about: Mapping[str, Any]) -> None:
        was = self.optuna.user_attrs.get("about")
        if was is None:
            self.optuna.set_user_attr("about", about)
            return
        check_same("the study", was, about)

    @property
    def done(self) -> "list[FrozenTrial]":
        """The trials that have ended and will not be retried."""
        return [trial for trial in self.optuna.get_trials(deepcopy=False) if self._is_done(trial)]

    def _is_done(self, trial: "FrozenTrial") -> bool:
        ended = trial.state in (self._states.COMPLETE, self._states.PRUNED)
        return ended or "error" in trial.user_attrs

    def claim(self, count: int, suggest: "Callable[[Trial], None]") -> "list[Trial]":
        """Claims at most ``count`` trials for this worker; none if none is left.

        Retries of stale trials come first. New trials differ only in ``NUMBERS``. Only one worker
        at a time may claim.

        Args:
            count: the most to claim.
            suggest: suggests the parameters of a trial; a retry keeps those that it had.
        """
        self._revive()
        known = self.optuna.get_trials(deepcopy=False)
        taken = [t for t in known if t.state == self._states.RUNNING or self._is_done(t)]
        claimed: list[Trial] = []
        for _ in range(min(count, self.trials - len(taken))):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
                trial = self.optuna.ask()
            self._beat([trial])
            self.optuna.sampler = self._make_sampler(trial, claimed)
            suggest(trial)
            claimed.append(trial)
        return claimed

    def _make_sampler(self, trial: "Trial", claimed: "Sequence[Trial]") -> "BaseSampler":
        """A seeded sampler; after the first claim it draws new ``NUMBERS`` only."""
        samplers = self._module.samplers
        sampler = samplers.TPESampler(seed=trial.number)
        if not claimed:
            return sampler
        with allow_experimental():
            return samplers.PartialFixedSampler(without_numbers(claimed[0].params), sampler)

    def _revive(self) -> None:
        """Queues the trials of stale workers for a retry."""
        running = self.optuna.get_trials(deepcopy=False, states=(self._states.RUNNING,))
        # Without a first heartbeat a trial would never become stale.
        self._beat([trial for trial in running if trial.number not in self._seen])
        self._seen |= {trial.number for trial in running}
        with allow_experimental():
            self._module.storages.fail_stale_trials(self.optuna)

    @contextmanager
    def hold(self, trials: "Sequence[Trial]") -> Iterator[None]:
        """Context manager that sends heartbeats for trials.

        A KeyboardInterrupt queues the unfinished ones for a retry.
        """
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(database.BEAT_SECONDS):
                with suppress(self.broken):  # the next heartbeat may succeed
                    self._beat(trials)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            for trial in trials:
                with suppress(ValueError):  # the trial has ended
                    frozen = self.optuna.tell(trial, state=self._states.FAIL)
                    if on_lost := self._storage.get_heartbeat_stale_trial_callback():
                        on_lost(self.optuna, frozen)
            raise
        finally:
            ended.set()
            thread.join()

    def _beat(self, trials: "Sequence[Trial | FrozenTrial]") -> None:
        for trial in trials:
            self._storage.record_heartbeat(trial._trial_id)  # Optuna has no public name for the id

    def report(self, trial: "Trial", score: float, rows: int, *, last: bool) -> bool:
        """Reports a trial's score after ``rows`` rows, and returns whether it continues.

        It does not if it is pruned, or if another worker is retrying it because this one was stale.
        """
        try:
            trial.report(score, rows)
            if last or not trial.should_prune():
                return True
        except self._lost:
            return False
        self.optuna.tell(trial, state=self._states.PRUNED, skip_if_finished=True)
        return False

    def complete(self, trial: "Trial", score: float, **facts: Any) -> None:
        """Completes a trial; ``facts`` are stored with its score."""
        with suppress(self._lost):
            for name, value in facts.items():
                trial.set_user_attr(name, value)
        self.optuna.tell(trial, score, skip_if_finished=True)

    def fail(self, trial: "Trial", error: str) -> None:
        """Fails a trial, without a retry."""
        with suppress(self._lost):
            trial.set_user_attr("error", error)
        self.optuna.tell(trial, state=self._states.FAIL, skip_if_finished=True)

    def note(self, trials: "Sequence[Trial]", facts: Mapping[str, str]) -> None:
        """Stores facts with running trials."""
        for trial in trials:
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)

    def read(self, trial: "Trial") -> "FrozenTrial":
        """The current state of a trial in the database."""
        return self._storage.get_trial(trial._trial_id)

    def close(self) -> None:
        """Closes the connections to the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()
