"""The Python API: compare, and what its result can do."""

import pickle
import re
from dataclasses import replace
from functools import partial
from html import escape

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import run, scores
from representatives import slow

import mmjax
from mmjax.analysis.summary import scored_split
from mmjax.comparison.arm import make_arm
from mmjax.errors import DataError, FailedArmsError, UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.layers import masked_mean
from mmjax.methods import METHODS
from mmjax.runs.settings import parse_examine
from mmjax.runs.trained import TrainedRun
from mmjax.tasks.arrays import save
from mmjax.training.step import init_params

compare = partial(mmjax.compare, examine="scores", quiet=True)


class Halves(nn.Module):
    """A fusion of one's own: half of each modality's mean."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        means = [nn.Dense(8, name=f"project_{n}")(masked_mean(tokens[n])) for n in sorted(tokens)]
        return nn.Dense(self.out_dim)(sum(means) / len(means))


def make_task(kind, rows=300, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows, 5))
    match kind:
        case "classes":
            target = np.where(a[:, 0] + b[:, 0] > 0, "up", "down")
        case "labels":
            target = np.stack([a[:, 0] > 0, b[:, 0] > 0, a[:, 1] + b[:, 1] > 0], axis=1)
        case "numbers":
            target = 100 + 30 * np.stack([a[:, 0] + b[:, 0], a[:, 1] - b[:, 1]], axis=1)
    return mmjax.Task.from_arrays({"a": a, "b": b}, target, name=kind)


@pytest.fixture(
    scope="module",
    params=["classes", slow("labels"), slow("numbers")],
)
def result(request):
    task = make_task(request.param)
    return compare(task, ["concat", Halves], seeds=3, steps=60)


def test_a_result_has_every_arm(result):
    names = {"a_only", "b_only", "concat", "Halves"}
    assert set(result.trained) == {row["strategy"] for row in result.rows} == names
    assert len(result.rows) == 4 * 3 * 2
    best = max(map(result.study.on_validation, names))
    assert result.study.on_validation(result.best.arm.strategy) == best


def test_fusion_pays_where_the_target_needs_both(result):
    assert result.verdict.headline.startswith("Fusion pays")
    word = "R2" if result.study.task == "numbers" else "accuracy"
    assert f"points of test {word}" in str(result.verdict)
    best = result.summaries[0]
    assert best.strategy in ("concat", "Halves")
    assert best.score.mean() > 0.7


def test_a_result_prints_and_shows_itself(result):
    text = str(result)
    assert "Halves" in text
    assert text.endswith(str(result.verdict))
    assert ("RMSE" if result.study.task == "numbers" else "macro F1") in text.splitlines()[0]
    html = result._repr_html_()
    majority = result.study.task != "numbers"  # which has a line of its own
    assert html.count("<tr") == 5 + majority
    assert ("majority class" in text) == majority
    assert "<svg" in html
    assert "<script" not in html
    figure = result.plot()
    assert figure.axes
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_report_is_written(result, tmp_path):
    result.save_report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert escape(result.verdict.headline) in text
    assert ("Confusion matrices" in text) == (result.study.task == "classes")
    assert (">RMSE<" in text) == (result.study.task == "numbers")


def test_errors_of_numbers_are_in_their_units(result):
    if result.study.task != "numbers":
        pytest.skip("classes and labels have none")
    run = result.trained["concat"]
    rows = run.arm.task.test
    want = run.arm.task.scale.restore(rows.target)
    where = ("concat", "test", run.best_seed)
    (row,) = (r for r in result.rows if (r["strategy"], r["split"], r["seed"]) == where)
    error = np.square(run.best.predict(rows.inputs) - want).mean(axis=0) ** 0.5
    assert row["rmse"] == pytest.approx(error.mean(), rel=1e-4)
    assert row["rmse"] > 1  # the deviation of the target is 42


def test_frames(result):
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(result.rows)
    pytest.importorskip("xarray")
    scores = result.to_xarray()[result.study.metric.name]
    mean = scores.sel(split=scored_split(result.rows)).mean("seed").sel(strategy="concat")
    want = next(s for s in result.summaries if s.strategy == "concat").score.mean()
    np.testing.assert_allclose(mean, want)


def test_trained_models_predict_new_rows(result):
    task, run = make_task(result.study.task), result.trained["concat"]
    rows = task.test
    said = run.predict(rows.inputs)
    match task.kind:
        case "classes":
            np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
            assert (said.argmax(axis=1) == rows.target).mean() > 0.8
        case "labels":
            assert ((said > 0.5) == rows.target).mean() > 0.8
        case "numbers":  # in the units of the user
            want = rows.target * task.scale.deviation + task.scale.mean
            assert np.corrcoef(said[:, 0], want[:, 0])[0, 1] > 0.8
            assert abs(said.mean() - 100) < 20
    assert run.embed(rows.inputs)["fused"].shape[0] == rows.size


def test_models_predict_from_what_their_task_was_made_of():
    rng = np.random.default_rng(0)
    given = {
        "text": rng.integers(0, 7, (60, 10)),
        "grey": rng.integers(0, 256, (60, 8, 8), np.uint8),
        "moved": rng.integers(0, 256, (60, 3, 8, 6), np.uint8),
        "flat": rng.normal(size=(60, 3, 2)),
    }
    kinds = {"text": "tokens", "grey": "image", "flat": "vector"}
    task = mmjax.Task.from_arrays(
        given, np.arange(60) % 2, kinds=kinds, meta={"row": np.arange(60)}
    )
    arm = make_arm(task, "sum", seeds=(0,))
    params = init_params(arm.recipe.model, task.valid.batch(), 0)
    run = TrainedRun(arm, jax.tree.map(lambda x: x[None], params), best_seed=0)
    rows = task.test.meta["row"]
    new = {name: values[rows] for name, values in given.items()}
    np.testing.assert_array_equal(run.predict(new), run.predict(task.test.inputs))
    few = {name: values[:1] for name, values in new.items()}
    np.testing.assert_allclose(run.predict(few), run.predict(new)[:1], atol=1e-5)
    long = np.tile(new["text"], 2)
    for text, message in (
        (new["text"] + 7, "'text': expected token ids from 0 to 6, .*, got 7 to 1"),
        (long, "'text': expected at most 10 token ids per row, got 20"),
    ):
        with pytest.raises(DataError, match=message):
            run.predict({**new, "text": text})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fusions": "concta"}, UnknownNameError, "Did you mean 'concat'"),
        ({"step": 3}, UnknownNameError, "Did you mean 'steps'"),
        ({"task": "digits"}, TypeError, "multiple values"),
        ({"seeds": 0}, UsageError, "seeds: expected at least 1"),
        (
            {"objective": "focal", "fusions": ["sum"]},
            FailedArmsError,
            "sum: UsageError: target: exp",
        ),
        ({"fusions": [Halves, Halves]}, UsageError, "expected each name once"),
        ({"fusions": "sum@a+c"}, UnknownNameError, "modality: expected one of a, b, got 'c'"),
        (
            {"encoders": {"a": "cnn"}},
            UsageError,
            r"encoders: expected one that reads samples of shape \(5,\), got a=cnn: ",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        compare(make_task("numbers"), **arguments)


class Slower(Halves):
    """Another fusion of the same name."""

    dropout: float = 0.5


Slower.__name__ = "Halves"


class Broken(Halves):
    """A fusion that fails when it is called."""

    def __call__(self, tokens, *, train):
        raise RuntimeError("no such luck")


@pytest.mark.slow
def test_a_strategy_that_fails_does_not_end_the_others():
    result = compare(make_task("classes"), [Broken, "sum"], seeds=1, steps=2)
    assert result.failed == {"Broken": "RuntimeError: no such luck"}
    assert set(result.trained) == {"a_only", "b_only", "sum"}
    assert str(result).endswith("Broken failed: RuntimeError: no such luck")
    assert "Broken failed: RuntimeError: no such luck" in result._repr_html_()


class Wide(Halves):
    """Gives more numbers than were asked for."""

    def __call__(self, tokens, *, train):
        """Fuses {name: [batch, length, features]} into [batch, out_dim + 1]."""
        return jnp.pad(super().__call__(tokens, train=train), ((0, 0), (0, 1)))


@pytest.mark.slow
def test_a_prediction_of_another_shape_does_not_train():
    result = compare(make_task("numbers"), [Wide, Halves], seeds=1, steps=2)
    assert result.failed == {
        "Wide": "UsageError: Wide, prediction: expected shape [batch, 2], got (2, 3)."
    }
    assert "Halves" in result.trained


@pytest.mark.slow
def test_modules_are_strategies_named_after_what_is_not_default():
    gmu = FUSIONS["gmu"]
    ours = [gmu(out_dim=2, width=8), partial(gmu, width=16), "gmu", Halves(out_dim=2)]
    task = make_task("classes")
    result = compare(task, ours, seeds=np.int64(1), steps=2)
    assert list(result.trained)[2:] == ["gmu", "gmu(width=8)", "gmu(width=16)", "Halves"]
    assert result.trained["gmu(width=16)"].arm.recipe.model.fusion == gmu(out_dim=2, width=16)
    with pytest.raises(UsageError, match="fusions: expected each name once"):
        compare(task, ["gmu", gmu])


def test_a_module_is_trained_by_the_method_that_its_fusion_is_defined_with():
    task = make_task("classes")
    stacking = FUSIONS["stacking"](out_dim=2)
    assert make_arm(task, stacking).recipe.method == METHODS["stacking"]()
    assert make_arm(task, stacking).recipe == make_arm(task, "stacking").recipe


@pytest.mark.slow
def test_encoders_are_given_as_a_mapping(capsys):
    task = make_task("classes")
    result = compare(task, "sum", encoders={"a": "raw"}, seeds=1, steps=2, quiet=False)
    assert "encoders: a Raw (features 5), b MLPEncoder (features 5)" in capsys.readouterr().err
    (recipe,) = {row["recipe"] for row in result.rows if row["strategy"] == "a_only"}
    assert "encoders={'a': Raw()}" in recipe


@pytest.mark.slow
def test_rows_without_test_targets_are_judged_on_validation():
    task = make_task("numbers")
    blind = replace(task, test=replace(task.test, target=np.full_like(task.test.target, np.nan)))
    result = compare(blind, "sum", seeds=1, steps=2)
    assert {row["split"] for row in result.rows} == {"valid"}
    assert "validation R2" in result.verdict.headline


@pytest.fixture(scope="module")
def kept():
    """In Python and in memory what the command has done in a folder."""
    task = mmjax.load_task("synthetic", options={"size": "200"})
    return compare(task, "concat", seeds=2, steps=20, batch_size=20, examine="all")


def untimed(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_python_gives_what_the_command_gives(kept, whole):
    assert untimed(kept.rows) == scores(whole)
    assert {row["hidden"] for row in kept.rows} == {"", "a", "b", "a+b"}
    of_command = mmjax.load_result(whole)
    assert set(kept.study.tables) == {"robustness", "representation", "cost"}
    for name in ("robustness", "representation"):
        assert kept.study.tables[name] == of_command.study.tables[name]
    assert str(kept.verdict) == str(of_command.verdict)
    assert kept.to_latex() == of_command.to_latex()
    assert set(kept.trained) == {"a_only", "b_only", "concat"}


def sections_of(page):
    text = page.read_text(encoding="utf-8")
    return [found[1] for found in re.findall(r"<(h[23]|summary)[^>]*>(.*?)</\1>", text)]


@pytest.mark.slow
def test_what_is_saved_is_loaded_and_verified_and_has_the_page_of_the_command(
    kept, whole, tmp_path
):
    kept.save(tmp_path / "saved")
    loaded = mmjax.load_result(tmp_path / "saved")
    assert loaded.rows == kept.rows
    assert str(loaded) == str(kept)
    assert run("verify", tmp_path / "saved") == 0
    assert "Made by `mmjax.compare`" in (tmp_path / "saved" / "summary.md").read_text()
    want = sections_of(whole / "report.html")
    assert sections_of(tmp_path / "saved" / "report.html") == want
    for title in ("Robustness to missing modalities", "Robustness to corruption", "Embeddings"):
        assert title in want
    loaded.save(tmp_path / "again")
    drawn = (tmp_path / "saved" / "embeddings.svg").read_bytes()
    assert (tmp_path / "again" / "embeddings.svg").read_bytes() == drawn
    with pytest.raises(UsageError, match="out: expected a new or empty folder"):
        kept.save(tmp_path / "saved")
    with pytest.raises(UsageError, match="was not trained here"):
        loaded.best  # noqa: B018


@pytest.mark.slow
def test_a_comparison_in_a_folder_goes_on(tmp_path):
    task = make_task("classes", rows=60)
    again = partial(compare, seeds=1, steps=2, out=tmp_path / "run")
    first = again(task, [Halves])
    second = again(task, [Halves], resume=True)
    assert second.rows == first.rows
    assert not second.trained
    with pytest.raises(UsageError, match="out: expected a new or empty folder"):
        again(task, [Halves])
    with pytest.raises(UsageError, match="resume: the recipe of Halves has changed"):
        again(task, [Slower], resume=True)
    with pytest.raises(UsageError, match="resume: the data of"):
        again(make_task("classes", rows=60, seed=1), [Halves], resume=True)


@pytest.mark.parametrize(
    ("asked", "error"),
    [("everything", UnknownNameError), (["all", "cost"], UsageError), ([], None), ("cost", None)],
)
def test_what_can_be_examined(asked, error):
    if error:
        with pytest.raises(error, match="examine"):
            parse_examine(asked)
    else:
        assert parse_examine(asked) == tuple([asked] * bool(asked))


def test_full_is_all_with_every_row():
    assert parse_examine("full") == (*parse_examine("all"), "full")
    assert parse_examine(parse_examine("full")) == parse_examine("full")


def test_public_names_are_there_and_listed():
    for name in mmjax.__all__:
        assert getattr(mmjax, name).__doc__
    assert dir(mmjax) == mmjax.__all__
    with pytest.raises(AttributeError, match="no attribute 'cmopare'"):
        mmjax.cmopare  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_the_command_line_compares_such_targets_too(kind, tmp_path):
    """With all that it examines beside: corruptions, missing modalities, embeddings, cost."""
    save(make_task(kind), tmp_path / "task")
    flags = ("--task", "arrays", "--data", tmp_path / "task", "--fusions", "gmu")
    small = ("--steps", "6", "--seeds", "2", "--out", tmp_path / "run")
    assert run("compare", *flags, *small) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    score = "R2" if kind == "numbers" else "accuracy"
    for words in (
        f"points of test {score}",
        "Robustness to corruption",
        f"{score.capitalize()} against cost",
    ):
        assert words in page
    assert "Confusion matrices" not in page
    assert (tmp_path / "run" / "embeddings.svg").exists()
    assert not (tmp_path / "run" / "misclassified.svg").exists()
    assert run("report", tmp_path / "run", "--out", tmp_path / "r.html", "--paper") == 0
    heads = r"$R^2$" if kind == "numbers" else "Macro $F_1$"
    assert heads in (tmp_path / "r" / "table.tex").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "head", "row"),
    [
        ("labels", "row_id,label,p0,p1,p2", r"0,[012 ]*,0\.\d+"),
        ("numbers", "row_id,y0,y1", "0,"),
    ],
)
def test_predictions_of_such_targets_have_columns_of_their_own(kind, head, row, tmp_path):
    task = make_task(kind)
    save(task, tmp_path / "task")
    flags = ("--task", "arrays", "--data", tmp_path / "task", "--steps", "4", "--seeds", "1")
    assert run("train", "sum", *flags, "--out", tmp_path / "run") == 0
    assert run("predict", tmp_path / "run", "--out", tmp_path / "said.csv") == 0
    lines = (tmp_path / "said.csv").read_text().splitlines()
    assert lines[0] == head
    assert re.match(row, lines[1])
    assert len(lines) == 1 + task.test.size


def test_a_trained_strategy_can_be_pickled(result):
    inputs = result.task.test.inputs
    want = result.best.predict(inputs)  # which compiles what cannot be pickled
    again = pickle.loads(pickle.dumps(result.best))
    np.testing.assert_array_equal(again.predict(inputs), want)
