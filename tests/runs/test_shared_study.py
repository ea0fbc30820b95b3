"""The search with Optuna: its space, its batches, and who trains them."""

import time
from contextlib import suppress

import numpy as np
import pytest

from mmjax.cli import main
from mmjax.errors import UsageError
from mmjax.methods import METHODS
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.search import database as storage
from mmjax.runs.search.batch import make_batches, train_batch
from mmjax.runs.search.params import NUMBERS, apply_params, parse_space, suggest
from mmjax.runs.search.plots import save_plots
from mmjax.runs.search.shared_study import SharedStudy
from mmjax.runs.search.space import Space
from mmjax.runs.settings import Settings

optuna = pytest.importorskip("optuna")

SETTINGS = Settings(task="synthetic", options=("size=200",), steps=5)
STEPS = 16  # of batches of 20 rows, as many as 5 of 64


@pytest.fixture(scope="module")
def task():
    return make_task(SETTINGS)


def make_study(path, resume=False, **about):
    url = f"sqlite:///{path}/study.db"
    return SharedStudy(url, "test", about, trials=4, rows=120, resume=resume)


def choose(trial):
    suggest(trial, Space(batch_sizes=(20,)), ("concat", "transformer"))


# --- The space ------------------------------------------------------------------------------------


def test_a_trial_has_the_parameters_of_its_fusion():
    space = Space(
        encoder_choices=("a=mlp,gru",), widths=(8,), depths=(2,), batch_sizes=(20,), dropouts=(0, 0)
    )
    numbers = {"learning_rate": 1e-3, "weight_decay": 1e-2, "dropout": 0.0}
    plain = {"method": "joint", "width": 8, "batch_size": 20, **numbers}
    more = {
        "concat": {"encoder_a": "gru"},
        "transformer": {"encoder_a": "gru", "num_layers": 2},
        "early": {"num_layers": 2},  # reads what no encoder has seen
    }
    for fusion, own in more.items():
        want = {"fusion": fusion, **plain, **own}
        trial = optuna.trial.FixedTrial(want)
        suggest(trial, space, tuple(more))
        assert trial.params == want
    trial = optuna.trial.FixedTrial({"fusion": "stacking", "encoder_a": "gru", **plain})
    suggest(trial, space, ("stacking",))
    assert "method" not in trial.params  # stacking has its own


def test_a_trial_has_the_fields_of_its_method(task):
    space = Space(methods=("joint", "ogm_ge"), widths=(8,), batch_sizes=(20,), dropouts=(0, 0))
    numbers = {"learning_rate": 1e-3, "weight_decay": 1e-2, "dropout": 0.0}
    want = {"fusion": "concat", "method": "ogm_ge", "ogm_ge.alpha": 0.5, "width": 8}
    trial = optuna.trial.FixedTrial({**want, "batch_size": 20, **numbers})
    suggest(trial, space, ("concat",))
    assert trial.params["ogm_ge.alpha"] == 0.5
    strategy, settings = apply_params(SETTINGS, trial.params, 120)
    (arm,) = make_arms(settings, task, [strategy])
    assert arm.recipe.method == METHODS["ogm_ge"](alpha=0.5)


