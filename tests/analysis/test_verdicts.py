"""What a comparison says in words: the choice, the numbers, and when it must stay silent."""

import re

import numpy as np
import pytest
from folders import SKILLS, make_folder
from simulated import simulate

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.statistics import compare_pair, holm, needed
from mmjax.analysis.verdicts import UNTESTED, format_p, judge
from mmjax.report.drawings import forest
from mmjax.runs.studies import read_studies


def make(gap=0.0, seed=0, split="test", **simulation):
    """Two fusions and two baselines; the better of each is chosen on validation."""
    (fusion, alone), group = simulate(np.random.default_rng(seed), gap=gap, **simulation)
    right = {"b_only": alone, "a_only": 0 * alone, "gmu": fusion, "sum": 1 - fusion}
    valid = {"a_only": 0.1, "b_only": 0.2, "gmu": 0.9, "sum": 0.8}
    return Answers(right, group, valid, ["a_only", "b_only"], split)


def test_the_headline_has_the_numbers_of_the_pair():
    answers = make(gap=0.5, seeds=5)
    verdict = judge(answers)
    pair = compare_pair(answers.scores["gmu"], answers.scores["b_only"], answers.group)
    low, high = 100 * pair.difference.low, 100 * pair.difference.high
    assert verdict.headline == (
        "Fusion pays: gmu beats b_only, the best unimodal baseline, by "
        f"{100 * pair.difference.mean:.1f} points of test accuracy "
        f"(95 % interval {low:+.1f} to {high:+.1f}, {format_p(pair.p)})."
    )
    assert pair.difference.low > 0
    assert "5 seeds and 400 test rows in 200 groups" in verdict.sentences[0]


def test_a_fusion_can_be_worse():
    assert judge(make(gap=-0.6, seeds=5)).headline.startswith(
        "Fusion does not pay: gmu falls behind b_only, the best unimodal baseline, by"
    )


def test_the_best_are_chosen_on_validation_not_on_test():
    """The other fusion has more test rows right, and so has the other baseline."""
    answers = make(gap=0.5)
    right = answers.scores | {"sum": np.ones_like(answers.scores["sum"])}
    verdict = judge(answers._replace(scores=right))
    assert (verdict.fusion, verdict.baseline) == ("gmu", "b_only")
    chosen = judge(answers._replace(scores=right, valid_score=answers.valid_score | {"sum": 1}))
    assert chosen.fusion == "sum"


def test_a_difference_that_is_not_significant_comes_with_what_would_detect_it():
    answers = make(gap=0.05, seeds=4, seed=1)
    verdict = judge(answers)
    assert verdict.headline.startswith("No significant difference between gmu and b_only, the best")
    (line,) = (s for s in verdict.sentences if s.startswith("To detect a"))
    want = needed(verdict.pair)
    said = [int(word.replace(",", "")) for word in line.split() if word[0].isdigit()]
    said = [number for number in said if number != 80]
    for exact, rounded in zip(filter(None, want), said, strict=True):
        assert exact <= rounded <= 1.1 * exact + 1
    assert any(want)


def test_of_no_difference_at_all_no_number_is_promised():
    answers = make()
    verdict = judge(answers._replace(scores=answers.scores | {"gmu": answers.scores["b_only"]}))
    assert any(s.startswith("More seeds alone") for s in verdict.sentences)


def test_one_seed_holds_for_its_models_only():
    verdict = judge(make(gap=0.05, seeds=1))
    text = " ".join(verdict.sentences)
    assert "1 seed and" in text
    assert "these trained models only" in text
    assert "seeds on these rows" not in text  # one seed says nothing about others


def test_the_headline_is_tested_first_and_the_others_are_corrected():
    answers = make(gap=0.6, seeds=5)
    judged = {one.strategy: one for one in judge(answers).against_baseline}
    p = {
        name: compare_pair(answers.scores[name], answers.scores["b_only"], answers.group).p
        for name in judged
    }
    assert list(judged) == ["gmu", "a_only", "sum"]
    assert judged["gmu"].p == p["gmu"] < 0.05
    corrected = np.maximum(holm([p["a_only"], p["sum"]]), p["gmu"])
    np.testing.assert_allclose([judged["a_only"].p, judged["sum"].p], corrected)
    assert [one.strategy for one in judge(answers).against_fusion] == ["sum"]


def test_a_baseline_that_is_ahead_on_the_rows_that_judge_is_named():
    answers = make(gap=0.6, seeds=3)
    ahead = {"a_only": np.ones_like(answers.scores["a_only"])}
    told = judge(answers._replace(scores=answers.scores | ahead)).sentences
    assert any(s.startswith("a_only scores higher than b_only on these rows") for s in told)
    assert not any("scores higher" in s for s in judge(answers).sentences)


def test_a_baseline_without_predictions_is_left_out():
    answers = make(gap=0.6, seeds=3)
    lost = answers._replace(baselines=[*answers.baselines, "c_only"])
    assert judge(lost).sentences == judge(answers).sentences


def test_without_a_difference_in_the_headline_nothing_else_is_tested():
    verdict = judge(make(gap=0.0, seeds=3))
    assert verdict.headline.startswith("No significant difference")
    own, *others = (*verdict.against_baseline, *verdict.against_fusion)
    assert own.verdict == "not distinguishable"
    assert {one.verdict for one in others} == {UNTESTED}
    assert "As this difference is not significant, no other pair is tested." in verdict.sentences


