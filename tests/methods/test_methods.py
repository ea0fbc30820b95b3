"""All training methods: the contract, whole runs, and what is trained beforehand."""

from dataclasses import replace
from functools import cache, reduce
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_setup import (
    KEY,
    NAMES,
    Setup,
    first_rows,
    gradient_of_branch,
    gradient_of_objective,
    make_model,
    nll,
    scaled,
)
from representatives import METHODS as CHOSEN
from representatives import representatives
from small import NUM_CLASSES, make_task

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.layers import removable, remove
from mmjax.methods import METHODS, Joint, TwoStage
from mmjax.methods.gradient_blending import GradientBlending, blend
from mmjax.methods.mechanics import modality_logits
from mmjax.methods.stacking import Stacking, deal_groups
from mmjax.objectives import cross_entropy
from mmjax.testing import check_method
from mmjax.testing.common import first_row
from mmjax.training.fit import fit
from mmjax.training.optimiser import Adam
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe
from mmjax.training.step import init_params, init_state, make_forward, make_step


@pytest.fixture(scope="module", autouse=True)
def compile_once():
    """Runs that differ by their seeds, or belong to two methods, share a program."""
    programs, size = {}, lambda task: (task.train.size, task.modalities)

    def compile_new(recipe, task):
        key = (repr(replace(recipe, seeds=range(len(recipe.seeds)))), size(task))
        if key not in programs:
            programs[key] = compile_recipe(recipe, task)
        return programs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmjax.training.fit.compile_recipe", compile_new)
        yield


@pytest.fixture(scope="module")
def task():
    return make_task().only(*NAMES)


@pytest.fixture(scope="module")
def batch():
    return first_rows()


NEEDED = {"comm": "concat", "mla": "mean", "stacking": "stacking"}  # the others take any fusion


@pytest.mark.parametrize("name", representatives(METHODS, CHOSEN))
def test_method_keeps_the_contract(name):
    own = make_model("stacking", ("amber", "blue"), width=4) if name == "stacking" else None
    check_method(METHODS[name](), own)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if removable(METHODS[name]())])
def test_method_keeps_the_contract_without_components(name):
    method = METHODS[name]()
    check_method(reduce(remove, removable(method), method))


def test_pmr_without_components_is_joint_training():
    method, batch = METHODS["pmr"](), first_rows()
    setup = Setup(reduce(remove, removable(method), method), batch)
    grads, *_ = setup.gradient(setup.params, setup.memory, batch, KEY)
    chex.assert_trees_all_close(grads, gradient_of_objective(setup, batch), rtol=1e-5)


def test_mla_without_projection_leaves_every_direction_as_it_is():
    batch = first_rows()
    setup = Setup(remove(METHODS["mla"](), "projection"), batch, "mean")
    _, memory, _ = setup.gradient(setup.params, setup.memory, batch, KEY)
    identity = setup.memory["projection"]
    np.testing.assert_allclose(memory["projection"], identity / np.linalg.norm(identity), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("gradient_blending", "least_gap", 0.0),
        ("lfm", "start", 0.0),
        ("mla", "alpha", 0.0),
        ("recon_boost", "stage", 0),
        ("recon_boost", "rectify", -1),
        ("relearning", "rounds", 0),
    ],
)
def test_method_refuses_what_it_cannot_train_with(name, field, value):
    with pytest.raises(UsageError, match=f"{field}: expected"):
        METHODS[name](**{field: value})


ABOUT_CLASSES = {"arl", "cml", "ogm_ge", "opm", "pmr", "recon_boost", "sample_valuation"}


@pytest.mark.parametrize("kind", ["labels", "numbers"])
@pytest.mark.parametrize("name", METHODS)
def test_method_takes_a_kind_of_target_or_refuses_it(name, kind, batch):
    method, model = METHODS[name](), make_model(NEEDED.get(name, "late_mean"))
    params, forward = init_params(model, batch, 0), make_forward(model)
    target = np.zeros((len(batch.target), NUM_CLASSES), bool if kind == "labels" else np.float32)
    rows = batch._replace(target=target)
    step = lambda: method.gradient(forward, cross_entropy)(
        params, method.init(forward, params, rows), rows, jax.random.key(0)
    )
    if name in ABOUT_CLASSES:
        with pytest.raises(UsageError, match=f"expected classes.*got {kind}"):
            jax.eval_shape(step)
    else:
        grads, *_ = jax.eval_shape(step)
        chex.assert_trees_all_equal_shapes(grads, params)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_keeps_the_structure_of_the_state(name, batch):
    method, model = METHODS[name](), make_model(NEEDED.get(name, "late_mean"))
    params = init_params(model, batch, 0)
    memory = method.init(make_forward(model), params, batch)
    tx = method.transform(Adam().build(10))
    state = init_state(params, tx, 0, memory)
    after, _ = jax.eval_shape(make_step(model, cross_entropy, tx, method), state, batch)
    chex.assert_trees_all_equal_structs(after, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, jax.eval_shape(lambda: state))


