"""Effects and verdicts of ablations, against marginal means and least squares in NumPy."""

from itertools import product

import numpy as np
import pytest

from mmjax.analysis.ablation_verdict import judge_ablation
from mmjax.analysis.answers import Answers
from mmjax.analysis.effects import interactions, main_effects
from mmjax.analysis.learning_rates import rate_warnings, relabel
from mmjax.analysis.statistics import Folds, compare_pair, holm
from mmjax.analysis.study import Study, merge_studies, rename
from mmjax.comparison.ablation import KEPT, REMOVED, Ablation, parse_ablation
from mmjax.comparison.designs import make_points

FACTORS = {"width": ("64", "32", "128"), "method": ("joint", "ogm_ge"), "gate": (KEPT, REMOVED)}


def make_answers(design="grid", factors=FACTORS, effect=lambda point: 0.0, seeds=3, rows=200):
    """Scores of the variants of a design, right with a probability of 0.6 plus an effect."""
    rng = np.random.default_rng(0)
    removes = [words == (KEPT, REMOVED) for words in factors.values()]
    points = make_points([len(words) for words in factors.values()], design, removes=removes)
    names = ["".join(map(str, point)) for point in points]
    ablation = Ablation(names[0], design, factors, dict(zip(names, points, strict=True)))
    hard = rng.random(rows)
    scores = {
        name: (hard + 0.3 * rng.normal(size=(seeds, rows)) < 0.6 + effect(point)).astype(float)
        for name, point in zip(names, points, strict=True)
    }
    valid = {name: values.mean() for name, values in scores.items()}
    return Answers(scores, np.arange(rows), valid, [], "test"), ablation


def test_effects_of_a_grid_are_differences_of_marginal_means():
    answers, ablation = make_answers()
    mean = np.zeros((3, 2, 2))
    for name, point in ablation.points.items():
        mean[point] = answers.scores[name].mean()
    found = {(e.factors, e.levels): e.pair.difference.mean for e in main_effects(answers, ablation)}
    want = {
        (("width",), (("64", "32"),)): mean[1].mean() - mean[0].mean(),
        (("width",), (("64", "128"),)): mean[2].mean() - mean[0].mean(),
        (("method",), (("joint", "ogm_ge"),)): mean[:, 1].mean() - mean[:, 0].mean(),
        (("gate",), ((KEPT, REMOVED),)): mean[..., 1].mean() - mean[..., 0].mean(),
    }
    assert found == pytest.approx(want)


def test_interactions_of_a_grid_are_differences_of_differences():
    answers, ablation = make_answers()
    mean = np.zeros((3, 2, 2))
    for name, point in ablation.points.items():
        mean[point] = answers.scores[name].mean()
    found = {e.levels: e.pair.difference.mean for e in interactions(answers, ablation)}
    of = mean.mean(axis=2)
    want = (of[2, 1] - of[2, 0]) - (of[0, 1] - of[0, 0])
    assert found[("64", "128"), ("joint", "ogm_ge")] == pytest.approx(want)
    assert len(found) == 2 + 2 + 1


@pytest.mark.parametrize("design", ["grid", "fractional"])
def test_effects_are_those_of_least_squares(design):
    answers, ablation = make_answers(design)
    points = np.array(list(ablation.points.values()))
    # Dummies of every level but the first: an additive model, in another coding.
    dummies = [points[:, i] == k for i, n in enumerate((3, 2, 2)) for k in range(1, n)]
    matrix = np.column_stack([np.ones(len(points)), *dummies]).astype(float)
    means = np.array([answers.scores[name].mean() for name in ablation.points])
    want, *_ = np.linalg.lstsq(matrix, means, rcond=None)
    found = [e.pair.difference.mean for e in main_effects(answers, ablation)]
    np.testing.assert_allclose(found, want[1:], atol=1e-9)


def test_an_effect_is_tested_like_a_difference_of_strategies():
    answers, ablation = make_answers(factors={"method": ("joint", "ogm_ge")})
    (effect,) = main_effects(answers, ablation)
    assert effect.pair == compare_pair(answers.scores["1"], answers.scores["0"], answers.group)


def test_p_values_are_corrected_in_each_family():
    answers, ablation = make_answers()
    for found in (main_effects(answers, ablation), interactions(answers, ablation)):
        want = holm([effect.pair.p for effect in found])
        np.testing.assert_allclose([effect.p for effect in found], want)


def test_the_headline_says_what_matters():
    costs = lambda point: 0.25 * (point[0] == 2) - 0.3 * point[2]
    verdict = judge_ablation(*make_answers(effect=costs, rows=600))
    head = verdict.headline
    assert head.startswith("Removing gate costs ")
    assert "width matters (+" in head
    assert "from 64 to 128" in head
    assert "no effect is seen of method (joint to ogm_ge: " in head
    assert verdict.baseline == "000"
    assert verdict.reference == "the base"
    assert {e.factors for e in verdict.effects if e.told} >= {("width",), ("gate",)}


