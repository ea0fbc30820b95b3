"""What a strategy's name or a variant changes."""

from functools import partial

import optax
import pytest

from mmjax.comparison.arm import as_variant, make_arm
from mmjax.comparison.factors import Named, Variant, current, word
from mmjax.comparison.levels import make_ablation
from mmjax.comparison.variants import Choices, variants
from mmjax.encoders import ENCODERS
from mmjax.errors import UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES
from mmjax.tasks.synthetic import synthetic
from mmjax.training.recipe import make_model

TASK = synthetic(size=200)


def recipe_of(name, **given):
    return make_arm(TASK, name, **given).recipe


@pytest.mark.parametrize(
    ("strategy", "asked", "want"),
    [
        ("gmu", None, "cross_entropy"),
        ("bottleneck@a+b", None, "branch_mean"),
        (FUSIONS["centralnet"], None, "branches"),
        (partial(FUSIONS["evidential"], width=8), None, "evidential"),
        (FUSIONS["energy_weighted"](out_dim=2), None, "confidence_ranking"),
        ("bottleneck", "focal", "focal"),
        ("a_only", None, "cross_entropy"),
    ],
)
def test_a_fusion_has_the_objective_of_its_paper_unless_another_is_asked_for(strategy, asked, want):
    (_, given), *_ = variants(Choices(objective=asked), TASK, strategy)
    assert make_arm(TASK, strategy, **given).recipe.objective is OBJECTIVES[want]
    assert asked or make_arm(TASK, strategy).recipe.objective is OBJECTIVES[want]


@pytest.mark.parametrize(
    ("name", "read", "value"),
    [
        ("gmu:width=32", lambda r: r.model.fusion.width, 32),
        ("gmu:fusion.dropout=0.4", lambda r: r.model.fusion.dropout, 0.4),
        ("gmu:dropout=0", lambda r: r.dropout, 0.0),
        ("gmu:-dropout", lambda r: r.dropout, 0.0),
        ("gmu:encoders.a.widths=8x16", lambda r: r.model.encoders["a"].widths, (8, 16)),
        ("gmu:a=raw", lambda r: type(r.model.encoders["a"]), ENCODERS["raw"]),
        ("gmu:fusion=concat", lambda r: type(r.model.fusion), FUSIONS["concat"]),
        ("gmu:ogm_ge+method.alpha=0.5", lambda r: r.method, METHODS["ogm_ge"](alpha=0.5)),
        ("gmu:focal", lambda r: r.objective, OBJECTIVES["focal"]),
        ("bottleneck:ogm_ge", lambda r: r.objective, OBJECTIVES["branch_mean"]),
        ("bottleneck:cross_entropy", lambda r: r.objective, OBJECTIVES["cross_entropy"]),
        ("gmu:fusion=evidential", lambda r: r.objective, OBJECTIVES["evidential"]),
        ("gmu:learning_rate=1e-3", lambda r: r.tx.learning_rate, 1e-3),
        ("gmu:warmup=0.2", lambda r: r.tx.warmup, 0.2),
        ("gmu:batch_size=16", lambda r: r.batch_size, 16),
        ("gmu:absent=learned", lambda r: r.model.absent, "learned"),
        ("gmu:remat=true", lambda r: r.remat, True),
        ("gmu:mixup=0.2", lambda r: r.mixup, 0.2),
        ("gmu:class_weights=balanced", lambda r: len(r.class_weights), 2),
        ("gmu:-b", lambda r: [*r.model.encoders], ["a"]),
        ("gmu:modalities=b", lambda r: [*r.model.encoders], ["b"]),
        ("gmu:augment.a=noise+feature_dropout", lambda r: len(r.augment["a"]), 2),
        ("transformer:num_layers=3", lambda r: r.model.fusion.num_layers, 3),
    ],
)
def test_a_name_states_what_differs(name, read, value):
    arm = make_arm(TASK, name)
    assert arm.strategy == name
    assert read(arm.recipe) == value
    assert arm.changes
    # And a variant that is made of the same changes has the same name and the same recipe.
    plain, *_ = name.partition(":")
    again = make_arm(TASK, Variant(plain, arm.changes))
    assert (again.strategy, again.recipe) == (name, arm.recipe)


def test_data_can_be_changed():
    whole, part = make_arm(TASK, "gmu"), make_arm(TASK, "gmu:train=0.5+missing.a=0.3")
    assert part.task.train.size == whole.task.train.size // 2
    assert 0.5 < part.task.train.present["a"].mean() < 0.9
    assert part.task.test.size == whole.task.test.size


