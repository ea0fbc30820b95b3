"""Arms that differ in numbers alone: trained together, they are what they are by themselves."""

import io
import math
import re
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import optax
import pytest
from killed import contents
from rich.console import Console

from mmjax.comparison import joining, loop
from mmjax.comparison.arm import make_arm
from mmjax.comparison.joining import group_arms, join_arms, train_together
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import ArmFailure
from mmjax.data.folds import fold_task
from mmjax.data.missing import lose
from mmjax.data.task import Task
from mmjax.errors import DivergenceError, Interrupted, UnknownNameError, UsageError
from mmjax.methods import TwoStage
from mmjax.objectives import cross_entropy
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.folder import make_checkpoints
from mmjax.tasks.synthetic import synthetic
from mmjax.training import fit as fit_module
from mmjax.training.feed import VARIABLE
from mmjax.training.loss_curve import POINTS
from mmjax.training.optimiser import Adam, Optax
from mmjax.training.program import compile_recipe

STEPS = 45  # five rounds


@pytest.fixture(scope="module")
def task():
    return synthetic(size=60)


def arm_of(task, name, rate=3e-3, decay=0.0, dropout=0.1, fusion="sum", **settings):
    settings = {"batch_size": 12, "steps": STEPS, "seeds": (0, 1), "patience": 2, **settings}
    made = make_arm(task, fusion, tx=Adam(rate, decay), dropout=dropout, **settings)
    return replace(made, strategy=name)


@pytest.fixture(scope="module")
def arms(task):
    """Three that train together, and one between them that does not."""
    return [
        arm_of(task, "slow", 1e-4),
        arm_of(task, "other", fusion="max"),
        arm_of(task, "fast", 1e-1, decay=0.1),
        arm_of(task, "dropped", 1e-4, dropout=0.6, seeds=(7, 1)),
    ]


@pytest.fixture(scope="module")
def alone(arms):
    return {arm.strategy: next(compare_arms([arm])) for arm in arms if arm.strategy != "other"}


@pytest.fixture
def compiled(monkeypatch):
    """The numbers of seeds of which a program was compiled."""
    asked = []

    def compile_noted(recipe, task):
        asked.append(len(recipe.seeds))
        return compile_recipe(recipe, task)

    for module in (loop, fit_module):
        monkeypatch.setattr(module, "compile_recipe", compile_noted)
    return asked


def about(row):
    """Equal up to rounding, which depends on what the compiler knows of the numbers."""
    near = lambda value: pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
    return {name: near(value) for name, value in row.items()}


def all_of(result):
    rows = [{**row, "seconds": 0.0} for row in result.rows]
    trained = result.trained
    arrays = contents((trained.params, trained.state.params, trained.best_step))
    state = {name: np.asarray(x) for name, x in contents(trained.state.skipped).items()}
    return rows, result.history, arrays, state, result.predictions


