"""The study that workers share: who trains which trial, and which must be trained again.

A worker says every few seconds that it is alive. What it had when it falls silent waits to be
trained again, with the same parameters.
"""

import json
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmjax.errors import UsageError
from mmjax.trials.space import without_numbers

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

BEAT_SECONDS, GRACE_SECONDS = 10, 60
"""How often a worker says that it is alive, and after what silence it is taken for dead."""
_MAX_RETRIES = 3  # of a trial that may be what its workers die of
_REDUCTION, _RUNGS = 2, 2  # successive halving: after a quarter and after half of the steps
_LOCK_SECONDS = 60  # that SQLite waits for another writer


def import_optuna() -> ModuleType:
    """Optuna, which does not come with mmjax unasked.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        fix = 'Install it by `pip install "mmjax[tune]"`.'
        raise UsageError("tune", expected="Optuna", got=str(error), fix=fix) from error
    return optuna


class Study:
    """Trials in a database, each trained by one of the workers that share it.

    Args:
        url: of the database, as SQLAlchemy has it.
        name: of the study in the database.
        about: what all workers must agree on, as JSON has it.
        trials: how many are to be trained.
        steps: train steps of one.
        resume: the study may be there already.

    Raises:
        UsageError: there is such a study and ``resume`` is false; or it is about something else;
            or the database cannot be used.
    """

    def __init__(
        self,
        url: str,
        name: str,
        about: Mapping[str, Any],
        *,
        trials: int,
        steps: int,
        resume: bool,
    ) -> None:
        self.trials, self._seen = trials, set()
        self._optuna = optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        self._lost = optuna.exceptions.UpdateFinishedTrialError
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, steps // _REDUCTION**_RUNGS), reduction_factor=_REDUCTION
        )
        with _experimental():
            self._retry = optuna.storages.RetryHeartbeatStaleTrialCallback(_MAX_RETRIES)
            self._storage = _open_storage(optuna, url, self._retry)
            try:
                self.optuna = optuna.create_study(
                    storage=self._storage,
                    study_name=name,
                    direction="maximize",
                    pruner=pruner,
                    load_if_exists=resume,
                )
            except optuna.exceptions.DuplicatedStudyError as error:
                fix = "Go on with it by --resume, or name another folder."
                got = "one that exists"
                raise UsageError(f"study {name}", expected="a new one", got=got, fix=fix) from error
        self._agree(json.loads(json.dumps(about)))

    def _agree(self, about: Mapping[str, Any]) -> None:
        was = self.optuna.user_attrs.get("about")
        if was is None:
            self.optuna.set_user_attr("about", about)
            return
        differing = [f"{n} {was.get(n)!r}, not {x!r}" for n, x in about.items() if was.get(n) != x]
        if differing:
            raise UsageError(
                "resume",
                expected="the settings that the study was started with",
                got="; ".join(differing),
                fix="Leave out --resume and name another folder.",
            )

    @property
    def done(self) -> "list[FrozenTrial]":
        """The trials that nobody will train any more, or again."""
        return [trial for trial in self.optuna.get_trials(deepcopy=False) if self._is_done(trial)]

    def _is_done(self, trial: "FrozenTrial") -> bool:
        ended = trial.state in (self._states.COMPLETE, self._states.PRUNED)
        return ended or "error" in trial.user_attrs

    def claim(self, count: int, suggest: "Callable[[Trial], None]") -> "list[Trial]":
        """At most so many trials for this worker, with their parameters; none if none is left.

        Those that other workers have left come first. New ones differ in numbers alone. One worker
        at a time may claim.
        """
        self._revive()
        known = self.optuna.get_trials(deepcopy=False)
        taken = [t for t in known if t.state == self._states.RUNNING or self._is_done(t)]
        # What is drawn follows from the study so far, and no two workers draw the same.
        sampler = self._optuna.samplers.TPESampler(seed=len(known))
        self.optuna.sampler = sampler
        claimed = []
        for _ in range(min(count, self.trials - len(taken))):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
                trial = self.optuna.ask()
            self._beat([trial])
            suggest(trial)
            claimed.append(trial)
            with _experimental():
                self.optuna.sampler = self._optuna.samplers.PartialFixedSampler(
                    without_numbers(claimed[0].params), sampler
                )
        return claimed

    def _revive(self) -> None:
        """Has trials wait again whose workers have fallen silent."""
        running = self.optuna.get_trials(deepcopy=False, states=(self._states.RUNNING,))
        # Those that a worker left before its first beat would never count as silent.
        self._beat([trial for trial in running if trial.number not in self._seen])
        self._seen |= {trial.number for trial in running}
        with _experimental():
            self._optuna.storages.fail_stale_trials(self.optuna)

    @contextmanager
    def hold(self, trials: "Sequence[Trial]") -> Iterator[None]:
        """Inside it, this worker says that it is alive and has these trials.

        A KeyboardInterrupt leaves those that have not ended to whoever comes next.
        """
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):
                with suppress(self._optuna.exceptions.StorageInternalError):  # the next may work
                    self._beat(trials)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            for trial in trials:
                with suppress(ValueError):  # it has ended
                    frozen = self.optuna.tell(trial, state=self._states.FAIL)
                    self._retry(self.optuna, frozen)
            raise
        finally:
            ended.set()
            thread.join()

    def _beat(self, trials: "Sequence[Trial | FrozenTrial]") -> None:
        for trial in trials:
            self._storage.record_heartbeat(trial._trial_id)  # Optuna has no public name for it

    def report(self, trial: "Trial", accuracy: float, step: int, *, last: bool) -> bool:
        """Tells how far a trial is, and returns whether it goes on.

        It does not if it has fallen behind; nor if this worker was taken for dead meanwhile, and
        another one trains the trial.
        """
        try:
            trial.report(accuracy, step)
            if last or not trial.should_prune():
                return True
        except self._lost:
            return False
        self.optuna.tell(trial, state=self._states.PRUNED, skip_if_finished=True)
        return False

    def complete(self, trial: "Trial", accuracy: float, **facts: Any) -> None:
        """Ends a trial that was trained, with facts that are kept beside its accuracy."""
        with suppress(self._lost):
            for name, value in facts.items():
                trial.set_user_attr(name, value)
        self.optuna.tell(trial, accuracy, skip_if_finished=True)

    def fail(self, trial: "Trial", error: str) -> None:
        """Ends a trial that cannot be trained."""
        with suppress(self._lost):
            trial.set_user_attr("error", error)
        self.optuna.tell(trial, state=self._states.FAIL, skip_if_finished=True)

    def note(self, trials: "Sequence[Trial]", facts: Mapping[str, str]) -> None:
        """Keeps facts beside trials that have not ended."""
        for trial in trials:
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)

    def read(self, trial: "Trial") -> "FrozenTrial":
        """A trial as the database has it now."""
        return self._storage.get_trial(trial._trial_id)

    def close(self) -> None:
        """Lets go of the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def _open_storage(optuna: ModuleType, url: str, retry: Callable[..., None]) -> Any:
    options = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs=options,
            heartbeat_interval=BEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=retry,
        )
    except Exception as error:  # of SQLAlchemy, of a driver, or that there is no driver
        cause = error.__cause__ or error
        got = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise UsageError("storage", expected="the URL of a database", got=got) from error


def _experimental() -> warnings.catch_warnings:
    """Heartbeats, retries and samplers that are fixed in part are experimental in Optuna."""
    from optuna.exceptions import ExperimentalWarning

    return warnings.catch_warnings(action="ignore", category=ExperimentalWarning)