FEW_FOLDS = {"stacking": Stacking(folds=2)}


@cache
def train(name, seeds):
    task, taken = make_task().only(*NAMES), []
    method = FEW_FOLDS.get(name) or METHODS[name]()
    model = make_model(NEEDED.get(name, "concat"), widths=(64, 32), width=32)
    shared = {"tx": Adam(0.01), "steps": 24, "batch_size": 32, "patience": 24}
    recipe = Recipe(model, method=method, seeds=seeds, **shared)
    return fit(recipe, task, progress=taken.append), sum(taken)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_method_learns_in_the_steps_that_it_plans(name):
    trained, taken = train(name, (0, 1))
    assert taken == trained.recipe.planned_steps
    assert (np.max([epoch["valid_accuracy"] for epoch in trained.history], axis=0) > 0.7).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_seed_does_not_depend_on_the_seeds_beside_it(name):
    (left, _), (right, _) = train(name, (0, 1)), train(name, (1, 2))
    second, first = jax.tree.map(lambda x: x[1], left.params), first_row(right.params)
    chex.assert_trees_all_close(second, first, rtol=1e-5, atol=1e-6)


# Preliminary runs


def test_two_stage_refuses_a_second_method_whose_runs_it_would_not_make():
    with pytest.raises(UsageError, match=r"second: expected a method without.*GradientBlending"):
        TwoStage(second=GradientBlending())


def test_blend_is_generalisation_by_overfitting_squared_and_sums_to_one():
    # By hand, from log 3 = 1.1: gained 0.6 and 0.9, gaps 0.3 and 0.1.
    train, valid = np.array([[0.2], [0.1]]), np.array([[0.5], [0.2]])
    want = np.array([0.6 / 0.09, 0.9 / 0.01])
    np.testing.assert_allclose(blend(1.1, train, valid, 0.01)[:, 0], want / want.sum())


def test_blend_without_a_gap_or_a_gain():
    train, valid = np.array([[0.5, 1], [0.1, 1]]), np.array([[0.4, 2], [2.0, 3]])
    got = blend(1.1, train, valid, 0.05)
    np.testing.assert_allclose(got, [[1, 0.5], [0, 0.5]])  # one gained nothing, then neither


def test_gradient_blending_weighs_by_the_losses_of_its_preliminary_runs(task):
    rng, taken = np.random.default_rng(0), []

    def fake_fit(recipe, part):
        taken.append((tuple(part.modalities), tuple(recipe.model.encoders), recipe.method))
        logits = {size: rng.normal(size=(2, size, NUM_CLASSES)) for size in (96, 30)}
        predict = lambda params, rows: logits[len(rows.target)]
        runs.append((part, logits))
        return SimpleNamespace(params={}, predict=predict)

    runs = []
    recipe = Recipe(make_model(), method=GradientBlending(), seeds=(0, 1))
    memory = recipe.method.prepare(fake_fit, recipe, task).memory
    losses = np.zeros((3, 2, 2))  # [model, seed, split]
    for i, (part, logits) in enumerate(runs):
        for j, split in enumerate((part.train, part.valid)):
            rows = np.any(list(split.present.values()), axis=0)
            for seed in range(2):
                each = nll(logits[split.size][seed], split.target)
                losses[i, seed, j] = each[rows].mean()
    want = blend(np.log(3), losses[..., 0], losses[..., 1], 0.05)
    got = np.stack([memory["alone"]["sequence"], memory["alone"]["vector"], memory["whole"]])
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=1e-6)
    assert taken == [((n,), (n,), Joint()) for n in NAMES] + [(NAMES, NAMES, Joint())]


def test_gradient_blending_follows_the_weighted_sum_of_losses(batch):
    setup = Setup(GradientBlending(), batch)
    assert float(setup.memory["whole"]) == pytest.approx(1 / 3)
    weights = {"sequence": 0.5, "vector": 0.3}
    memory = {"whole": jnp.float32(0.2), "alone": {n: jnp.float32(w) for n, w in weights.items()}}
    grads, _, metrics = setup.gradient(setup.params, memory, batch, KEY)
    parts = [scaled(gradient_of_objective(setup, batch), 0.2)]
    parts += [scaled(gradient_of_branch(setup, batch, n), w) for n, w in weights.items()]
    chex.assert_trees_all_close(grads, jax.tree.map(lambda *g: sum(g), *parts), atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], cross_entropy(setup.outputs, batch)[0], rtol=1e-5)