def check_equal(got, want):
    rows, history, *arrays = all_of(got)
    rows_alone, history_alone, *arrays_alone = all_of(want)
    assert rows == [*map(about, rows_alone)]
    assert history == [*map(about, history_alone)]
    assert got.arm.recipe == want.arm.recipe
    for one, other in zip(arrays, arrays_alone, strict=True):
        assert one.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_allclose(one[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_arms_together_are_what_they_are_alone_in_order_after_one_compilation(
    arms, alone, compiled
):
    taken = []
    results = list(compare_arms(arms, progress=taken.append))
    assert [result.arm.strategy for result in results] == [arm.strategy for arm in arms]
    together = [result for result in results if result.arm.strategy in alone]
    for result in together:
        check_equal(result, alone[result.arm.strategy])
    assert compiled == [6, 2]
    lengths = {result.arm.strategy: len(result.history) for result in results}
    assert lengths["fast"] < lengths["slow"]  # each stops early by itself
    assert len({result.trained.seconds for result in together}) == 1  # a third of the whole


def test_a_resumed_group_is_the_uninterrupted_one(arms, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "_FIRST_CALL", 4)
    monkeypatch.setattr(fit_module, "_CALL_SECONDS", 1e-9)
    taken = []

    def stop(steps):
        taken.append(steps)
        if len(taken) == 12:
            raise Interrupted(signal.SIGTERM)

    group = [arm for arm in arms if arm.strategy != "other"]
    compare = partial(compare_arms, group, checkpoints=partial(make_checkpoints, tmp_path))
    with pytest.raises(Interrupted):
        list(compare(progress=stop))
    assert {path.name for path in tmp_path.glob("checkpoints/*")} == {"slow~3"}
    more = []
    for result in compare(progress=more.append):
        check_equal(result, alone[result.arm.strategy])
    assert sum(taken) + sum(more) == len(group) * STEPS


@pytest.mark.slow
def test_what_is_left_of_a_group_trains_without_those_that_are_done(arms, alone, compiled):
    left = [arm for arm in arms if arm.strategy in ("fast", "dropped")]
    for result in compare_arms(left):
        check_equal(result, alone[result.arm.strategy])
    assert compiled == [4]


@pytest.mark.slow
def test_an_arm_that_diverges_fails_alone_and_says_where(task):
    group = [
        arm_of(task, "fine", patience=9, seeds=(4, 5)),
        arm_of(task, "wild", 1e37, patience=9, seeds=(6, 7)),
    ]
    fine, wild = compare_arms(group)
    (want,) = compare_arms(group[1:])
    check_equal(fine, next(compare_arms(group[:1])))
    assert isinstance(wild, ArmFailure)
    assert isinstance(wild.error, DivergenceError)
    assert "seed 6" in wild.reason
    assert wild.reason.partition("got")[0] == want.reason.partition("got")[0]


def test_arms_that_all_diverge_and_any_error_leave_each_to_itself(arms, monkeypatch, capsys):
    group = [arms[0], arms[2]]

    def fail(error, *arguments, **options):
        raise error

    train = partial(train_together, group, lambda: None, lambda steps: None, lambda arm: None)
    monkeypatch.setattr(joining, "fit", partial(fail, DivergenceError("step 0", "lost")))
    assert train() == [None, None]
    assert not capsys.readouterr().err
    monkeypatch.setattr(joining, "fit", partial(fail, RuntimeError("out of memory")))
    assert train() == [None, None]
    assert "cannot train slow, fast together" in capsys.readouterr().err


def test_progress_grows_and_ends_with_all_that_was_planned(arms):
    shown, console = [], Console(file=io.StringIO())
    with ComparisonProgress(arms, console) as progress:

        def note():
            shown.append(progress._steps())

        def on_steps(steps):
            progress.on_steps(steps)
            note()

        for result in compare_arms(arms, progress=on_steps):
            progress.on_arm(result.arm, result.rows, result.predictions)
            note()
    assert shown == sorted(shown)
    assert shown[-1] == 4 * STEPS
    assert shown[0] == 3 * math.ceil(STEPS / POINTS)  # a stretch of three arms
    head, *lines = console.file.getvalue().splitlines()
    assert "accuracy [95 % interval]" in head
    assert len(lines) == 4
    for line in lines:
        score, low, high = map(float, re.search(r"(\S+) % \[(\S+), (\S+)\]", line).groups())
        assert 0 <= low <= score <= high <= 100
    assert low < high  # of the last


def test_only_arms_that_differ_in_numbers_alone_join(task, monkeypatch):
    arm = arm_of(task, "arm")
    joins = lambda other: group_arms([arm, other]) == [[0, 1]]
    change = lambda **fields: replace(arm, recipe=replace(arm.recipe, **fields))
    assert joins(arm)
    assert joins(replace(arm, task=synthetic(size=60)))
    assert joins(change(tx=Adam(1.0, 1.0), dropout=0.0, seeds=(8, 9)))
    for other in (
        replace(arm, trials=2),
        replace(arm, task=synthetic(size=60, seed=1)),
        replace(arm, task=lose(task, {"a": 0.5})),
        replace(arm, task=replace(task, valid=task.test)),
        replace(arm, task=task.only("a")),
        replace(arm, task=replace(task, metric=optax)),
        change(dropout=None),
        change(seeds=(0, 1, 2)),
        change(patience=3),
        change(steps=44),
        change(tx=Adam(clip=2.0)),
        change(objective=lambda outputs, batch: cross_entropy(outputs, batch)),
        change(method=TwoStage()),
    ):
        assert not joins(other), other
    for alone in (
        replace(arm, trials=2),
        change(tx=Optax(optax.sgd(0.1))),
        change(method=TwoStage()),
        change(mesh="data=2"),
        arm_of(task, "open", fusion="searched"),
    ):
        assert group_arms([alone, alone]) == [[0], [1]], alone
    own = change(objective=lambda outputs, batch: cross_entropy(outputs, batch))
    assert group_arms([own, own]) == [[0, 1]]
    monkeypatch.setenv(VARIABLE, "stream")
    assert not joins(arm)


def test_arms_of_the_same_modalities_and_fold_join(task):
    a_only = lambda rate: make_arm(task, "a_only", tx=Adam(rate))
    assert group_arms([a_only(0.1), make_arm(task, "b_only"), a_only(0.2)]) == [[0, 2], [1]]
    folds = fold_task(task, folds=2).folds
    parts = [make_arm(fold.task, "sum", tx=Adam(rate)) for rate in (0.1, 0.2) for fold in folds]
    assert group_arms(parts) == [[0, 2], [1, 3]]


def test_variants_of_a_base_join_where_they_differ_in_numbers(task):
    names = [
        "sum",
        "sum:learning_rate=0.1",
        "sum:train=0.5",
        "sum:train=0.5+weight_decay=0.1",
        "sum:missing.a=0.3+learning_rate=0.1",
        "sum:missing.a=0.3",
        "sum:modalities=a",
        "a_only:fusion=sum+learning_rate=0.2",
        "sum:width=8",
        "sum:weight_decay=0.5",
    ]
    arms = [make_arm(task, name, dropout=0.1) for name in names]
    assert group_arms(arms) == [[0, 1, 9], [2, 3], [4, 5], [6, 7], [8]]


def test_rows_with_padding_are_compared_by_value():
    ragged = lambda: [np.full((2 + row % 2, 3), row, np.float32) for row in range(30)]
    make = lambda: Task.from_arrays({"a": ragged()}, np.arange(30) % 3 % 2, kinds={"a": "sequence"})
    one, other = make(), make()
    assert one.padded == ("a",)
    assert group_arms([make_arm(one, "sum"), make_arm(other, "sum")]) == [[0, 1]]


def test_a_recipe_is_joined_of_equal_shares(arms):
    with pytest.raises(UsageError, match=r"joined: expected a divisor .* 2, got 3"):
        replace(arms[0].recipe, joined=3)
    with pytest.raises(UnknownNameError, match="joined"):
        make_arm(arms[0].task, "sum:joined=2")


def test_a_group_has_a_limited_number_of_parameters(task, monkeypatch):
    many = [arm_of(task, "arm", rate) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
    monkeypatch.setattr(joining, "_most_arms", lambda arm: 2)
    assert group_arms(many) == [[0, 1], [2, 3], [4]]
    monkeypatch.undo()
    params = joining._most_arms(many[0])
    wider = replace(many[0], recipe=replace(many[0].recipe, seeds=tuple(range(4))))
    assert joining._most_arms(wider) == params // 2
    monkeypatch.setattr(joining, "_MOST", 1)
    assert group_arms(many[:2]) == [[0], [1]]  # a large model trains alone


def test_an_arm_by_itself_is_its_own():
    arm = arm_of(synthetic(size=60), "arm")
    assert join_arms([arm]) is arm
    both = join_arms([arm, replace(arm, recipe=replace(arm.recipe, tx=Adam(1.0), seeds=(2, 3)))])
    assert both.strategy == "arm~2"
    assert both.recipe.tx.learning_rate == (3e-3, 3e-3, 1.0, 1.0)
    assert both.recipe.dropout == (0.1,) * 4
    assert (both.recipe.seeds, both.recipe.joined) == ((0, 1, 2, 3), 2)