def test_the_settings_of_a_trial_train_what_it_says(task):
    numbers = {"learning_rate": 1e-3, "weight_decay": 1e-2, "dropout": 0.3}
    params = {"fusion": "transformer", "width": 8, "num_layers": 1, "encoder_a": "gru"}
    strategy, settings = apply_params(SETTINGS, {**params, "batch_size": 20, **numbers}, 120)
    (arm,) = make_arms(settings, task, [strategy])
    recipe = arm.recipe
    assert (recipe.tx.learning_rate, recipe.tx.weight_decay, recipe.dropout) == (1e-3, 1e-2, 0.3)
    assert (recipe.model.fusion.width, recipe.model.fusion.num_layers) == (8, 1)
    assert (type(recipe.model.encoders["a"]).__name__, recipe.batch_size) == ("GRU", 20)
    assert recipe.steps * 20 == SETTINGS.steps * SETTINGS.batch_size


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"methods": ()}, "methods: expected one or more distinct values, got none"),
        ({"widths": (8, 8)}, "widths: expected one or more distinct values, got 8 8"),
        ({"learning_rates": (1e-2, 1e-3)}, "learning_rates: expected a lowest and a highest"),
        ({"weight_decays": (0.0, 1e-3)}, "weight_decays: expected a lowest .* both above 0"),
        ({"dropouts": (0.5, 0.1)}, "dropouts: expected a lowest and a highest"),
    ],
)
def test_a_space_that_cannot_be_is_refused(space, message):
    with pytest.raises(UsageError, match=message):
        Space(**space)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fusions", "concta"], "Did you mean 'concat'?"),
        (["--fusions", "concat,searched"], "fusions: searched cannot be tuned"),
        (["--methods", "jint"], "Did you mean 'joint'?"),
        (["--encoder-choices", "a=raw,grue"], "Did you mean 'gru'?"),
        (["--widths", "0"], "width: expected at least 1, got 0"),
        (["--batch-sizes", "0"], "batch_size: expected at least 1, got 0"),
        (["--learning-rates", "0", "0"], "learning_rate: expected a positive float32 number"),
        (["--dropouts", "0", "1"], "dropout: expected at least 0 and below 1"),
        (["--batch-size", "8"], "batch_size: cannot be set in a search. Use --batch-sizes."),
        (["--tune", "8"], "tune: cannot be set in a search."),
        (["--trials", "0"], "trials: expected at least 1, got 0"),
        (["--lanes", "0"], "lanes: expected at least 1, got 0"),
        (["--storage", "nothing"], "storage: cannot open the database"),
    ],
)
def test_a_bad_argument_is_one_line(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["tune", "--task", "synthetic", *flags, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert message in error
    assert error.count("\n") == 1


def test_all_fusions_but_those_with_a_search_of_their_own(task):
    fusions = parse_space(SETTINGS, Space(fusions="all"), task)
    assert "searched" not in fusions
    assert {"concat", "stacking"} <= set(fusions)


# --- The study ------------------------------------------------------------------------------------


def test_trials_of_a_claim_differ_in_numbers_alone_and_repeat_with_the_study(tmp_path):
    claims = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shared = make_study(tmp_path / name)
        claims.append([trial.params for trial in shared.claim(3, choose)])
        assert len(shared.claim(3, choose)) == 1  # four in all
        assert shared.claim(3, choose) == []
        shared.close()
    first, *others = claims[0]
    for other in others:
        assert {n for n in first if other[n] != first[n]} == set(NUMBERS)
    assert claims[0] == claims[1]


@pytest.mark.slow
def test_what_a_silent_worker_had_is_claimed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "GRACE_SECONDS", 5)
    dead, alive = make_study(tmp_path), make_study(tmp_path, resume=True)
    lost = {trial.number: trial.params for trial in dead.claim(2, choose)}
    with alive.hold(alive.claim(2, choose)):
        again = []
        while len(again) < 2:
            again += alive.claim(4, choose)
            time.sleep(0.2)
    claimed = {t.system_attrs.get("failed_trial"): t.params for t in map(alive.read, again)}
    assert claimed == lost
    dead.close()
    alive.close()


def test_a_worker_that_was_taken_for_dead_changes_nothing(tmp_path):
    shared = make_study(tmp_path)
    (trial,) = shared.claim(1, choose)
    shared.fail(trial, "first")
    assert not shared.report(trial, 0.5, 3, last=False)
    shared.complete(trial, 0.9, nll=0.1)
    shared.fail(trial, "second")
    frozen = shared.read(trial)
    assert (frozen.value, frozen.user_attrs) == (None, {"error": "first"})
    shared.close()


def test_an_interrupt_leaves_trials_to_whoever_comes_next(tmp_path):
    shared = make_study(tmp_path)
    claimed = shared.claim(2, choose)
    shared.complete(claimed[0], 0.5)
    with suppress(KeyboardInterrupt), shared.hold(claimed):
        raise KeyboardInterrupt
    assert len(shared.done) == 1
    again = shared.claim(1, choose)
    assert again[0].params == claimed[1].params
    shared.close()


def test_a_study_of_something_else_is_refused_and_says_what_differs(tmp_path):
    make_study(tmp_path, steps=6, widths=(8,)).close()
    make_study(tmp_path, steps=6, widths=(8,), resume=True).close()
    with pytest.raises(UsageError, match=r"settings: steps 6, not 7; widths \[8\], not \[9\]"):
        make_study(tmp_path, steps=7, widths=(9,), resume=True)
    with pytest.raises(UsageError, match="study test: already in the database"):
        make_study(tmp_path, steps=6)


# --- Batches --------------------------------------------------------------------------------------


def frozen(number, **params):
    spread = optuna.distributions.FloatDistribution(0, 9)
    choice = optuna.distributions.CategoricalDistribution(("concat", "sum"))
    kinds = {name: choice if name == "fusion" else spread for name in params}
    return optuna.create_trial(
        params=params, distributions=kinds, value=0.0, user_attrs={"place": number}
    )


def test_batches_are_of_trials_that_differ_in_numbers_alone():
    rates = [("sum", 1.0), ("concat", 2.0), ("sum", 3.0)]
    trials = [frozen(i, fusion=f, learning_rate=r) for i, (f, r) in enumerate(rates)]
    places = [[trial.user_attrs["place"] for trial in batch] for batch in make_batches(trials)]
    assert places == [[1], [0, 2]]


def test_plots_are_of_the_score_by_which_trials_are_judged(tmp_path):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("dropout", 0, 1), n_trials=3)
    captions = save_plots(study, tmp_path, "R2")
    assert captions["optimization_history"].startswith("Validation R2")
    assert captions["slice"].startswith("R2 against")
    assert "ccuracy" not in "".join(captions.values())