def test_later_changes_win_and_objects_serve_as_values():
    made = make_arm(TASK, Variant("gmu:ogm_ge", {"method": "joint", "width": 16}))
    assert made.strategy == "gmu:joint+width=16"
    fusion = FUSIONS["gmu"](out_dim=2, width=24)
    named = Variant(fusion, {"optimizer": Named("sgd", optax.sgd(0.1))})
    made = make_arm(TASK, named)
    assert made.strategy == "gmu(width=24):optimizer=sgd"
    assert made.recipe.tx.tx is named.changes["optimizer"].value
    method = METHODS["ogm_ge"](alpha=0.9)
    made = make_arm(TASK, Variant("gmu", {"method": method}))
    assert (made.strategy, made.recipe.method) == ("gmu:ogm_ge(alpha=0.9)", method)


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("gmu:widht=3", UnknownNameError, "Did you mean 'width'"),
        ("transformer:width=30", UsageError, "a multiple of its 4 heads"),
        ("gmu:-gates", UnknownNameError, "component"),
        ("gmu:width=x", UsageError, "a value such as 64"),
        ("gmu:batch_size=1.5", UsageError, "batch_size: expected a value such as 64"),
        ("gmu:learning_rate=-1", UsageError, "a positive float32"),
        ("gmu:width=0", UsageError, "width: expected at least 1, got 0"),
        ("gmu:encoders.a.widths=0", UsageError, "widths: expected at least 1"),
        ("gmu:clip=-1", UsageError, "clip: expected a positive number"),
        ("gmu:warmup=2", UsageError, "warmup: expected a fraction of the steps"),
        ("gmu:train=2", UsageError, "a share above 0"),
        ("gmu:missing.c=0.5", UnknownNameError, "missing"),
        ("gmu:modalities=a+a", UsageError, "each once"),
        ("gmu:-a+-b", UsageError, "one or more"),
        ("stacking:ogm_ge", UsageError, "prescribes the method stacking"),
        ("gmu:ogm_g", UnknownNameError, "Did you mean 'ogm_ge'"),
        ("gmu:method.beta=3", UsageError, "field beta: Joint has no fields"),
        ("gmu:encoders.c.width=3", UnknownNameError, "modality of an encoder"),
    ],
)
def test_what_cannot_be_changed_is_refused(name, error, match):
    with pytest.raises(error, match=match):
        make_arm(TASK, name)


@pytest.mark.parametrize(
    ("factor", "value"),
    [
        ("width", "64"),
        ("learning_rate", "0.003"),
        ("method", "joint"),
        ("objective", "cross_entropy"),
        ("fusion", "gmu"),
        ("encoders.a", "mlp"),
        ("encoders.a.widths", "128x64"),
        ("augment.a", "none"),
        ("train", "1"),
        ("missing.a", "0"),
        ("modalities", "a+b"),
        ("dropout", "none"),
        ("class_weights", "none"),
        ("absent", "mask"),
    ],
)
def test_the_current_value_of_a_factor(factor, value):
    arm = make_arm(TASK, "gmu")
    assert word(factor, current(arm.recipe, arm.task, arm.changes, factor)) == value


def test_names_of_variants_are_those_of_files():
    name = as_variant(TASK, "gmu@a+b:encoders.a.widths=8x16+augment.a=noise+-dropout").name
    assert name == "gmu@a+b:encoders.a.widths=8x16+augment.a=noise+-dropout"
    assert "/" not in name


def test_a_change_that_changes_nothing_leaves_the_model():
    assert recipe_of("gmu:width=64").model == make_model(TASK, "gmu")


@pytest.mark.parametrize(
    "strategy",
    [
        "gmu:fusion=bottleneck",
        Variant("gmu", {"fusion": "bottleneck"}),
        Variant("gmu:fusion=sum", {"fusion": Named("mine", FUSIONS["bottleneck"])}),
    ],
)
def test_a_fusion_that_is_varied_brings_the_objective_of_its_paper(strategy):
    ((_, given),) = variants(Choices(), TASK, strategy)
    assert make_arm(TASK, strategy, **given).recipe.objective is OBJECTIVES["branch_mean"]


def test_a_modality_is_removed_from_those_that_are_named():
    assert make_arm(TASK, "gmu:modalities=a+b+-a").task.modalities == ("b",)


def test_a_level_is_what_it_says_for_every_fusion_method_and_encoder():
    vary = {
        "fusion": ["gmu", "bottleneck"],
        "width": [64, 32],
        "objective": ["cross_entropy", "focal"],
        "method": ["ogm_ge", "agm"],
        "method.alpha": [0.3, 0.1],
    }
    base = make_arm(TASK, "gmu:ogm_ge")
    ablation, variants = make_ablation(TASK, "gmu:ogm_ge", base, vary, design="grid")
    for name, variant in variants.items():
        arm = make_arm(TASK, variant)
        levels = dict(zip(ablation.factors, ablation.points[name], strict=True))
        for factor in ("width", "objective", "method.alpha"):
            told = ablation.factors[factor][levels[factor]]
            assert word(factor, current(arm.recipe, TASK, arm.changes, factor)) == told