def test_headline_list_table_and_figure_agree(tmp_path):
    """Ten fusions without any effect leave the one that has a small one as it is."""
    for seed in range(8):
        answers = make(gap=0.2, seeds=6, seed=seed)
        noise = {f"noise{i}": answers.scores["b_only"] for i in range(10)}
        valid = answers.valid_score | dict.fromkeys(noise, 0.0)
        answers = answers._replace(scores=answers.scores | noise, valid_score=valid)
        verdict = judge(answers)
        (own,) = (one for one in verdict.against_baseline if one.strategy == "gmu")
        assert own.told == verdict.headline.startswith("Fusion")
        assert format_p(own.p) in verdict.headline
        told = {one.strategy for one in verdict.against_baseline if one.told}
        assert full_dots(answers, verdict) == told


def full_dots(answers, verdict):
    axes = forest(answers, verdict, {}).figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return {
        name
        for name, dot in zip(labels, dots, strict=True)
        if dot.get_markerfacecolor() == dot.get_color()
    }


def test_few_rows_that_differ_are_no_verdict():
    """One row of eighty, the same for both seeds, was once a difference beyond doubt."""
    alone = np.ones((2, 80))
    fusion = alone.copy()
    alone[:, 0] = 0
    scores = {"b_only": alone, "gmu": fusion}
    verdict = judge(Answers(scores, np.arange(80), dict.fromkeys(scores, 0.5), ["b_only"], "test"))
    assert verdict.headline == (
        "Too few rows differ for a verdict: gmu and b_only, the best unimodal baseline, score "
        "differently on 1 of 80 test rows; at least 5 are required."
    )
    assert verdict.pair.difference.low < 0 < verdict.pair.difference.high


def test_long_lists_are_counted_and_ask_for_seeds():
    answers = make(gap=0.8, seeds=3)
    noise = {f"noise{i}": answers.scores["b_only"] for i in range(20)}
    valid = answers.valid_score | dict.fromkeys(noise, 0.0)
    verdict = judge(answers._replace(scores=answers.scores | noise, valid_score=valid))
    told = [one for one in verdict.against_baseline[1:] if one.told]
    assert f"Not distinguishable: the other {22 - len(told)}." in verdict.text
    small, large, larger = re.search(
        r"For a typical pair that is not distinguishable, 3 seeds on these rows can detect "
        r"differences above ([\d.]+) points; 5 seeds, above ([\d.]+); 10 seeds, above ([\d.]+)\.",
        verdict.text,
    ).groups()
    assert float(small) > float(large) > float(larger)


def test_every_verdict_is_in_words():
    verdict = judge(make(gap=0.8, seeds=5))
    assert any("Worse: a_only, sum." in s for s in verdict.sentences)
    own = "Other fusions against gmu, the best fusion. Worse: sum."
    assert any(s.startswith(own) for s in verdict.sentences)


def test_scores_on_validation_are_called_optimistic():
    verdict = judge(make(gap=0.5, split="valid"))
    assert "points of validation accuracy" in verdict.headline
    assert any("optimistic" in s for s in verdict.sentences)


def test_without_what_it_needs_there_is_no_verdict():
    assert judge(None).headline.startswith("No verdict: it requires the predictions")
    answers = make()
    alone = answers._replace(scores={"a_only": answers.scores["a_only"]})
    assert judge(alone).headline.startswith("Nothing to compare")
    assert judge(alone).pair is None


def test_p_is_not_zero():
    assert format_p(0.0004) == "p < 0.001"
    assert format_p(0.0311) == "p = 0.031"


def test_answers_follow_from_the_files(tmp_path):
    (study,) = read_studies([make_folder(tmp_path / "run")])
    answers = make_answers(study)
    assert list(answers.scores) == list(SKILLS)
    assert answers.baselines == ["a_only", "b_only"]
    for name, right in answers.scores.items():
        np.testing.assert_allclose(right.mean(axis=1), study.scores(name, "accuracy"))
        valid = study.scores(name, "accuracy", "valid").mean()
        assert answers.valid_score[name] == pytest.approx(valid)


def test_only_seeds_that_all_share_are_paired(tmp_path):
    (study,) = read_studies([make_folder(tmp_path / "run", seeds=3)])
    other = study.predictions["gmu"]
    study.predictions["gmu"] = other | {"seeds": np.array([2, 7, 1])}
    right = make_answers(study).scores
    assert {values.shape[0] for values in right.values()} == {2}
    want = other["test"][[2, 0]].argmax(axis=-1) == study.labels["test_target"]  # seeds 1 and 2
    np.testing.assert_array_equal(right["gmu"], want)
    study.predictions["gmu"] = other | {"seeds": np.array([7, 8, 9])}
    assert make_answers(study) is None


def test_one_group_cannot_be_judged(tmp_path):
    (study,) = read_studies([make_folder(tmp_path / "run")])
    study.labels["test_group"] = np.zeros_like(study.labels["test_group"])
    assert make_answers(study) is None


def test_a_metric_without_a_value_gives_no_verdict(tmp_path):
    (study,) = read_studies([make_folder(tmp_path / "run", SKILLS)])
    rows = [{**row, "metric": "own", "own": 0.5} for row in study.rows]
    contributions = np.ones(
        (len(next(iter(study.predictions.values()))["seeds"]), len(study.target))
    )
    known = {n: {**p, "contributions": contributions} for n, p in study.predictions.items()}
    assert make_answers(study._replace(rows=rows, predictions=known)) is not None
    contributions[0, 0] = np.nan  # without the only row of a class, say
    assert judge(make_answers(study._replace(rows=rows, predictions=known))).headline.startswith(
        "No verdict: it requires"
    )
