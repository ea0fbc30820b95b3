"""Shapley values: Shapley's axioms, all orders of joining, closed forms, and rows of a run."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.analysis.attribution import shapley_rows
from mmjax.data.coalitions import shapley, subsets
from mmjax.errors import UsageError
from mmjax.report.figures.attribution_figures import shapley_figure

PLAYERS = "abc"


def sets(players):
    return list(map(frozenset, subsets(players)))


def random_game(players, seed=0, shape=()):
    rng = np.random.default_rng(seed)
    return {s: rng.normal(size=shape) for s in sets(players)}


numbers = st.floats(-100, 100)
games = st.lists(numbers, min_size=8, max_size=8).map(
    lambda values: dict(zip(sets(PLAYERS), values, strict=True))
)
quick = settings(max_examples=30, deadline=None)


def test_subsets_are_all_of_them():
    assert subsets("ba") == [(), ("a",), ("b",), ("a", "b")]
    assert len(set(subsets("abcd"))) == 16


@pytest.mark.parametrize("players", ["ab", "abc", "abcd"])
def test_it_is_the_mean_over_all_orders_of_joining(players):
    game = random_game(players, shape=(5,))
    orders = list(permutations(players))
    for player, gain in shapley(game).items():
        before = [frozenset(order[: order.index(player)]) for order in orders]
        want = np.mean([game[s | {player}] - game[s] for s in before], axis=0)
        np.testing.assert_allclose(gain, want)


def test_two_players_have_a_closed_form():
    none, a, b, both = 0.1, 0.6, 0.3, 0.9
    values = dict(zip(sets("ab"), (none, a, b, both), strict=True))
    assert shapley(values)["a"] == pytest.approx(((a - none) + (both - b)) / 2)
    assert shapley(values)["b"] == pytest.approx(((b - none) + (both - a)) / 2)


def test_one_player_gets_everything_and_no_player_nothing():
    assert shapley({frozenset(): 0.25, frozenset("a"): 1.0}) == {"a": 0.75}
    assert shapley({frozenset(): 0.25}) == {}


@quick
@given(games)
def test_gains_add_up_to_what_all_add(game):
    total = game[frozenset(PLAYERS)] - game[frozenset()]
    assert sum(shapley(game).values()) == pytest.approx(total, abs=1e-9)


@quick
@given(games)
def test_players_that_add_the_same_get_the_same(game):
    swap = {"a": "b", "b": "a", "c": "c"}
    other = lambda subset: frozenset(swap[player] for player in subset)
    gains = shapley({s: game[s] + game[other(s)] for s in game})
    assert gains["a"] == pytest.approx(gains["b"], abs=1e-9)


@quick
@given(games)
def test_a_player_that_adds_nothing_gets_nothing(game):
    gains = shapley({s: game[s - {"b"}] for s in game})
    assert gains["b"] == 0
    without = shapley({s: v for s, v in game.items() if "b" not in s})
    assert gains["a"] == pytest.approx(without["a"], abs=1e-9)


@quick
@given(games, games)
def test_gains_of_a_sum_are_the_sums_of_gains(first, second):
    both = shapley({s: first[s] + 2 * second[s] for s in first})
    alone, other = shapley(first), shapley(second)
    for player in PLAYERS:
        assert both[player] == pytest.approx(alone[player] + 2 * other[player], abs=1e-9)


@pytest.mark.parametrize(
    ("missing", "named"), [("", "the empty subset"), ("ac", r"a\+c"), ("abc", r"a\+b\+c")]
)
def test_a_missing_subset_is_named(missing, named):
    game = random_game("abc")
    del game[frozenset(missing)]
    with pytest.raises(UsageError, match=f"values: expected .* of a, b, c, got none for {named}"):
        shapley(game)


def make_rows(strategy, values, seed=0, split="test", modalities="a+b"):
    """One row per hidden subset from {hidden: accuracy}; nll is twice the error."""
    return [
        {
            "task": "t",
            "strategy": strategy,
            "modalities": modalities,
            "seed": seed,
            "split": split,
            "hidden": hidden,
            "accuracy": accuracy,
            "nll": 2 * (1 - accuracy),
        }
        for hidden, accuracy in values.items()
    ]


VALUES = {"": 0.9, "a": 0.3, "b": 0.6, "a+b": 0.1}  # by what is hidden
ALONE = make_rows("a_only", {"": 0.7}, modalities="a")


def test_rows_give_every_modality_its_share_of_accuracy_and_log_likelihood():
    rows = make_rows("sum", VALUES) + make_rows("sum", dict.fromkeys(VALUES, 0.5), seed=1) + ALONE
    shares = shapley_rows(rows)
    of = {(r["metric"], r["modality"], r["seed"]): r["shapley"] for r in shares}
    assert of["accuracy", "a", 0] == pytest.approx(0.55)
    assert of["accuracy", "b", 0] == pytest.approx(0.25)
    assert of["log_likelihood", "a", 0] == pytest.approx(1.1)
    assert of["log_likelihood", "b", 1] == 0
    assert len(shares) == 2 * 2 * 2
    assert shares[0].keys() == {
        "task", "strategy", "seed", "split", "metric", "modality", "shapley"
    }  # fmt: skip


def test_splits_and_strategies_do_not_mix():
    rows = make_rows("sum", VALUES) + make_rows("sum", dict.fromkeys(VALUES, 0.2), split="valid")
    rows += make_rows("max", {"": 1.0, "a": 0.0, "b": 1.0, "a+b": 0.0})
    of = {
        (r["strategy"], r["split"], r["modality"]): r["shapley"]
        for r in shapley_rows(rows)
        if r["metric"] == "accuracy"
    }
    assert of["sum", "valid", "a"] == 0
    assert of["max", "test", "a"] == 1
    assert of["max", "test", "b"] == 0


@pytest.mark.parametrize(("missing", "named"), [("", r"a\+b"), ("a+b", "the empty subset")])
def test_a_row_that_is_missing_is_named(missing, named):
    values = {hidden: value for hidden, value in VALUES.items() if hidden != missing}
    with pytest.raises(UsageError, match=f"rows of sum, seed 0, test: .* got none for {named}"):
        shapley_rows(make_rows("sum", values))


def test_a_likelihood_that_json_could_not_hold_is_not_a_number():
    rows = make_rows("sum", VALUES)
    rows[0]["nll"] = None
    of = {(r["metric"], r["modality"]): r["shapley"] for r in shapley_rows(rows)}
    assert np.isnan(of["log_likelihood", "a"])
    assert of["accuracy", "a"] == pytest.approx(0.55)


def test_the_figure_has_a_bar_for_every_modality_and_strategy():
    rows = make_rows("sum", VALUES) + make_rows("sum", {**VALUES, "": 1.0}, seed=1)
    rows += make_rows("max", dict.fromkeys(VALUES, 0.5))
    rows += make_rows("sum", dict.fromkeys(VALUES, 0.0), split="valid")
    (axes,) = shapley_figure(shapley_rows(rows)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sum", "max"]
    a, b = [[bar.get_width() for bar in bars.patches] for bars in axes.containers[1::2]]
    assert a == pytest.approx([57.5, 0])  # the mean of 55 and 60 points
    assert b == pytest.approx([27.5, 0])


@pytest.mark.parametrize(("score", "called"), [("accuracy", "test accuracy"), ("r2", "test R2")])
def test_the_figure_calls_the_score_by_its_name(score, called):
    rows = [
        {score if k == "accuracy" else k: v for k, v in r.items()} for r in make_rows("sum", VALUES)
    ]
    (axes,) = shapley_figure(shapley_rows(rows)).axes
    assert axes.get_xlabel() == f"points of {called}"


def test_a_strategy_without_a_modality_has_no_bar_for_it():
    rows = make_rows(
        "all",
        dict.fromkeys(["", "a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"], 0.5),
        modalities="a+b+c",
    )
    rows += make_rows("two", VALUES)
    (axes,) = shapley_figure(shapley_rows(rows)).axes
    assert [len(bars.patches) for bars in axes.containers[1::2]] == [2, 2, 1]
