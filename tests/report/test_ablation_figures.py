"""Figures of ablations: which there are, and the values that they show."""

import numpy as np
import pytest
from simulated_ablations import GRID, make_ablation

from mmjax.comparison.ablation import KEPT, REMOVED
from mmjax.report.ablation_drawings import ablation_drawings
from mmjax.report.drawings import make_drawings
from mmjax.report.figures.ablation_figures import place_levels
from mmjax.report.figures.style import FUSED, QUIET, Figure
from mmjax.report.venues import VENUES, fit_figure

EXCHANGE = "Rows that each variant gains and loses"


def ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def dots(axes):
    """{x: (y, whether it is filled)} of the dots with an interval."""
    found = [line for line in axes.lines if line.get_marker() == "o"]
    shown = lambda line: (line.get_ydata()[0], line.get_markerfacecolor() == FUSED)
    return {line.get_xdata()[0]: shown(line) for line in found}


def test_effects_are_marginal_and_the_reference_is_at_zero():
    assessment = make_ablation()
    first = next(iter(ablation_drawings(assessment)))
    assert first.title == "What each factor does"
    assert "averaged over" in first.caption
    panels = first.figure.axes
    assert [axes.get_title() for axes in panels] == list(GRID)
    assert panels[0].get_xscale() == "linear"  # three levels, two of which are close on a log axis
    effects = [e for e in assessment.verdict.effects if e.factors == ("width",)]
    assert len(effects) == 2
    for effect in effects:
        y, filled = dots(panels[0])[float(effect.levels[0][1])]
        assert y == pytest.approx(100 * effect.pair.difference.mean)
        assert filled == effect.told
    for axes in panels:
        (diamond,) = [line for line in axes.lines if line.get_marker() == "D"]
        assert diamond.get_ydata()[0] == 0
        assert diamond.get_color() == QUIET
        assert axes.get_ylim() == panels[0].get_ylim()
    assert ticks(panels[1]) == ["joint", "ogm_ge"]


@pytest.mark.parametrize("design", ["one-at-a-time", "leave-one-out"])
def test_designs_without_effects_show_variants_against_the_base(design):
    assessment = make_ablation(design=design)
    first = next(iter(ablation_drawings(assessment)))
    assert "one at a time" in first.caption
    found = [y for axes in first.figure.axes for y, _ in dots(axes).values()]
    judged = assessment.verdict.against_baseline
    assert sorted(found) == pytest.approx(sorted(100 * o.pair.difference.mean for o in judged))


def test_interactions_are_drawn_where_they_are_told():
    assessment = make_ablation()
    told = {e.factors for e in assessment.verdict.effects if len(e.factors) == 2 and e.told}
    assert told == {("width", "gate")}
    drawings = list(ablation_drawings(assessment))
    assert [d.title for d in drawings[1:]] == ["Interaction of width and gate", EXCHANGE]
    (axes,) = drawings[1].figure.axes
    assert axes.get_xlabel() == "width"
    kept = next(c for c in axes.containers if c.get_label() == "gate kept")
    study = assessment.study
    points = study.ablation.points
    mean = lambda width: np.mean(
        [study.scores(name).mean() for name, p in points.items() if (p[0], p[2]) == (width, 0)]
    )
    want = {64.0: 100 * mean(0), 16.0: 100 * mean(1), 128.0: 100 * mean(2)}
    assert dict(zip(*kept[0].get_data(), strict=True)) == pytest.approx(want)
    quiet = make_ablation(effect=lambda point: 0.0)
    assert [d.title for d in ablation_drawings(quiet)] == ["What each factor does", EXCHANGE]


@pytest.mark.parametrize("order", [1, -1])
def test_shares_of_training_rows_are_always_drawn(order):
    factors = {"train": ("1", "0.1", "0.5"), "modalities": ("a+b", "a", "b")}
    factors = dict(list(factors.items())[::order])
    titles = [d.title for d in ablation_drawings(make_ablation(factors, effect=lambda _: 0.0))]
    learning = "Score by share of training rows and modalities"
    assert titles == ["What each factor does", learning, EXCHANGE]
    alone = make_ablation({"train": ("1", "0.5")}, "one-at-a-time", lambda point: 0.0)
    assert [d.title for d in ablation_drawings(alone)] == ["What each factor does", EXCHANGE]
    scores_alone = make_ablation(factors, effect=lambda _: 0.0, without=("predictions",))
    (drawing,) = ablation_drawings(scores_alone)
    assert drawing.figure.axes[0].get_xlabel() == "train"


@pytest.mark.parametrize(
    ("words", "scale", "places"),
    [
        (("64", "16", "32"), "log", [64, 16, 32]),
        (("0.003", "0.0001", "0.001"), "log", [0.003, 0.0001, 0.001]),
        (("0.1", "0", "0.3"), "linear", [0.1, 0, 0.3]),
        (("1", "2", "3"), "linear", [1, 2, 3]),
        (("0", "0.001", "0.5"), "linear", [0, 1, 2]),  # two would overlap
        (("0.5", "none", "1"), "linear", [0, 1, 2]),
        (("8x16", "16x32"), "linear", [0, 1]),
        (("inf", "1"), "linear", [0, 1]),
        (("1", "1.0"), "linear", [0, 1]),
    ],
)
def test_numbers_are_in_order_and_words_in_theirs(words, scale, places):
    axes = Figure().subplots()
    assert list(place_levels(axes, words).values()) == places
    assert axes.get_xscale() == scale


@pytest.mark.parametrize("count", [1, 8])
def test_any_number_of_factors_and_long_words_fit(count):
    long = {f"encoders.audio.a_long_name_{i}": (KEPT, REMOVED) for i in range(count - 1)}
    words = tuple(f"a_rather_long_name_of_a_level_{i}" for i in range(12))
    assessment = make_ablation({"fusion": words, **long}, "one-at-a-time", lambda _: 0.0, rows=60)
    first = next(iter(ablation_drawings(assessment)))
    first.figure.draw_without_rendering()  # would warn if there were no room for the axes
    assert len(first.figure.axes) == count
    assert all(axes.get_position().height > 0.05 for axes in first.figure.axes)
    labels = ticks(first.figure.axes[0])
    assert len(set(labels)) == 12
    assert max(map(len, labels)) <= 20


def test_they_follow_the_main_figure():
    titles = [drawing.title for drawing in make_drawings(make_ablation())]
    assert titles[1:3] == ["What each factor does", "Interaction of width and gate"]


@pytest.mark.parametrize("name", ["acl", "neurips"])
@pytest.mark.slow
def test_variants_with_many_changes_have_room_in_a_paper(name):
    factors = {f"component_of_a_kind_{i}": (KEPT, REMOVED) for i in range(7)}
    assessment = make_ablation(factors, "fractional", lambda point: 0.0, rows=60)
    assert max(map(len, assessment.study.strategies)) > 100
    for drawing in make_drawings(assessment):
        fit_figure(drawing.figure, VENUES[name])
        drawing.figure.draw_without_rendering()  # would warn if there were no room for the axes