def test_an_interaction_is_told():
    only_together = lambda point: 0.35 * (point[0] == 2 and point[1] == 1)
    verdict = judge_ablation(*make_answers(effect=only_together, rows=900))
    (told,) = [s for s in verdict.sentences if s.startswith("Interaction")]
    assert "the gain of width from 64 to 128 is " in told
    assert "points larger with method=ogm_ge" in told


@pytest.mark.parametrize("design", ["one-at-a-time", "leave-one-out"])
def test_other_designs_compare_variants_with_the_base(design):
    answers, ablation = make_answers(design, effect=lambda point: 0.3 * point[1], rows=600)
    verdict = judge_ablation(answers, ablation)
    assert not verdict.effects
    assert len(verdict.against_baseline) == len(ablation.points) - 1
    sign = "+" if design == "one-at-a-time" else "-"
    steps = "joint to ogm_ge" if design == "one-at-a-time" else "ogm_ge to joint"
    assert verdict.headline.startswith(f"Method matters ({sign}")
    assert f"from {steps}" in verdict.headline


def test_variants_that_failed_leave_what_the_others_determine():
    answers, ablation = make_answers()
    lost = [name for name in answers.scores if name[0] == "2" and name != "200"]
    fewer = answers._replace(scores={n: s for n, s in answers.scores.items() if n not in lost})
    found = {e.levels for e in main_effects(fewer, ablation)}
    assert len(found) == 4  # one variant of that width suffices without interactions
    none = answers._replace(scores={n: s for n, s in answers.scores.items() if n[0] != "2"})
    verdict = judge_ablation(none, ablation)
    assert (("64", "128"),) not in {e.levels for e in verdict.effects}
    without = answers._replace(scores={n: s for n, s in answers.scores.items() if n[1] == "0"})
    sentences = judge_ablation(without, ablation).sentences
    assert len([s for s in sentences if s.startswith("Without a result: method=ogm_ge; ")]) == 1
    assert "The others do not determine the effect of method from joint to ogm_ge." in sentences


def test_variants_without_a_result_are_named():
    answers, ablation = make_answers("one-at-a-time")
    scores = {name: values for name, values in answers.scores.items() if name != "100"}
    sentences = judge_ablation(answers._replace(scores=scores), ablation).sentences
    assert "Without a result: width=32." in sentences


def test_what_a_verdict_holds_for_is_said():
    answers, ablation = make_answers(seeds=1)
    sentences = judge_ablation(answers, ablation).sentences
    assert "With one seed, this holds for these trained models only." in sentences
    assert [s for s in sentences if s.startswith("A typical interaction below ")]
    fold = np.arange(200)[None] % 5
    folded = answers._replace(folds=Folds(fold, 0.25))
    assert "The test accounts for the training rows that folds share." in (
        judge_ablation(folded, ablation).sentences
    )


def test_what_could_not_be_seen_is_said_of_the_step_that_is_meant():
    verdict = judge_ablation(*make_answers(effect=lambda point: 0.3 * (point[0] == 2), rows=600))
    assert "width matters" in verdict.headline.lower()
    (of_effects,) = [s for s in verdict.sentences if s.startswith("For a typical effect")]
    assert "3 seeds on these rows can detect differences above " in of_effects
    assert [s for s in verdict.sentences if s.startswith("For a typical interaction")]
    assert not [s for s in verdict.sentences if "width from 64 to 128 is as large" in s]


def test_no_base_no_verdict():
    answers, ablation = make_answers()
    scores = {n: s for n, s in answers.scores.items() if n != ablation.base}
    assert judge_ablation(answers._replace(scores=scores), ablation).headline.startswith(
        "No verdict"
    )


def test_folds_widen_the_intervals_of_effects():
    answers, ablation = make_answers(rows=200, effect=lambda point: 0.1 * point[1])
    fold = np.tile(np.arange(200) % 5, (3, 1))
    folded = answers._replace(folds=Folds(fold, 0.25))
    plain, wide = main_effects(answers, ablation), main_effects(folded, ablation)
    for one, other in zip(plain, wide, strict=True):
        assert other.pair.difference.error > one.pair.difference.error
        assert other.pair.difference.mean == pytest.approx(one.pair.difference.mean)


