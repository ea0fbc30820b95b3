"""Searched fusion: its layers against NumPy, and the search that chooses them."""

import json

import numpy as np
import pytest
from reference import assert_close, dense, joint, pool, presence, ragged, run
from scipy.special import expit

from mmjax.cli import main
from mmjax.comparison.arm import make_arm
from mmjax.comparison.cell_search import NUM_PROXIES, ROUNDS, chosen_cells, search
from mmjax.comparison.loop import compare_arms, settle
from mmjax.comparison.outcomes import unfailing
from mmjax.data.task import Task
from mmjax.errors import DivergenceError, UsageError
from mmjax.fusion.searched import SearchedFusion
from mmjax.storage.jsonl import read_rows
from mmjax.tasks import load_task
from mmjax.training.fit import fit

TINY = ["--task", "synthetic", "--options", "size=200", "--steps", "8", "--seeds", "1"]


def test_cells_are_the_chain_that_they_name():
    tokens = ragged(2)
    cells = ((1, 0, 1), (2, 0, 2))
    got, p = run(SearchedFusion(out_dim=3, width=8, cells=cells), tokens)
    pooled, here = pool(tokens), presence(tokens)
    levels = [pooled["audio"]]
    for k in (1, 2):
        deeper = np.maximum(dense(p[f"level_{k}_audio"], levels[-1]), 0)
        levels.append(np.where(here[:, :1], deeper, 0))
    first = expit(joint(p["cell_0"], {"audio": levels[1], "image": pooled["image"]}))
    second = joint(p["cell_1"], {"audio": levels[2], "image": pooled["image"]})
    second = second + dense(p["chain_1"], first)
    hidden = np.where(second > 0, second, 0.01 * second)
    assert_close(got.prediction, dense(p["readout"], hidden))
    assert "level_1_image" not in p


def test_cells_for_another_number_of_modalities_are_refused():
    with pytest.raises(UsageError, match="cells"):
        run(SearchedFusion(out_dim=3, cells=((0, 0),)), ragged(2))


@pytest.fixture(scope="module")
def arm():
    task = load_task("synthetic", options={"size": "200"})
    return make_arm(task, "searched", steps=8, seeds=(3, 4))


@pytest.mark.slow
def test_the_search_tries_what_its_budget_allows_and_takes_the_best(arm):
    seen = {}

    def judge(recipes, task):
        assert task.name.endswith("/encoded")
        found = [recipe.model.fusion.cells for recipe in recipes]
        assert all(recipe.seeds == (3,) and recipe.steps == 2 for recipe in recipes)
        # The more layers and the more sigmoids, the better.
        scores = [sum(cell[-1] == 1 for cell in cells) / 10 for cells in found]
        seen.update(zip(found, scores, strict=True))
        return scores

    taken = []
    found = search(arm.recipe, arm.task, judge, taken.append)
    assert len(seen) == ROUNDS * NUM_PROXIES
    assert {len(cells) for cells in seen} == {1, 2}
    assert seen[chosen_cells(found)] == max(seen.values())
    assert found.steps == 8
    assert found.seeds == (3, 4)
    assert sum(taken) == 2 * 2  # each encoder, once


@pytest.mark.slow
def test_choices_that_diverge_are_the_worst(arm):
    judged = []

    def judge(recipes, task):
        judged.append([recipe.model.fusion.cells for recipe in recipes])
        return [-np.inf] * (len(recipes) - 1) + [0.1 * len(judged)]

    found = search(arm.recipe, arm.task, judge, lambda steps: None)
    assert chosen_cells(found) == judged[-1][-1]
    assert all(cells[0] == judged[0][-1][0] for cells in judged[1])  # what the others began is left
    with pytest.raises(DivergenceError, match="cells"):
        search(arm.recipe, arm.task, lambda r, task: [-np.inf] * len(r), lambda steps: None)


@pytest.mark.slow
@pytest.mark.usefixtures("small_budget")
def test_a_proxy_that_diverges_does_not_end_the_search(arm, monkeypatch):
    calls = []

    def fit_all_but_the_first(recipe, task, **options):
        calls.append(recipe.model.fusion.cells)
        if len(calls) == 1:
            raise DivergenceError("step 0", expected="a finite loss", got="none")
        return fit(recipe, task, **options)

    monkeypatch.setattr("mmjax.comparison.loop.fit", fit_all_but_the_first)
    assert chosen_cells(settle(arm).recipe) in calls[1:]


@pytest.fixture
def small_budget(monkeypatch):
    """Two proxies a round, each of which is compiled."""
    monkeypatch.setattr("mmjax.comparison.cell_search.NUM_PROXIES", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("small_budget")
def test_inputs_that_are_scaled_and_stood_in_for_are_searched_too():
    rng = np.random.default_rng(0)
    inputs = {"a": rng.normal(size=(90, 6)), "b": rng.normal(size=(90, 5))}
    here = {"b": np.arange(90) % 4 > 0}
    task = Task.from_arrays(inputs, np.arange(90) % 2, present=here)
    found = settle(make_arm(task, "searched", absent="zero", steps=8, seeds=(0,))).recipe
    assert chosen_cells(found)
    assert set(found.model.scales) == {"a", "b"}


@pytest.mark.slow
@pytest.mark.usefixtures("small_budget")
def test_a_comparison_searches_first_and_shows_what_it_found(arm):
    taken = []
    (result,) = unfailing(compare_arms([arm], progress=taken.append))
    assert sum(taken) == arm.planned_steps
    cells = chosen_cells(settle(arm).recipe)
    assert cells
    assert all(f"cells={cells}" in row["recipe"] for row in result.rows)


@pytest.mark.slow
@pytest.mark.usefixtures("small_budget")
def test_a_trained_search_can_be_read_back(tmp_path):
    out = tmp_path / "run"
    main(["train", "searched", *TINY, "--out", str(out)])
    cells = json.loads((out / "run.json").read_text())["cells"]
    assert str(tuple(map(tuple, cells))) in read_rows(out / "rows.jsonl")[0]["recipe"]
    main(["predict", str(out), "--out", str(tmp_path / "p.csv")])
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 41
