"""What is measured of an arm beyond its scores."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from representatives import slow

from mmjax.analysis import examine
from mmjax.analysis.examine import make_examine
from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import score
from mmjax.tasks import load_task
from mmjax.training.fit import fit
from mmjax.training.predict import make_evaluate
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def task():
    return load_task("synthetic", options={"kind": "unique", "size": "300"})


@pytest.fixture(scope="module")
def assessed(task):
    examine = make_examine(task)

    def one(name):
        arm = make_arm(task, name, steps=40, seeds=(3, 5))
        trained = fit(arm.recipe, arm.task)
        return arm, trained, examine(arm, trained, lambda: None)

    return {name: one(name) for name in ("attention_pool", "a_only")}


def test_predictions_are_those_that_are_scored(task, assessed):
    for arm, trained, _ in assessed.values():
        rows, predictions = score(arm, trained)
        assert predictions["seeds"].tolist() == [3, 5]
        for row in rows:
            seed = [3, 5].index(row["seed"])
            said = predictions[row["split"]][seed].argmax(axis=-1)
            target = task.splits[row["split"]].target
            assert np.mean(said == target) == pytest.approx(row["accuracy"])


def test_hidden_rows_carry_what_made_them(assessed):
    arm, trained, found = assessed["attention_pool"]
    (plain, *_) = score(arm, trained).rows
    assert {row["hidden"] for row in found.scores} == {"a", "b", "a+b"}
    assert all(row.keys() == plain.keys() for row in found.scores)


def test_every_table_says_whose_its_rows_are(assessed):
    for name, (_, _, found) in assessed.items():
        for table in (found.tables["robustness"], found.tables["representation"]):
            assert table
            assert {(row["task"], row["strategy"]) for row in table} == {("synthetic/unique", name)}
    assert not assessed["a_only"][2].tables["weights"]


@pytest.mark.parametrize("shown", [slice(0, 1), slice(0, 3), "one class"])
def test_rows_too_few_to_cluster_are_scored_all_the_same(assessed, shown):
    arm, trained, _ = assessed["attention_pool"]
    target = arm.task.test.target
    if shown == "one class":
        rows = np.flatnonzero(target == 0)
    else:  # of as many classes
        rows = np.unique(target, return_index=True)[1][shown]
    small = replace(arm.task, test=arm.task.test.take(rows))
    found = make_examine(small)(replace(arm, task=small), trained, lambda: None)
    assert not found.tables["representation"]
    assert found.scores
    assert found.tables["robustness"]


def test_weights_sum_to_one_and_prefer_what_tells(assessed):
    rows = assessed["attention_pool"][2].tables["weights"]
    assert len(rows) == 4  # seeds, modalities
    for seed in (3, 5):
        of = {row["modality"]: row["weight"] for row in rows if row["seed"] == seed}
        assert sum(of.values()) == pytest.approx(1)
        assert of["a"] > 0.5  # only "a" knows the class


def view_untrained(task, name):
    """What one seed of a strategy shows of the test rows, as it is initialised."""
    model, rows = make_arm(task, name, seeds=(0,)).recipe.model, task.test.batch()
    params = jax.tree.map(lambda x: x[None], init_params(model, rows, 0))
    return make_evaluate(model).view(params, rows)


@pytest.mark.parametrize(
    "name",
    [
        *("weighted", "attention_pool", "transformer"),
        *map(slow, ("gmu", "late_weighted", "dynamic", "zorro")),
    ],
)
def test_fusions_with_weights_show_them(task, name):
    weights = view_untrained(task, name).weights
    assert weights.shape == (1, task.test.size, 2)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_fusions_without_weights_show_none(task):
    assert view_untrained(task, "concat").weights is None


def test_every_row_is_corrupted_only_where_that_is_asked_for(task, monkeypatch):
    asked = []
    monkeypatch.setattr(examine, "make_sweep", lambda task, *, max_rows: asked.append(max_rows))
    make_examine(task, ("corruptions",))
    make_examine(task, ("corruptions", "full"))
    assert asked == [examine.MAX_CORRUPTED, task.test.size]