def make_rate_study(best, base):
    """A study of two variants at two learning rates: {name: skill}, on validation and on test.

    A skill that is not a number is that of a training that has diverged.
    """
    rng = np.random.default_rng(0)
    names = {"gmu": base[0], "gmu@slow": best[0], "wide": base[1], "wide@slow": best[1]}
    target = rng.integers(0, 2, 400)
    rows, predictions = [], {}
    for name, skill in names.items():
        right = rng.random((3, 400)) < skill
        said = np.where(right, target, 1 - target)
        logits = np.eye(2)[said] + 0 * skill
        predictions[name] = {"seeds": np.arange(3), "valid": logits, "test": logits}
        about = {"strategy": name, "modalities": "a+b", "hidden": "", "accuracy": skill}
        rows += [
            {**about, "seed": seed, "split": split}
            for seed in range(3)
            for split in ("valid", "test")
        ]
    labels = {f"{s}_{n}": target if n == "target" else np.arange(400)
              for s in ("valid", "test") for n in ("target", "group")}  # fmt: skip
    rates = {"gmu": ("gmu", "gmu@slow"), "wide": ("wide", "wide@slow")}
    points = {"gmu": (0,), "wide": (1,)}
    ablation = Ablation("gmu", "one-at-a-time", {"width": ("64", "128")}, points, rates)
    empty = ([], {}, predictions, labels, (), {}, {})
    return Study("toy", (), rows, *empty, ablation)


def test_each_variant_has_its_best_learning_rate_and_a_label():
    shown = relabel(make_rate_study(best=(0.5, 0.9), base=(0.8, 0.5)))
    assert list(shown.strategies) == ["gmu", "width=128"]
    assert shown.scores("gmu").mean() == pytest.approx(0.8)
    assert shown.scores("width=128").mean() == pytest.approx(0.9)
    assert shown.ablation.points == {"gmu": (0,), "width=128": (1,)}
    assert not shown.ablation.rates


def test_a_verdict_that_depends_on_the_learning_rate_is_said_to():
    (told,) = rate_warnings(make_rate_study(best=(0.5, 0.9), base=(0.8, 0.5)))
    assert told.startswith("The learning rate decides about width=128: better at the best rate")
    assert not rate_warnings(make_rate_study(best=(0.5, 0.9), base=(0.7, 0.9)))


def test_a_learning_rate_at_which_a_variant_diverges_is_not_its_best():
    study = make_rate_study(best=(0.5, 0.9), base=(0.8, np.nan))
    assert relabel(study).scores("width=128").mean() == pytest.approx(0.9)
    (told,) = rate_warnings(study)
    assert "worse at that of the base" in told


def test_a_variant_that_failed_at_the_rate_of_the_base_has_its_others():
    study = make_rate_study(best=(0.5, 0.9), base=(0.8, 0.5))
    left = {name: name for name in study.strategies if name != "wide"}
    shown = relabel(rename(study, left)._replace(failed={"wide": "out of memory"}))
    assert shown.scores("width=128").mean() == pytest.approx(0.9)
    assert shown.failed == {"wide": "out of memory"}
    none = rename(study, {name: name for name in ("gmu", "gmu@slow")})
    assert relabel(none._replace(failed={"wide": "too slow"})).failed == {"width=128": "too slow"}


def test_an_ablation_comes_back_from_json():
    _, ablation = make_answers()
    as_lists = {
        **ablation._asdict(),
        "factors": {name: list(words) for name, words in ablation.factors.items()},
        "points": {name: list(point) for name, point in ablation.points.items()},
    }
    assert parse_ablation(as_lists) == ablation
    for wrong in (
        {"design": "all"},
        {"base": "nothing"},
        {"points": {ablation.base: [0, 0, 7]}},
        {"points": {ablation.base: [0]}},
        {"factors": {"width": [1, 2]}},
        {"rates": {"nothing": ["x"]}},
    ):
        with pytest.raises((ValueError, TypeError)):
            parse_ablation({**as_lists, **wrong})


def test_labels_of_variants():
    points = dict(zip(map(str, product(range(3), range(2), range(2))),
                      product(range(3), range(2), range(2)), strict=True))  # fmt: skip
    ablation = Ablation("(0, 0, 0)", "grid", FACTORS, points)
    assert ablation.label("(2, 0, 1)") == "width=128, without gate"
    whole = ablation._replace(base="(2, 1, 0)", design="leave-one-out")  # the full configuration
    labels = [whole.label(name) for name in ("(2, 1, 0)", "(0, 1, 0)", "(2, 1, 1)")]
    assert labels == ["(2, 1, 0)", "width=64", "without gate"]


def test_an_ablation_without_its_base_says_so():
    answers, ablation = make_answers()
    del answers.scores[ablation.base]
    verdict = judge_ablation(answers, ablation)
    assert verdict.headline == "No verdict: 000, the base of all comparisons, has no result."
    assert verdict.reference == "the base"


def test_ablations_of_the_same_data_are_not_merged():
    row = {"strategy": "gmu", "modalities": "a+b", "split": "test", "data": "digest"}
    ablation = Ablation("gmu", "grid", {"width": ("64", "32")}, {"gmu": (0,)})
    plain = Study("toy", (), [row], [], {}, {}, {}, (), {}, {})
    varied = plain._replace(ablation=ablation)
    found = merge_studies([varied, plain, varied, plain])
    assert [study.ablation for study in found] == [ablation, None, ablation]
