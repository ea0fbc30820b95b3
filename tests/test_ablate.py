"""Ablations from Python and from the command line."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import optax
import pytest
from commands import run, scores
from rich.console import Console

import mmjax
from mmjax.cli import main
from mmjax.comparison.arm import make_arm
from mmjax.comparison.levels import make_ablation
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.runs.plan import Asked, measure, parse_seconds, plan_ablation
from mmjax.storage.jsonl import read_rows
from mmjax.tasks.synthetic import synthetic
from mmjax.training.recipe import Recipe, make_model

TASK = synthetic(size=120)
QUICK = {"seeds": 2, "steps": 4, "quiet": True}
COMMAND = "ablate gmu --task synthetic --options size=120 --seeds 2 --steps 4"


GRID = f"{COMMAND} --vary learning_rate=1e-3,3e-3 --drop dropout --design grid"


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    out = tmp_path_factory.mktemp("ablation")
    with redirect_stdout(io.StringIO()) as printed:
        assert run(*GRID.split(), "--out", out) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def result(ablated):
    return mmjax.load_result(ablated[0])


def test_rows_say_what_was_varied(result):
    assert len(result.study.strategies) == 4
    assert result.study.ablation.base == "gmu"
    for row in result.rows:
        assert row["fusion"] == "gmu"
        assert row["encoders"] == "a=mlp+b=mlp"
        assert row["width"] == 64
        named = row["strategy"].partition(":")[2].split("+")
        assert row["learning_rate"] == (1e-3 if "learning_rate=0.001" in named else 3e-3)
        assert row["dropout"] == (0.0 if "-dropout" in named else 0.1)
        varied = [column for column in row if column.startswith("varied.")]
        assert len(varied) == len(list(filter(None, named)))


def test_the_verdict_is_about_the_base_and_the_factors(result):
    verdict = result.verdict
    assert verdict.baseline == "gmu"
    assert len(verdict.against_baseline) == 3
    factors = [("learning_rate",), ("dropout",), ("learning_rate", "dropout")]
    assert [effect.factors for effect in verdict.effects] == factors
    assert str(verdict) in str(result)
    assert "learning_rate=0.001, without dropout" in str(result)


@pytest.mark.slow
def test_a_grid_of_three_factors():
    vary = {"learning_rate": [1e-3, 3e-3], "method": ["joint", "ogm_ge"]}
    result = mmjax.ablate(TASK, "gmu", vary, ["dropout"], design="grid", **QUICK)
    assert len(result.study.strategies) == 8
    for row in result.rows:
        named = row["strategy"].partition(":")[2].split("+")
        assert row["method"] == ("ogm_ge" if "ogm_ge" in named else "joint")
        varied = [column for column in row if column.startswith("varied.")]
        assert len(varied) == len(list(filter(None, named)))
    verdict = result.verdict
    assert len(verdict.against_baseline) == 7
    assert [e.factors for e in verdict.effects[:3]] == [
        ("learning_rate",),
        ("method",),
        ("dropout",),
    ]
    assert len(verdict.effects) == 6
    assert "method=ogm_ge, without dropout" in str(result)
    name = "gmu:learning_rate=0.001+ogm_ge"
    alone = mmjax.compare(TASK, [name], examine="scores", **QUICK)
    pick = lambda rows: [r["nll"] for r in rows if r["strategy"] == name]
    assert pick(result.rows) == pytest.approx(pick(alone.rows), rel=1e-5)


@pytest.mark.slow
def test_python_gives_what_the_command_gives(result):
    vary = {"learning_rate": [1e-3, 3e-3]}
    python = mmjax.ablate(TASK, "gmu", vary, ["dropout"], design="grid", **QUICK)
    assert python.study.ablation == result.study.ablation
    pick = lambda rows: [(r["strategy"], r["seed"], r["split"], r["nll"]) for r in rows]
    assert pick(python.rows) == pick(result.rows)


@pytest.mark.slow
def test_a_variant_trains_as_if_it_were_alone(result):
    name = "gmu:learning_rate=0.001+-dropout"
    alone = mmjax.compare(TASK, [name], examine="scores", **QUICK)
    pick = lambda rows: [r["nll"] for r in rows if r["strategy"] == name]
    assert pick(result.rows) == pytest.approx(pick(alone.rows), rel=1e-5)


@pytest.mark.slow
def test_it_is_saved_and_comes_back(result, tmp_path):
    result.save(tmp_path / "run")
    again = mmjax.load_result(tmp_path / "run")
    assert str(again.verdict) == str(result.verdict)
    assert again.study.ablation == result.study.ablation
    page = (tmp_path / "run" / "report.html").read_text()
    assert "learning_rate=0.001, without dropout" in page


@pytest.mark.slow
def test_objects_have_names_of_their_own():
    vary = {"optimizer": {"sgd": optax.sgd(0.1), "momentum": optax.sgd(0.1, momentum=0.9)}}
    result = mmjax.ablate(TASK, FUSIONS["gmu"], vary, **QUICK)
    assert [*result.trained] == ["gmu", "gmu:optimizer=sgd", "gmu:optimizer=momentum"]
    methods = {"method": ["ogm_ge", METHODS["ogm_ge"](alpha=0.9)]}
    result = mmjax.ablate(TASK, "gmu", methods, **QUICK)
    assert [*result.trained] == ["gmu", "gmu:ogm_ge", "gmu:ogm_ge(alpha=0.9)"]
    assert {row["method"] for row in result.rows if row["strategy"] == "gmu:ogm_ge"} == {"ogm_ge"}


@pytest.mark.slow
def test_sizes_train_at_three_learning_rates_unless_others_are_named():
    result = mmjax.ablate(TASK, "gmu", {"width": [16]}, **QUICK)
    assert [*result.trained] == [
        *("gmu", "gmu:learning_rate=0.001", "gmu:learning_rate=0.009"),
        "gmu:width=16",
        "gmu:width=16+learning_rate=0.001",
        "gmu:width=16+learning_rate=0.009",
    ]
    assert {summary.strategy for summary in result.summaries} == {"gmu", "width=16"}
    told = "Each variant was trained at 3 learning rates, and the best on validation kept."
    assert told in result.verdict.sentences
    result = mmjax.ablate(TASK, "gmu", {"width": [16]}, learning_rates=[3e-3], **QUICK)
    assert [*result.trained] == ["gmu", "gmu:width=16"]
    result = mmjax.ablate(TASK, "gmu", {"width": [16]}, optimizer=optax.sgd(0.1), **QUICK)
    assert [*result.trained] == ["gmu", "gmu:width=16"]


@pytest.mark.slow
def test_a_recipe_is_a_base():
    model = make_model(TASK, "gmu", encoders={"a": "raw"})
    recipe = Recipe(model, method=METHODS["ogm_ge"](), steps=4, seeds=(0, 1), patience=3)
    result = mmjax.ablate(TASK, recipe, {"method": ["joint"]}, quiet=True)
    base, joint = result.trained.values()
    assert base.arm.recipe == recipe
    assert type(joint.arm.recipe.method) is METHODS["joint"]
    with pytest.raises(UsageError, match="the base has method of its own"):
        mmjax.ablate(TASK, recipe, {"width": [16]}, method="pmr")
    with pytest.raises(UsageError, match="seeds counted from 0"):
        mmjax.ablate(TASK, Recipe(model, seeds=(3,)), {"width": [16]})


@pytest.mark.slow
def test_learning_curves_of_all_subsets():
    vary = {"train": [0.5, 1], "modalities": "subsets"}
    result = mmjax.ablate(TASK, "concat", vary, design="grid", **QUICK)
    assert result.study.ablation.factors["modalities"] == ("a+b", "a", "b")
    assert result.study.ablation.factors["train"] == ("1", "0.5")
    sizes = {name: one.arm.task.train.size for name, one in result.trained.items()}
    assert sizes["concat:train=0.5+modalities=a"] == sizes["concat"] // 2


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"vary": {}}, UsageError, "nothing is varied"),
        ({"vary": {"widht": [3]}}, UnknownNameError, "Did you mean 'width'"),
        ({"vary": {"width": [64]}}, UsageError, "a value other than that of the base, 64"),
        ({"vary": {"width": [32, 32]}}, UsageError, "each value once"),
        ({"vary": {"width": {16, 32}}}, UsageError, "a list of values, got a set"),
        ({"vary": {"width": [16.5]}}, UsageError, "a whole number such as 64, got 16.5"),
        ({"vary": "width"}, UsageError, "{factor: its values}, got 'width'"),
        ({"vary": {"method.alpha": [0.1]}}, UsageError, "alpha: Joint has no fields"),
        ({"vary": {"fusion.widht": [3]}}, UnknownNameError, "field of GMUFusion: .*'width'"),
        ({"drop": "gates"}, UnknownNameError, "component"),
        ({"vary": {"width": [32]}, "design": "gird"}, UnknownNameError, "Did you mean 'grid'"),
        ({"vary": {"width": [32]}, "tune": 2}, UsageError, "tune would change"),
        ({"vary": {"learning_rate": [1]}, "learning_rates": [2]}, UsageError, "varied already"),
        ({"vary": {"width": [32]}, "budget": "soon"}, UsageError, "a duration such as 90s"),
        ({"vary": {"width": [32]}, "budget": "0.001s"}, UsageError, "the smallest design"),
        ({"vary": {"train": [0.5]}, "folds": 3}, UsageError, "Leave out folds"),
        ({"vary": {"optimizer": {"a/b": optax.sgd(1)}}}, UsageError, "cannot name a file"),
        ({"vary": {"width": [32]}, "design": "fractional"}, UsageError, "at least two factors"),
    ],
)
def test_what_cannot_be_ablated_is_refused_before_training(arguments, error, match):
    with pytest.raises(error, match=match):
        mmjax.ablate(TASK, "gmu", **{**QUICK, **arguments})


def test_each_factor_is_suggested_once():
    with pytest.raises(UnknownNameError) as caught:
        mmjax.ablate(TASK, "gmu", {"widht": [3]}, **QUICK)
    names = str(caught.value).partition("one of ")[2].partition(", got")[0].split(", ")
    assert len(set(names)) == len(names)


def test_levels_may_be_a_range_or_an_array():
    arm = make_arm(TASK, "gmu")
    for levels in (range(16, 49, 16), np.array([16, 32, 48])):
        ablation, _ = make_ablation(TASK, "gmu", arm, {"width": levels})
        assert ablation.factors["width"] == ("64", "16", "32", "48")


def test_a_folder_that_is_no_run_is_no_base(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SystemExit):
            main(["ablate", str(folder), "--vary", "width=32"])
        assert "run.json: expected the settings of a run" in capsys.readouterr().err
        with pytest.raises(DataError, match=r"expected the settings of a run"):
            mmjax.ablate(TASK, folder, {"width": [32]}, **QUICK)


def test_durations():
    assert parse_seconds(" 2min ") == 120
    for wrong in ("", "10", "-3s", "0h", "2 days"):
        with pytest.raises(UsageError):
            parse_seconds(wrong)


@pytest.mark.slow
def test_a_budget_takes_the_most_informative_design_that_fits(monkeypatch):
    monkeypatch.setattr("mmjax.runs.plan.measure", lambda arm: (0.0, 1.0))
    make = lambda strategies: [make_arm(TASK, one, steps=4, seeds=(0,)) for one in strategies]
    vary = {"method": ["joint", "ogm_ge", "pmr"], "batch_size": [16, 64], "steps": [2, 4]}

    def plan(budget, **asked):
        console = Console(quiet=True)
        wanted = Asked(vary, ["dropout"], budget=budget, **asked)
        ablation, arms = plan_ablation(TASK, "gmu", wanted, make, console)
        assert len(arms) == len(ablation.points)
        return ablation.design, len(arms)

    assert plan("24s") == ("grid", 24)
    assert plan("23s")[0] == "fractional"
    assert 6 <= plan("23s")[1] <= 23
    assert plan("7s") == ("one-at-a-time", 6)
    assert plan("30s", design="one-at-a-time") == ("one-at-a-time", 6)
    with pytest.raises(UsageError, match="about 6 s"):
        plan("3s")


def test_seconds_are_measured_on_a_few_steps():
    compiling, training = measure(make_arm(TASK, "gmu", steps=400, seeds=(0, 1)))
    assert compiling > 0
    assert 0 < training < 100


def test_the_command_writes_a_folder_that_goes_on_where_it_was(ablated, capsys):
    folder, printed = ablated
    assert "grid: 4 variants of gmu, 2 seeds" in printed
    assert "Report, rows and figures" in printed
    content = json.loads((folder / "run.json").read_text())
    assert content["command"] == (
        "mmjax ablate gmu --vary learning_rate=1e-3,3e-3 --drop dropout "
        "--design grid --task synthetic --options size=120 --seeds 2 --steps 4"
    )
    assert content["ablation"]["factors"]["dropout"] == ["kept", "removed"]
    shown = "![What each factor does](what-each-factor-does.png)"
    assert shown in (folder / "summary.md").read_text(encoding="utf-8")
    assert (folder / "what-each-factor-does.png").exists()
    before = scores(folder)
    run(*GRID.split(), "--out", folder, "--resume")
    assert "Already complete" in capsys.readouterr().out
    assert scores(folder) == before


@pytest.mark.slow
def test_a_comparison_of_alternatives_is_a_base(tmp_path):
    mmjax.compare(
        TASK, ["gmu"], method=["joint", "ogm_ge"], examine="scores", out=tmp_path, **QUICK
    )
    result = mmjax.ablate(TASK, tmp_path, {"batch_size": [16]}, examine="scores", **QUICK)
    (method,) = {row["method"] for row in result.rows}
    base = result.study.ablation.base
    assert (base, method) in [("gmu", "joint"), ("gmu:ogm_ge", "ogm_ge")]


@pytest.mark.slow
def test_a_run_is_a_base(tmp_path):
    base, out = tmp_path / "run", tmp_path / "out"
    settings = ("--task", "synthetic", "--options", "size=120", "--seeds", "2", "--steps", "4")
    run("train", "gmu", *settings, "--method", "ogm_ge", "--out", base)
    run("ablate", base, "--vary", "method=joint", "--seeds", "1", "--out", out)
    rows = read_rows(tmp_path / "out" / "rows.jsonl")
    assert {(row["strategy"], row["method"]) for row in rows} == {
        ("gmu", "ogm_ge"),
        ("gmu:joint", "joint"),
    }
    assert {row["seed"] for row in rows} == {0}
    assert {row["steps"] for row in rows} == {4}


@pytest.mark.slow
def test_processes_of_their_own_train_the_same_variants(tmp_path):
    line = f"{COMMAND} --vary learning_rate=1e-3 --drop dropout --out"
    run(*line.split(), str(tmp_path / "one"))
    run(*line.split(), str(tmp_path / "other"), "--launcher", "local", "--workers", "2")
    pick = lambda out: {
        (r["strategy"], r["seed"], r["split"]): r["nll"] for r in read_rows(out / "rows.jsonl")
    }
    one, other = pick(tmp_path / "one"), pick(tmp_path / "other")
    assert one.keys() == other.keys()
    np.testing.assert_allclose([one[k] for k in one], [other[k] for k in one], rtol=1e-4)


@pytest.mark.slow
def test_a_run_of_some_modalities_and_rows_is_a_base():
    runs = mmjax.ablate(TASK, "gmu@a+b", {"train": [0.5], "modalities": ["a"]}, **QUICK)
    base = runs.trained["gmu@a+b:modalities=a"]
    result = mmjax.ablate(TASK, base, {"dropout": [0.3]}, **QUICK)
    for own in result.trained.values():
        assert own.arm.task.modalities == ("a",)
    name = next(n for n in runs.trained if n.endswith("train=0.5"))
    result = mmjax.ablate(TASK, runs.trained[name], {"dropout": [0.3]}, **QUICK)
    assert {run.arm.task.train.size for run in result.trained.values()} == {
        runs.trained[name].arm.task.train.size
    }


def test_variants_with_optimisers_of_their_own_have_no_learning_rates():
    make = lambda names: [make_arm(TASK, name) for name in names]
    vary = {"optimizer": {"sgd": optax.sgd(0.1)}, "width": [32]}
    ablation, arms = plan_ablation(TASK, "gmu", Asked(vary), make, Console(quiet=True))
    assert len(arms) == len(ablation.points) == 3
    asked = Asked(vary, learning_rates=[0.01])
    with pytest.raises(UsageError, match="optimiser of its own"):
        plan_ablation(TASK, "gmu", asked, make, Console(quiet=True))