class Log:
    """In place of a study: what a batch tells it, and which trials it drops."""

    broken = ConnectionError

    def __init__(self, drop=()):
        self.reports, self.ended, self.drop = [], {}, drop

    def report(self, trial, accuracy, rows, *, last):
        self.reports.append((trial, rows, last))
        return trial not in self.drop

    def complete(self, trial, accuracy, **facts):
        self.ended[trial] = (accuracy, facts)

    def fail(self, trial, error):
        self.ended[trial] = error


def arm_of(task, number, batch_size=20):
    numbers = {"learning_rate": 1e-3 * (number + 1), "weight_decay": 0.0, "dropout": 0.1}
    strategy, settings = apply_params(
        Settings(**{**vars(SETTINGS), "seeds": 1}),
        {"fusion": "early", "batch_size": batch_size, **numbers},
        task.train.size,
    )
    (arm,) = make_arms(settings, task, [strategy])
    return arm


@pytest.mark.slow
def test_a_trial_in_a_batch_is_what_it_is_alone(task):
    together, ended = Log(), []
    train_batch(together, [0, 1], lambda i: arm_of(task, i), lambda steps: None, ended.append)
    assert ended == [0, 1]
    for number in (0, 1):
        alone = Log()
        train_batch(alone, [number], lambda i: arm_of(task, i), lambda steps: None, ended.append)
        (accuracy, facts), (want, wanted) = together.ended[number], alone.ended[number]
        assert (accuracy, facts["best_step"]) == (want, wanted["best_step"])
        np.testing.assert_allclose(facts["nll"], wanted["nll"], rtol=1e-4)


def test_training_ends_when_all_trials_have_fallen_behind(task):
    log, steps, ended = Log(drop={0, 1}), [], []
    train_batch(log, [0, 1], lambda i: arm_of(task, i), steps.append, ended.append)
    assert 20 * sum(steps) == log.reports[0][1] < 20 * STEPS
    assert sorted(ended) == [0, 1]
    assert not log.ended
    log = Log(drop={0})
    train_batch(log, [0, 1], lambda i: arm_of(task, i), steps.append, ended.append)
    assert list(log.ended) == [1]
    assert [rows for trial, rows, last in log.reports if last] == [20 * STEPS]


def test_a_batch_of_more_than_all_rows_sees_all_rows(task):
    size, log = task.train.size, Log()
    arm = arm_of(task, 0, batch_size=10 * size)
    assert arm.recipe.steps == round(SETTINGS.steps * SETTINGS.batch_size / size)
    train_batch(log, [0], lambda _: arm, lambda steps: None, lambda trial: None)
    assert log.reports[-1][1] == arm.recipe.steps * size


def test_what_goes_wrong_ends_the_trials_of_its_batch_alone(task):
    def break_down(number):
        raise UsageError("width", expected="less", got="more")

    log, ended = Log(), []
    train_batch(log, [0, 1], break_down, lambda steps: None, ended.append)
    assert ended == [0, 1]
    assert log.ended[0] == "UsageError: width: expected less, got more."


def test_a_database_that_does_not_answer_is_no_fault_of_a_trial(task):
    def lose_contact(number):
        raise ConnectionError

    log = Log()
    with pytest.raises(ConnectionError):
        train_batch(log, [0], lose_contact, lambda steps: None, lambda trial: None)
    assert not log.ended
