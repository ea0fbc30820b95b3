"""The study that workers share: who trains which trial, and which must be trained again.

A worker says every few seconds that it is alive. What it had when it falls silent waits to be
trained again, with the same parameters.
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

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_REDUCTION, _RUNGS = 2, 2  # successive halving: after a quarter and after half of the rows


class SharedStudy:
    """Trials in a database, each trained by one of the workers that share it.

    Args:
        where: a database, as ``open_storage`` takes it.
        name: of the study in the database.
        about: what all workers must agree on, as JSON has it.
        trials: how many are to be trained.
        rows: training rows that one sees, again and again.
        resume: the study may be there already.

    Attributes:
        optuna: the study, as Optuna has it.
        trials: as given.
        broken: what is raised when the database does not answer.

    Raises:
        UsageError: there is such a study and ``resume`` is false; or it is about something else;
            or the database cannot be used.
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
        """What it draws follows from the study so far; it repeats what is not a number."""
        samplers = self._module.samplers
        sampler = samplers.TPESampler(seed=trial.number)
        if not claimed:
            return sampler
        with allow_experimental():
            return samplers.PartialFixedSampler(without_numbers(claimed[0].params), sampler)

    def _revive(self) -> None:
        """Has trials wait again whose workers have fallen silent."""
        running = self.optuna.get_trials(deepcopy=False, states=(self._states.RUNNING,))
        # Those that a worker left before its first beat would never count as silent.
        self._beat([trial for trial in running if trial.number not in self._seen])
        self._seen |= {trial.number for trial in running}
        with allow_experimental():
            self._module.storages.fail_stale_trials(self.optuna)

    @contextmanager
    def hold(self, trials: "Sequence[Trial]") -> Iterator[None]:
        """Inside it, this worker says that it is alive and has these trials.

        A KeyboardInterrupt leaves those that have not ended to whoever comes next.
        """
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(database.BEAT_SECONDS):
                with suppress(self.broken):  # the next may work
                    self._beat(trials)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            for trial in trials:
                with suppress(ValueError):  # it has ended
                    frozen = self.optuna.tell(trial, state=self._states.FAIL)
                    if on_lost := self._storage.get_heartbeat_stale_trial_callback():
                        on_lost(self.optuna, frozen)
            raise
        finally:
            ended.set()
            thread.join()

    def _beat(self, trials: "Sequence[Trial | FrozenTrial]") -> None:
        for trial in trials:
            self._storage.record_heartbeat(trial._trial_id)  # Optuna has no public name for it

    def report(self, trial: "Trial", score: float, rows: int, *, last: bool) -> bool:
        """Tells how far a trial is after so many rows, and returns whether it goes on.

        It does not if it has fallen behind; nor if this worker was taken for dead meanwhile, and
        another one trains the trial.
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
        """Ends a trial that was trained, with facts that are kept beside its score."""
        with suppress(self._lost):
            for name, value in facts.items():
                trial.set_user_attr(name, value)
        self.optuna.tell(trial, score, skip_if_finished=True)

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
