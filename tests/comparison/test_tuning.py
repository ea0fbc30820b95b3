"""Tuning: the same trials for all, chosen on validation, a lane for each."""

import signal
from dataclasses import replace

import numpy as np
import pytest

from mmjax.comparison.arm import make_arm
from mmjax.comparison.levels import make_ablation
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import unfailing
from mmjax.comparison.tuning import Trial, apply_trial, draw_trials, tune, tune_steps
from mmjax.errors import DivergenceError, Interrupted, UsageError
from mmjax.methods import METHODS
from mmjax.tasks import load_task
from mmjax.training.fit import fit
from mmjax.training.optimiser import Adam


@pytest.fixture(scope="module")
def task():
    return load_task("synthetic", options={"kind": "and", "size": "160"})


def recipe_of(task, strategy="concat", **recipe):
    return make_arm(task, strategy, steps=6, batch_size=16, seeds=(0,), **recipe).recipe


def test_trials_are_the_same_for_every_arm(task):
    first, second = (draw_trials(recipe_of(task, name), 6) for name in ("concat", "gmu"))
    assert first == second
    assert first[0] == Trial(3e-3, 0.0, 1.0)  # the recipe as it is
    assert len({trial.learning_rate for trial in first}) == 6
    assert all(3e-4 <= trial.learning_rate <= 3e-2 for trial in first)
    assert draw_trials(recipe_of(task), 3) == first[:3]


def test_a_trial_changes_what_it_says(task):
    recipe = recipe_of(task, "transformer")
    tuned = apply_trial(recipe, Trial(1e-3, 1e-2, 0.5))
    assert tuned.tx == Adam(1e-3, 1e-2)
    assert tuned.model.fusion.width == recipe.model.fusion.width // 2
    assert apply_trial(recipe, Trial(3e-3, 0.0, 1.0)) == recipe


def test_trials_vary_the_fields_of_a_method(task):
    recipe = recipe_of(task, "sum", method=METHODS["ogm_ge"]())
    plain, trials = draw_trials(recipe_of(task), 6), draw_trials(recipe, 6)
    assert [trial.learning_rate for trial in trials] == [trial.learning_rate for trial in plain]
    assert trials[:3] == draw_trials(recipe, 3)
    assert apply_trial(recipe, trials[0]) == recipe
    drawn = [apply_trial(recipe, trial).method.alpha for trial in trials[1:]]
    assert len(set(drawn)) > 1
    assert {*drawn} <= {*METHODS["ogm_ge"].tried["alpha"]}
    programs = {(trial.widening, trial.method) for trial in trials}
    assert tune_steps(recipe, 6) == len(programs) * recipe.steps


def test_an_ablation_takes_what_a_method_tries(task):
    base = make_arm(task, "sum", method=METHODS["ogm_ge"]())
    ablation, _ = make_ablation(task, "sum", base, {"method.alpha": ["tried"]})
    assert sorted(map(float, ablation.factors["method.alpha"])) == [0.1, 0.3, 0.5, 0.8]
    with pytest.raises(UsageError, match=r"vary method.noise=tried: expected one of alpha"):
        make_ablation(task, "sum", base, {"method.noise": ["tried"]})


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_tries_are_values_that_it_takes(name):
    for field, values in METHODS[name].tried.items():
        made = [METHODS[name](**{field: value}) for value in values]
        assert [getattr(method, field) for method in made] == [*values]
        assert len({*values}) > 1


@pytest.mark.slow
def test_every_lane_trains_as_it_would_alone(task):
    rates, decays = (1e-3, 1e-2), (1e-1, 0.0)
    recipe = recipe_of(task)
    both = fit(replace(recipe, tx=Adam(rates, decays), seeds=(4, 7)), task)
    for lane, seed in enumerate((4, 7)):
        alone = fit(replace(recipe, tx=Adam(rates[lane], decays[lane]), seeds=(seed,)), task)
        for together, solo in zip(both.history, alone.history, strict=True):
            np.testing.assert_allclose(together["loss"][lane], solo["loss"][0], rtol=1e-4)


@pytest.mark.slow
def test_the_best_trial_on_validation_is_taken(task):
    recipe = recipe_of(task)
    trials = draw_trials(recipe, 2)
    best, scores = tune(recipe, task, 2)
    assert len(scores) == 2
    assert scores[trials.index(best)] == max(scores)


def diverge_at(monkeypatch, widths):
    def fit_some(recipe, task, **options):
        if recipe.model.fusion.width in widths:
            raise DivergenceError("step 0", expected="a finite loss", got="none")
        return fit(recipe, task, **options)

    monkeypatch.setattr("mmjax.comparison.tuning.fit", fit_some)


@pytest.mark.slow
def test_a_width_at_which_all_diverge_is_the_worst(task, monkeypatch):
    recipe, width = recipe_of(task), recipe_of(task).model.fusion.width
    widenings = [trial.widening for trial in draw_trials(recipe, 6)]
    assert len(set(widenings)) > 1
    diverge_at(monkeypatch, [width])
    best, scores = tune(recipe, task, 6)
    assert [score == -np.inf for score in scores] == [widening == 1 for widening in widenings]
    assert best.widening != 1
    diverge_at(monkeypatch, [width / 2, width, width * 2])
    with pytest.raises(DivergenceError, match="a finite loss"):
        tune(recipe, task, 6)


@pytest.mark.slow
def test_a_comparison_tunes_its_arms(task):
    arm = replace(make_arm(task, "concat", steps=6, batch_size=16, seeds=(0,)), trials=3)
    steps = []
    (result,) = unfailing(compare_arms([arm], progress=steps.append))
    assert sum(steps) == arm.planned_steps > 6
    best, _ = tune(arm.recipe, task, 3)
    assert {row["trials"] for row in result.rows} == {3}
    assert f"learning_rate={best.learning_rate}" in result.rows[0]["recipe"]


@pytest.mark.parametrize("decay", [-1.0, float("nan"), (0.1, -0.1)])
def test_a_weight_decay_that_cannot_work_is_refused(decay):
    with pytest.raises(UsageError, match="weight_decay: expected a non-negative float32 number"):
        Adam(weight_decay=decay)


@pytest.mark.slow
def test_a_signal_ends_a_search_and_is_no_failure_of_its_arm(task):
    arm = replace(make_arm(task, "concat", steps=6, batch_size=16, seeds=(0,)), trials=2)

    def progress(steps):
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        next(compare_arms([arm], progress=progress))
