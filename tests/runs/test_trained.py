"""A trained run answers for new rows as evaluation does, and refuses what are no such rows."""

import shutil

import jax
import numpy as np
import pytest
from commands import TINY, run
from scipy.special import softmax
from small import make_task

from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import score_rows
from mmjax.comparison.tuning import Trial
from mmjax.data.task import Task
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.layers import masked_mean
from mmjax.runs.run_file import RunFile, write_run_file
from mmjax.runs.settings import Settings
from mmjax.runs.trained import TrainedRun, load_run
from mmjax.storage.jsonl import read_rows, write_rows
from mmjax.storage.reading import read_npz
from mmjax.tasks.arrays import save
from mmjax.training.predict import make_evaluate
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def untrained():
    """Two seeds of a model on a vector and an image, as they are initialised."""
    arm = make_arm(make_task().only("vector", "image"), "gmu", {"image": "mlp"}, seeds=(4, 7))
    lanes = [init_params(arm.recipe.model, arm.task.valid.batch(), seed) for seed in (4, 7)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *lanes)
    return TrainedRun(arm, params, best_seed=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run("train", "concat", *TINY, "--seeds", "2", "--out", folder) == 0
    return folder


def test_predict_is_the_mean_of_the_probabilities_of_all_seeds(untrained):
    rows = untrained.arm.task.valid.batch()
    logits = make_evaluate(untrained.arm.recipe.model).predict(untrained.params, rows)
    assert logits.shape == (2, 30, 3)
    got = untrained.predict(rows.inputs)
    np.testing.assert_allclose(got, softmax(logits, axis=-1).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)


def test_absent_modalities_are_hidden(untrained):
    rows = untrained.arm.task.valid.batch()
    logits = make_evaluate(untrained.arm.recipe.model).predict(
        untrained.params, rows.hide(["image"])
    )
    absent = {"image": np.zeros(30, bool)}
    got = untrained.predict(rows.inputs, absent)
    np.testing.assert_allclose(got, softmax(logits, axis=-1).mean(axis=0), atol=1e-6)
    assert not np.allclose(got, untrained.predict(rows.inputs))


def test_none_stands_for_a_modality_that_no_row_has(untrained):
    inputs = untrained.arm.task.valid.inputs
    absent = {"image": np.zeros(30, bool)}
    got = untrained.predict({"vector": inputs["vector"], "image": None})
    np.testing.assert_array_equal(got, untrained.predict(inputs, absent))


def test_embeddings_are_those_of_the_best_seed(untrained):
    rows = untrained.arm.task.valid.batch()
    got = untrained.embed(rows.inputs)
    params = jax.tree.map(lambda x: x[1], untrained.params)
    out = untrained.arm.recipe.model.apply({"params": params}, *rows[:2], train=False)
    assert got.keys() == {"image", "vector", "fused"}
    for name in ("image", "vector"):
        np.testing.assert_allclose(got[name], masked_mean(out.tokens[name]), atol=1e-6)
    np.testing.assert_allclose(got["fused"], out.fused, atol=1e-6)
    assert untrained.best.arm.recipe.seeds == (7,)


def test_new_rows_may_be_shorter_but_not_longer_than_the_longest():
    rng, size = np.random.default_rng(0), 30
    steps = [rng.normal(size=(row % 4 + 3, 2)) for row in range(size)]
    photos = [rng.integers(0, 256, (8, 5 + row % 5 // 4, 1), np.uint8) for row in range(size)]
    task = Task.from_arrays({"steps": steps, "photo": photos}, np.arange(size) % 2)
    arm = make_arm(task, "concat", {"steps": "gru", "photo": "mlp"}, seeds=(0,))
    params = init_params(arm.recipe.model, task.valid.batch(), 0)
    own = TrainedRun(arm, jax.tree.map(lambda x: x[None], params), best_seed=0)
    many = own.predict({"steps": steps[:4], "photo": photos[:4]})
    for row in range(4):
        one = own.predict({"steps": [steps[row]], "photo": photos[:1]})
        both = own.predict({"steps": steps[row : row + 1] * 2, "photo": [photos[0], photos[4]]})
        np.testing.assert_allclose(one[0], both[0], atol=1e-6)
        if row == 0:
            np.testing.assert_allclose(one[0], many[0], atol=1e-6)
    with pytest.raises(DataError, match=r"'steps': expected at most 6 frames.* got 7"):
        own.predict({"steps": np.ones((1, 7, 2)), "photo": photos[:1]})
    with pytest.raises(DataError, match="'steps': expected finite values"):
        own.predict({"steps": [np.full((2, 2), np.nan)], "photo": photos[:1]})


VECTOR, IMAGE = np.zeros((4, 5), np.float32), np.zeros((4, 8, 8, 1), np.uint8)
WRONG = {
    "a missing modality": (
        {"vector": VECTOR}, {}, UsageError, "inputs: modality 'image' is missing; got vector"
    ),
    "an unknown modality": (
        {"vectro": VECTOR, "image": IMAGE}, {}, UsageError, "'vector' is missing; got vectro, image"
    ),
    "None of each": ({"vector": None, "image": None}, {}, UsageError, "at least one modality"),
    "an unknown presence": (
        {"vector": VECTOR, "image": IMAGE}, {"imag": None}, UnknownNameError, "'image'"
    ),
    "fewer rows": (
        {"vector": VECTOR[:3], "image": IMAGE}, {}, DataError, "got vector 3, image 4"
    ),
    "no rows": ({"vector": VECTOR[:0], "image": IMAGE[:0]}, {}, DataError, "got no rows"),
    "no mapping": ([VECTOR, IMAGE], {}, DataError, "inputs: expected {modality: array}, got list"),
    "another shape": (
        {"vector": VECTOR, "image": IMAGE[:, 1:]}, {}, DataError, r"expected shape \(4, 8, 8, 1\)"
    ),
    "another dtype": (
        {"vector": VECTOR, "image": IMAGE.astype(np.float32)}, {}, DataError, "expected uint8, as"
    ),
    "text": ({"vector": np.full((4, 5), "a"), "image": IMAGE}, {}, DataError, "expected numbers"),
    "NaN": ({"vector": VECTOR + np.nan, "image": IMAGE}, {}, DataError, "NaN or infinity in 4"),
    "no booleans": (
        {"vector": VECTOR, "image": IMAGE}, {"image": np.ones(4)}, DataError, "expected bool"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_are_no_rows_of_the_task_is_refused(untrained, case):
    inputs, present, error, message = WRONG[case]
    for answer in (untrained.predict, untrained.embed):
        with pytest.raises(error, match=message):
            answer(inputs, present)


def test_rows_are_taken_as_people_have_them(untrained):
    want = untrained.predict({"vector": VECTOR, "image": IMAGE}, {"image": np.zeros(4, bool)})
    given = {"vector": VECTOR.tolist(), "image": IMAGE, "id": 7, "notes": ["more", "rows"] * 9}
    np.testing.assert_array_equal(untrained.predict(given, {"image": [False] * 4}), want)
    assert repr(untrained).startswith("TrainedRun('gmu' on Task('small': image (8, 8, 1), vec")
    assert len(repr(untrained)) < 200


@pytest.mark.slow
def test_a_run_of_other_data_is_refused(tmp_path):
    """The model scales inputs by training rows; and test rows may have become training rows."""
    data, out = tmp_path / "data", tmp_path / "run"
    inputs, target = {"a": np.arange(60.0), "b": np.arange(60.0)[::-1]}, np.arange(60) % 2
    save(Task.from_arrays(inputs, target), data)
    flags = ("--task", "arrays", "--data", data, "--steps", "2", "--seeds", "1")
    assert run("train", "sum", *flags, "--out", out) == 0
    data.rename(tmp_path / "moved")
    load_run(out, data=str(tmp_path / "moved"))
    save(Task.from_arrays({**inputs, "a": inputs["a"] + 1}, target), data)
    with pytest.raises(DataError, match=r"expected the training data, sha256 \w+, got arr"):
        load_run(out)


def test_nan_may_stand_where_a_modality_is_absent(untrained):
    absent = {"vector": np.zeros(4, bool)}
    got = untrained.predict({"vector": VECTOR + np.nan, "image": IMAGE}, absent)
    assert np.isfinite(got).all()


def test_a_run_knows_its_best_seed(folder):
    rows = [row for row in read_rows(folder / "rows.jsonl") if row["split"] == "valid"]
    best = sorted(rows, key=lambda row: (row["accuracy"], -row["nll"]))[-1]["seed"]
    assert load_run(folder).best_seed == best


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected a validation row for each seed"),
        ([{"seed": 9}], "expected a validation row"),
        ([{"nll": "x"}], "expected a row of scores, got nll 'x'"),
    ],
)
def test_rows_that_do_not_tell_the_best_seed_are_refused(folder, rows, message, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    (run / "manifest.json").unlink()  # or the change itself would be what is refused
    like = read_rows(run / "rows.jsonl")[0]
    write_rows(run / "rows.jsonl", [like | row for row in rows])
    with pytest.raises(DataError, match=message):
        load_run(run)


@pytest.mark.slow
def test_a_run_whose_width_was_tuned_can_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("mmjax.comparison.loop.tune", lambda *_: (Trial(1e-3, 0.0, 2.0), []))
    assert run("train", "sum", *TINY, "--seeds", "1", "--tune", "2", "--out", tmp_path) == 0
    loaded = load_run(tmp_path)
    assert loaded.arm.recipe.model.fusion.width == 2 * FUSIONS["sum"](2).width
    (row, _) = read_rows(tmp_path / "rows.jsonl")
    assert score_rows(loaded.arm, loaded.evaluate.predict, loaded.params)[0]["nll"] == row["nll"]


def test_embed_writes_an_archive(folder, tmp_path, capsys):
    out = tmp_path / "embeddings.npz"
    assert run("embed", folder, "--out", out, "--split", "valid") == 0
    loaded = load_run(folder)
    want = loaded.embed(loaded.arm.task.valid.inputs)
    got = read_npz(out)
    assert got.keys() == want.keys()
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)
    assert f"fused {want['fused'].shape}" in capsys.readouterr().out
    assert run("embed", folder, "--out", out) == 2
    assert "expected a new file" in capsys.readouterr().err


def test_a_run_in_folds_has_no_model_that_predicts(tmp_path):
    settings = Settings("synthetic", folds=3)
    write_run_file(tmp_path, RunFile(settings, ["sum"], command="mmjax train sum --folds 3"))
    with pytest.raises(DataError, match="trained in folds"):
        load_run(tmp_path)
