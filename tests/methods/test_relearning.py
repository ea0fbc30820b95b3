"""Diagnosing and re-learning: what its preliminary runs hand over, against NumPy."""

from dataclasses import replace
from types import SimpleNamespace

import chex
import jax
import numpy as np
import pytest
from method_setup import NAMES, make_model
from small import NUM_CLASSES, make_task

from mmjax.methods import Joint
from mmjax.methods.relearning import Relearning, purity
from mmjax.training.fit import fit
from mmjax.training.recipe import Recipe
from mmjax.training.step import init_params

SEEDS = 2


@pytest.fixture(scope="module")
def task():
    return make_task().only(*NAMES)


def spread(rng, target, apart):
    """Embeddings of rows around the corners of their classes, which are as far apart as asked."""
    return apart * np.eye(NUM_CLASSES)[target] + 0.01 * rng.normal(size=(len(target), NUM_CLASSES))


def test_purity_is_the_share_of_rows_of_the_main_class_of_their_cluster():
    rng, target = np.random.default_rng(0), np.repeat(np.arange(3), 20)
    assert purity(spread(rng, target, 1.0), target, 3) == 1
    mixed = target.copy()
    mixed[[0, 1, 20]] = [1, 2, 0]  # three rows lie among others
    assert purity(spread(rng, target, 1.0), mixed, 3) == pytest.approx(57 / 60)
    assert purity(np.ones((60, 3)), target, 3) == pytest.approx(1 / 3)  # all in one cluster
    assert np.isnan(purity(np.ones((0, 3)), target[:0], 3))


def test_the_encoder_of_a_modality_that_is_not_validated_goes_on(task):
    absent = {**task.valid.present, NAMES[0]: np.zeros(task.valid.size, bool)}
    lacking = replace(task, valid=replace(task.valid, present=absent))
    embed = lambda rows: np.ones((SEEDS, len(rows.target), 2))  # all in one cluster
    view = lambda params, rows: SimpleNamespace(embeddings=dict.fromkeys(NAMES, embed(rows)))
    params = {f"encoders_{n}": {"kernel": np.ones((SEEDS, 4))} for n in NAMES}
    start = jax.tree.map(np.zeros_like, params)
    trained = SimpleNamespace(params=params, start=start, view=view)
    recipe = Recipe(make_model(), method=Relearning(), seeds=range(SEEDS))
    got = Relearning().prepare(lambda *_: trained, recipe, lacking).params
    chex.assert_trees_all_equal(got[f"encoders_{NAMES[0]}"], params[f"encoders_{NAMES[0]}"])


@pytest.mark.parametrize("rounds", [1, 2])
def test_encoders_go_back_by_how_much_purer_training_rows_are(task, rounds):
    rng, methods = np.random.default_rng(0), []
    draw = lambda: {
        **{f"encoders_{n}": {"kernel": rng.normal(size=(SEEDS, 4, 5))} for n in NAMES},
        "fusion": {"bias": rng.normal(size=(SEEDS, 3))},
    }
    params, start = draw(), draw()
    memorised, learned = NAMES  # one separates training rows only

    def view(given, rows):
        assert given is params
        train = len(rows.target) == task.train.size
        apart = {memorised: 1.0 if train else 0.0, learned: 1.0}
        embed = lambda n: np.stack([spread(rng, rows.target, apart[n])] * SEEDS)
        return SimpleNamespace(embeddings={n: embed(n) for n in NAMES})

    def fake_fit(recipe, part):
        methods.append(recipe.method)
        return SimpleNamespace(params=params, start=start, view=view)

    method = Relearning(strength=2.0, rounds=rounds)
    recipe = Recipe(make_model(), method=method, seeds=range(SEEDS))
    got = method.prepare(fake_fit, recipe, task).params
    assert methods == [Joint() if rounds == 1 else Relearning(strength=2.0, rounds=1)]

    chex.assert_trees_all_equal(got["fusion"], params["fusion"])
    chex.assert_trees_all_close(got[f"encoders_{learned}"], params[f"encoders_{learned}"])
    now, before, after = (tree[f"encoders_{memorised}"]["kernel"] for tree in (params, start, got))
    share = (after - now) / (before - now)
    np.testing.assert_allclose(share, share.mean(), rtol=1e-6)
    gap = np.arctanh(share.mean()) / 2
    assert 0.3 < gap < 0.7  # from all rows to about one in three


@pytest.mark.slow
def test_the_parameters_to_go_back_to_are_those_that_training_starts_from(task):
    recipe = Recipe(make_model(), steps=1, seeds=(3, 5))
    trained = fit(recipe, task)
    want = init_params(recipe.model, task.train.batch(), 5)
    second = jax.tree.map(lambda x: x[1], trained.start)
    chex.assert_trees_all_close(second, want, rtol=1e-6, atol=1e-7)
