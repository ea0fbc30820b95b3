"""Sizes of models without making them, and widths for a given number of parameters."""

import jax
import numpy as np
import pytest
from representatives import representatives
from small import make_task

from mmjax.fusion import FUSIONS
from mmjax.training.recipe import make_model
from mmjax.training.sizes import TOLERANCE, explain_mismatch, match_params, num_params, sizes
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.mark.parametrize("name", ["concat", "early", "transformer"])
def test_parameters_are_those_of_the_model(task, name):
    model = make_model(task, name)
    params = init_params(model, task.train.batch(), seed=0)
    assert sizes(model, task).params == sum(x.size for x in jax.tree.leaves(params))


def test_operations_are_those_of_the_matrix_products_and_a_little_more(task):
    alone = task.only("vector")
    model = make_model(alone, "concat")
    params = init_params(model, alone.train.batch(), seed=0)
    products = sum(2 * x.size for x in jax.tree.leaves(params) if x.ndim == 2)
    assert products < sizes(model, alone).flops < 1.2 * products


@pytest.mark.slow
@pytest.mark.parametrize("name", representatives(FUSIONS, ["concat"]))
def test_a_matched_model_is_within_the_tolerance_or_says_why_not(task, name):
    budget = 60_000
    model = match_params(make_model(task, name), task, budget)
    params = sizes(model, task).params
    near = abs(params - budget) <= TOLERANCE * budget
    assert near == (explain_mismatch(model, task, budget) == "")
    assert near or name in HARD


HARD = {}  # fusions whose sizes grow in steps too large for this budget


def test_a_budget_below_the_encoders_names_them(task):
    model = match_params(make_model(task, "concat"), task, 100)
    params = init_params(model, task.train.batch(), seed=0)
    encoders = num_params({k: v for k, v in params.items() if k != "fusion"})
    assert f"encoders alone have {encoders:,}" in explain_mismatch(model, task, 100)
    assert model.fusion.width == 1


@pytest.mark.slow
def test_a_matched_width_is_one_that_the_heads_divide(task):
    model = match_params(make_model(task, "transformer"), task, 60_000)
    assert model.fusion.width % model.fusion.num_heads == 0
    rows = task.valid.batch()
    params = init_params(model, rows, seed=0)
    outputs = model.apply({"params": params}, rows.inputs, rows.present, train=False)
    assert np.isfinite(outputs.prediction).all()
