"""What a comparison says in words: the choice, the numbers, and when it must stay silent."""

import re

import numpy as np
import pytest
from folders import SKILLS, make_folder
from scipy import stats
from simulated import simulate

from mmjax.report.answers import Answers, make_answers
from mmjax.report.sections import forest
from mmjax.report.study import read_studies
from mmjax.report.verdicts import format_p, judge, judge_all
from mmjax.statistics import VERDICTS, compare_pair, needed


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
        "Fusion pays: gmu beats b_only, the best modality alone, by "
        f"{100 * pair.difference.mean:.1f} points of test accuracy "
        f"(95 % interval {low:+.1f} to {high:+.1f}, {format_p(pair.p)})."
    )
    assert pair.difference.low > 0
    assert "5 seeds and 400 test rows in 200 groups" in verdict.sentences[0]


def test_a_fusion_can_be_worse():
    assert judge(make(gap=-0.6, seeds=5)).headline.startswith(
        "Fusion does not pay: gmu falls behind b_only, the best modality alone, by"
    )


def test_the_best_are_chosen_on_validation_not_on_test():
    """The other fusion has more test rows right, and so has the other baseline."""
    answers = make(gap=0.5)
    right = answers.scores | {"sum": np.ones_like(answers.scores["sum"])}
    verdict = judge(answers._replace(scores=right))
    assert (verdict.fusion, verdict.baseline) == ("gmu", "b_only")
    chosen = judge(answers._replace(scores=right, valid_score=answers.valid_score | {"sum": 1}))
    assert chosen.fusion == "sum"


def test_a_difference_that_cannot_be_told_comes_with_what_would_tell_it():
    answers = make(gap=0.05, seeds=4, seed=1)
    verdict = judge(answers)
    assert verdict.headline.startswith("No difference can be told: gmu scores")
    (line,) = (s for s in verdict.sentences if s.startswith(("To tell", "Neither")))
    want = needed(verdict.pair)
    said = [int(word.replace(",", "")) for word in line.split() if word[0].isdigit()]
    said = [number for number in said if number != 80]
    for exact, rounded in zip(filter(None, want), said, strict=True):
        assert exact <= rounded <= 1.1 * exact + 1
    assert any(want)


def test_of_no_difference_at_all_no_number_is_promised():
    answers = make()
    verdict = judge(answers._replace(scores=answers.scores | {"gmu": answers.scores["b_only"]}))
    assert any(s.startswith("Neither more seeds") for s in verdict.sentences)


def test_one_seed_holds_for_its_models_only():
    verdict = judge(make(gap=0.05, seeds=1))
    text = " ".join(verdict.sentences)
    assert "1 seed and" in text
    assert "these trained models only" in text
    assert "seeds on these rows" not in text  # one seed says nothing about others


def test_the_lists_are_corrected_for_their_length():
    answers = make(gap=0.3)
    p = [
        compare_pair(answers.scores[name], answers.scores["b_only"], answers.group).p
        for name in ("gmu", "sum")
    ]
    small, large = np.argsort(p)
    want = np.empty(2)
    want[small] = min(1, 2 * p[small])
    want[large] = max(want[small], p[large])
    judged = judge_all(answers, ["gmu", "sum"], "b_only")
    np.testing.assert_allclose([one.p for one in judged], want)
    assert [one.strategy for one in judge(answers).against_fusion] == ["sum"]


def test_a_headline_that_a_list_does_not_repeat_is_explained():
    """Ten fusions without any effect raise the corrected p of the one that has a small one."""
    for seed in range(30):
        answers = make(gap=0.2, seeds=6, seed=seed)
        pair = compare_pair(answers.scores["gmu"], answers.scores["b_only"], answers.group)
        if 0.01 < pair.p < 0.04:
            break
    noise = {f"noise{i}": answers.scores["b_only"] for i in range(10)}
    valid = answers.valid_score | dict.fromkeys(noise, 0.0)
    verdict = judge(answers._replace(scores=answers.scores | noise, valid_score=valid))
    assert verdict.headline.startswith("Fusion")
    own = next(one for one in verdict.against_baseline if one.strategy == "gmu")
    assert own.verdict == "not distinguishable"
    assert any("As one of 12 fusions tested together, gmu" in s for s in verdict.sentences)


def test_long_lists_are_counted_and_ask_for_seeds():
    answers = make(gap=0.8, seeds=3)
    noise = {f"noise{i}": answers.scores["b_only"] for i in range(20)}
    valid = answers.valid_score | dict.fromkeys(noise, 0.0)
    verdict = judge(answers._replace(scores=answers.scores | noise, valid_score=valid))
    told = [one for one in verdict.against_baseline if one.verdict != "not distinguishable"]
    assert f"Not distinguishable: the other {22 - len(told)}." in verdict.text
    asked, seeds, eased, more = re.search(
        r"In a list of 22, .* (\d+) times its .* with (\d+) seeds, (\d+) times with (\d+):",
        verdict.text,
    ).groups()
    assert (int(seeds), int(asked)) == (3, round(stats.t.ppf(1 - 0.025 / 22, 2)))
    assert (int(more), int(eased)) == (5, round(stats.t.ppf(1 - 0.025 / 22, 4)))
    assert "In a list" not in judge(make(gap=0.3, seeds=10)).text
    one = make(gap=0.0, seeds=2)
    del one.scores["sum"]
    assert "In a list" not in judge(one).text


def test_every_verdict_is_in_words():
    verdict = judge(make(gap=0.8, seeds=5))
    assert any("Better: gmu. Worse: sum." in s for s in verdict.sentences)
    assert any(s.startswith("Against gmu, the best fusion. Worse: sum.") for s in verdict.sentences)


def test_scores_on_validation_are_called_flattering():
    verdict = judge(make(gap=0.5, split="valid"))
    assert "points of validation accuracy" in verdict.headline
    assert any("flatter" in s for s in verdict.sentences)


def test_without_what_it_needs_there_is_no_verdict():
    assert judge(None).headline.startswith("No verdict: it needs the predictions")
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


def test_dots_are_full_where_the_table_has_a_verdict():
    """The other modalities are drawn, too, and are none of the tests that fusions share."""
    for seed in range(100):
        answers = make(gap=0.2, seeds=6, seed=seed)
        answers.scores["a_only"] = answers.scores["b_only"]
        verdict = judge(answers)
        verdicts = {one.strategy: one.verdict for one in verdict.against_baseline}
        together = judge_all(answers, ["a_only", *verdicts], "b_only")
        if {one.strategy: one.verdict for one in together[1:]} != verdicts:
            break
    else:
        raise AssertionError("no seed makes a difference")
    axes = forest(answers, verdict).figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    full = {}
    for dot, label in zip(dots, axes.get_yticklabels(), strict=True):
        full[label.get_text()] = dot.get_markerfacecolor() == dot.get_color()
    told = {name: word != VERDICTS[-1] for name, word in verdicts.items()}
    assert full == told | {"a_only": False}