@pytest.mark.slow
def test_distillation_has_unimodal_models_as_teachers(task):
    trained, _ = train("distillation", (0, 1))
    recipe = replace(trained.recipe, method=Joint())
    for n, encoder in trained.recipe.model.encoders.items():
        head = FUSIONS["concat"](NUM_CLASSES)
        alone = replace(recipe, model=recipe.model.clone(encoders={n: encoder}, fusion=head))
        want = fit(alone, task.only(n)).params[f"encoders_{n}"]
        chex.assert_trees_all_equal(trained.state.memory[f"encoders_{n}"], want)


def test_folds_keep_groups_together_and_are_even():
    group = np.random.default_rng(0).integers(0, 20, 300)
    folds = deal_groups(group, 3)
    assert all(len(set(folds[group == g])) == 1 for g in range(20))
    sizes = [len(set(group[folds == fold])) for fold in range(3)]
    assert max(sizes) - min(sizes) <= 1
    with pytest.raises(UsageError, match="folds"):
        deal_groups(np.zeros(9, int), 2)


@pytest.mark.parametrize("groups", [[77], [70, 71]])
def test_stacking_names_the_groups_of_a_class_that_one_fold_has_alone(task, groups, monkeypatch):
    group = np.arange(96)
    of_class = task.train.target == 2
    group[of_class] = np.resize(groups, of_class.sum())
    grouped = replace(task, train=replace(task.train, group=group))
    monkeypatch.setattr(
        "mmjax.methods.stacking.deal_groups",
        lambda group, folds: np.where(np.isin(group, groups), 0, group % 2),
    )
    recipe = Recipe(make_model("stacking"), method=Stacking(), seeds=(0,))
    named = ", ".join(map(str, groups))
    with pytest.raises(UsageError, match=f"folds: .* class 2 only in groups? {named}"):
        Stacking().prepare(fit, recipe, grouped)


def fit_by_heart(recipe, task):
    """One modality is sure of the rows it has seen, and wrong elsewhere; the other the reverse."""
    (name,) = task.modalities
    known = task.train.inputs[name][:, 0]

    def predict(params, rows):
        right = np.isin(rows.inputs[name][:, 0], known) == (name == "crammer")
        one_hot = np.eye(NUM_CLASSES, dtype=np.float32)[rows.target]
        return np.stack([np.where(right[:, None], 1, -1) * one_hot] * 2)

    params = {f"encoders_{name}": {}, "fusion": {f"readout_{name}": {}}}
    return SimpleNamespace(params=params, predict=predict)


def test_stacking_fits_the_meta_classifier_to_rows_unseen_by_its_inputs(task):
    names = ("crammer", "thinker")
    number = lambda s: np.arange(s.size, dtype=np.float32)[:, None]
    splits = {
        name: Split(dict.fromkeys(names, number(split)), split.target, split.group)
        for name, split in task.splits.items()
    }
    recipe = Recipe(make_model("stacking", names), steps=100, seeds=(0, 1), tx=Adam(0.1))
    prepared = Stacking().prepare(fit_by_heart, recipe, Task("rows", out_dim=NUM_CLASSES, **splits))
    meta = prepared.params["fusion"]["meta"]
    for seed in range(2):
        own = {n: np.diag(meta[n]["kernel"][seed]) for n in names}
        assert (own["thinker"] > 1).all()
        assert (own["crammer"] < 0).all()


def test_stacking_needs_its_fusion(batch):
    with pytest.raises(UsageError, match="requires the fusion stacking"):
        Setup(Stacking(), batch, "late_mean")


@pytest.mark.slow
def test_stacking_takes_readouts_trained_on_all_rows_and_the_run_leaves_them(task):
    trained, _ = train("stacking", (0, 1))
    recipe = replace(trained.recipe, method=Joint())
    head = FUSIONS["late_mean"](NUM_CLASSES, recipe.model.fusion.width, dropout=0.0)
    for n, encoder in recipe.model.encoders.items():
        alone = replace(recipe, model=recipe.model.clone(encoders={n: encoder}, fusion=head))
        want, got = fit(alone, task.only(n)).params, trained.state.params
        chex.assert_trees_all_equal(got[f"encoders_{n}"], want[f"encoders_{n}"])
        readout = f"readout_{n}"
        chex.assert_trees_all_equal(got["fusion"][readout], want["fusion"][readout])


def test_logits_without_branches_are_predictions_with_the_others_absent(batch):
    setup = Setup(Joint(), batch, "concat")
    got = modality_logits(setup.forward, setup.params, batch, KEY, setup.outputs)
    for n in NAMES:
        present = {m: p & (m == n) for m, p in batch.present.items()}
        want = setup.forward(setup.params, batch._replace(present=present), KEY).prediction
        np.testing.assert_allclose(got[n], want, atol=1e-6)
