"""Frozen encoders run once, and a model on their features is the model with them inside."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import slow
from rich.console import Console
from small import CODINGS, make_coded_task, make_task

import mmjax
from mmjax.analysis.corruptions import make_sweep
from mmjax.analysis.robustness import behind_encoders
from mmjax.comparison.arm import make_arm
from mmjax.comparison.frozen import FrozenEncoders, encode_rows, source_of
from mmjax.comparison.frozen_encoder import FrozenEncoder
from mmjax.data.chunks import on_disk
from mmjax.encoders import ENCODERS, pretrained
from mmjax.errors import DataError, UsageError
from mmjax.runs.export import export_run, load_export
from mmjax.runs.settings import Settings
from mmjax.runs.train import train_in
from mmjax.runs.trained import embed_run, evaluate_run, predict_run
from mmjax.storage import array_cache
from mmjax.storage.trees import flatten
from mmjax.tasks.synthetic import synthetic
from mmjax.training.fit import fit
from mmjax.training.recipe import Recipe, make_model
from mmjax.types import Tokens

WEIGHTS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
NARROW = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
OPTIONS = {"seeds": 2, "steps": 4, "batch_size": 32, "quiet": True}


def project(w, x):
    return jnp.tanh(x @ w)


def masked(w, x):
    """Tokens, of which only those with a positive first number are valid."""
    return Tokens(jnp.tanh(x @ w[: x.shape[-1]]), x[..., 0] > 0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(array_cache, "_SPARE", 0)
    return tmp_path / "cache" / "mmjax" / "arrays"


@pytest.fixture
def encoded_rows(monkeypatch):
    """The number of rows of each pass through an encoder."""
    passes, encode = [], FrozenEncoder.encode

    def counting(self, values, present):
        passes.append(len(values))
        return encode(self, values, present)

    monkeypatch.setattr(FrozenEncoder, "encode", counting)
    return passes


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


PRETRAINED = {
    "vectors": {"vector": pretrained(project, WEIGHTS)},
    "masks": {"sequence": pretrained(masked, WEIGHTS)},
    "both": {"vector": pretrained(project, WEIGHTS), "sequence": pretrained(masked, WEIGHTS)},
}


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("both", "mask"),
        slow("vectors", "mask"),
        slow("masks", "mask"),
        slow("vectors", "learned"),
        slow("both", "learned"),
    ],
)
def test_features_give_what_the_encoder_gives_inside_the_model(task, name, absent):
    options = {"steps": 12, "batch_size": 32, "seeds": (0, 1)}
    inside = Recipe(make_model(task, "attention_pool", PRETRAINED[name], absent), **options)
    arm = make_arm(task, "attention_pool", PRETRAINED[name], absent, **options)
    assert not task.train.present["vector"].all()
    whole, apart = fit(inside, task), fit(arm.recipe, arm.task)
    jax.tree.map(lambda *x: np.testing.assert_allclose(*x, atol=1e-5), whole.params, apart.params)
    for hidden in ((), ("vector",), ("sequence",)):
        want = whole.predict(whole.params, task.test.batch().hide(hidden))
        got = apart.predict(apart.params, arm.task.test.batch().hide(hidden))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", ["zero", "mean"])
def test_stand_ins_are_zero_or_mean_features(task, absent):
    encoders = PRETRAINED["both"]
    arm = make_arm(task, "concat", encoders, absent, steps=2, seeds=(0,), batch_size=32)
    trained = fit(arm.recipe, arm.task)
    rows = arm.task.train.batch()
    lacks = np.flatnonzero(~task.train.present["vector"])
    outputs = arm.recipe.model.apply(
        {"params": jax.tree.map(lambda x: x[0], trained.params)},
        rows.inputs,
        rows.present,
        train=False,
    )
    tokens = outputs.tokens["vector"]
    features = np.tanh(task.train.inputs["vector"] @ WEIGHTS)
    want = np.zeros(4) if absent == "zero" else np.nanmean(features, axis=0)
    assert tokens.mask.all()
    np.testing.assert_allclose(tokens.values[lacks[0], 0], want, atol=1e-5)


def test_leaves_that_are_no_arrays_reach_the_network(task):
    tree = {"act": jnp.tanh, "w": WEIGHTS, "name": "net"}
    encoders = {"vector": pretrained(lambda p, x: p["act"](x @ p["w"]), tree)}
    arm = make_arm(task, "concat", encoders, steps=2, seeds=(0,), batch_size=32)
    here = task.train.present["vector"]
    want = np.tanh(task.train.inputs["vector"] @ WEIGHTS)
    np.testing.assert_allclose(arm.task.train.inputs["vector"][here, 0], want[here], rtol=1e-5)


@pytest.mark.slow
def test_each_row_is_encoded_once_for_all_arms(task, encoded_rows, capsys):
    encoders = {"vector": pretrained(project, WEIGHTS)}
    options = {**OPTIONS, "encoders": encoders, "examine": "scores"}
    result = mmjax.compare(task, ["concat", "sum", "late_mean"], **options)
    assert sorted(encoded_rows) == sorted(split.size for split in task.splits.values())
    assert result.trained["concat"].arm.task.shapes["vector"] == (1, 4)
    again = mmjax.compare(task, ["concat"], **options)
    assert len(encoded_rows) == 3  # the others are read
    row = lambda one: next(r for r in one.rows if r["strategy"] == "concat")
    timeless = lambda r: {k: v for k, v in r.items() if k != "seconds"}
    assert timeless(row(result)) == timeless(row(again))
    assert "of='project " in row(result)["recipe"]
    assert row(result)["data"] == task.digest()
    assert capsys.readouterr().err == ""


def test_corrupted_rows_are_encoded_once_for_all_arms(task, encoded_rows):
    sweep = make_sweep(task, severities=[3], max_rows=20)
    frozen, behind = FrozenEncoders(), behind_encoders(sweep)
    arms = [
        make_arm(task, name, PRETRAINED["both"], frozen=frozen, **{"seeds": (0,)})
        for name in ("vector_only", "concat", "sum")
    ]
    encoded_rows.clear()
    seen = [behind(arm.task) for arm in arms]
    assert len(encoded_rows) == 2 + len(sweep.conditions)
    own = [c for c in sweep.conditions if c.modality == "vector"]
    for one in seen:
        found = [c for c in one.conditions if c.modality == "vector"]
        assert [c[:3] for c in found] == [c[:3] for c in own]
        for condition, raw in zip(found, own, strict=True):
            want = np.tanh(raw.values @ WEIGHTS)[:, None]
            np.testing.assert_allclose(condition.values, want, atol=1e-6)
    assert {c[:3] for c in seen[1].conditions} == {c[:3] for c in sweep.conditions}


@pytest.mark.slow
def test_everything_is_examined(task):
    result = mmjax.compare(task, ["concat"], encoders=PRETRAINED["both"], **OPTIONS)
    assert not result.failed
    assert {row["modality"] for row in result.study.tables["robustness"]} == {"vector", "sequence"}


@pytest.mark.slow
def test_new_rows_pass_through_the_encoder(task):
    result = mmjax.compare(
        task, ["concat"], encoders=PRETRAINED["both"], examine="scores", **OPTIONS
    )
    run = result.trained["concat"]
    want = jax.nn.softmax(result.study.predictions["concat"]["test"]).mean(axis=0)
    got = run.predict(task.test.inputs, task.test.present)
    np.testing.assert_allclose(got, want, atol=1e-6)
    one = {name: values[3:4] for name, values in task.test.inputs.items()}
    np.testing.assert_allclose(run.predict(one), want[3:4], atol=1e-6)
    assert run.embed(one)["vector"].shape == (1, 4)
    absent = {"vector": np.zeros(1, bool)}
    anything = {**one, "vector": np.full((1, 5), np.nan, np.float32)}
    hidden = run.predict({**one, "vector": one["vector"] + 1}, absent)
    np.testing.assert_array_equal(run.predict(anything, absent), hidden)
    with pytest.raises(DataError, match="vector"):
        run.predict({**one, "vector": one["vector"][:, :4]})


def encode_once(encoder, task, encoded_rows):
    """The features of the test rows, and whether the encoder ran."""
    encoded_rows.clear()
    frozen, _ = FrozenEncoders()(task, {"vector": encoder})
    return frozen.test.inputs["vector"], bool(encoded_rows)


def scaled_by(number):
    def scaled(w, x):
        return x @ w * number

    return scaled


def shifted_by(array):
    def shifted(w, x):
        return x @ w + jnp.asarray(array)[None]

    return shifted


LARGE = np.zeros(4, np.float32)
CHANGES = {
    "a constant": (scaled_by(2.0), scaled_by(2.5), WEIGHTS, WEIGHTS),
    "an array": (shifted_by(LARGE), shifted_by(LARGE + 1), WEIGHTS, WEIGHTS),
    "an array of JAX": (shifted_by(jnp.zeros(4)), shifted_by(jnp.ones(4)), WEIGHTS, WEIGHTS),
    "parameters": (project, project, WEIGHTS, WEIGHTS + 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_features_are_never_stale(task, encoded_rows, name):
    before, after, weights, changed = CHANGES[name]
    first, _ = encode_once(pretrained(before, weights), task, encoded_rows)
    again, ran = encode_once(pretrained(before, weights.copy()), task, encoded_rows)
    assert not ran
    np.testing.assert_array_equal(first, again)
    other, ran = encode_once(pretrained(after, changed), task, encoded_rows)
    assert ran
    assert not np.array_equal(first, other)


def test_the_name_of_a_function_does_not_matter(task, encoded_rows):
    def another(w, x):
        return jnp.tanh(x @ w)

    encode_once(pretrained(project, WEIGHTS), task, encoded_rows)
    assert not encode_once(pretrained(another, WEIGHTS), task, encoded_rows)[1]


def test_changed_rows_are_encoded_again(task, encoded_rows):
    encoder = pretrained(project, WEIGHTS)
    encode_once(encoder, task, encoded_rows)
    moved = {**task.test.inputs, "vector": task.test.inputs["vector"] + 1}
    changed = replace(task, test=replace(task.test, inputs=moved))
    features, _ = encode_once(encoder, changed, encoded_rows)
    assert encoded_rows == [task.test.size]
    np.testing.assert_allclose(features[:, 0], np.tanh(moved["vector"] @ WEIGHTS), atol=1e-6)
    lost = replace(task.test, present={"vector": np.arange(task.test.size) > 0})
    features, _ = encode_once(encoder, replace(task, test=lost), encoded_rows)
    assert encoded_rows == [task.test.size]
    assert not features[0].any()


def test_calls_of_python_are_not_kept(task, encoded_rows, home):
    factor = [1.0]

    def call(w, x):
        shape = jax.ShapeDtypeStruct((len(x), 4), np.float32)
        host = lambda x: np.asarray(factor[0] * np.asarray(x) @ WEIGHTS, np.float32)
        return jax.pure_callback(host, shape, x)

    first, _ = encode_once(pretrained(call), task, encoded_rows)
    factor[0] = 2.0
    second, ran = encode_once(pretrained(call), task, encoded_rows)
    assert ran
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5)
    assert not home.exists()


def test_damaged_features_are_made_again(task, encoded_rows, home):
    encoder = pretrained(project, WEIGHTS)
    first, _ = encode_once(encoder, task, encoded_rows)
    for path in home.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-50])
    again, ran = encode_once(encoder, task, encoded_rows)
    assert ran
    np.testing.assert_array_equal(first, again)


def test_features_are_on_disk_where_the_rows_are(task, tmp_path):
    def mapped(split, name):
        np.save(tmp_path / f"{name}.npy", split.inputs["vector"])
        values = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        return replace(split, inputs={**split.inputs, "vector": values})

    splits = {name: mapped(split, name) for name, split in task.splits.items()}
    frozen, _ = FrozenEncoders()(replace(task, **splits), PRETRAINED["vectors"])
    plain, _ = FrozenEncoders()(task, PRETRAINED["vectors"])
    for name in task.splits:
        found, want = (t.splits[name].inputs["vector"] for t in (frozen, plain))
        assert on_disk(found)
        assert not on_disk(want)
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("size", [1, 3, 64, 65, 150])
def test_odd_numbers_of_rows(task, size):
    rows = task.test.take(np.arange(size) % task.test.size)
    part = replace(task, test=rows)
    features = FrozenEncoders()(part, PRETRAINED["vectors"])[0].test.inputs["vector"]
    np.testing.assert_allclose(features[:, 0], np.tanh(rows.inputs["vector"] @ WEIGHTS), atol=1e-6)


def test_features_that_are_not_finite_name_the_encoder(task):
    encoder = pretrained(lambda w, x: jnp.log(x @ w), WEIGHTS)
    with pytest.raises(DataError, match=r"encoder of vector: expected finite features, got NaN"):
        make_arm(task, "concat", {"vector": encoder})


def test_a_part_of_an_encoded_task_knows_its_source(task):
    frozen, _ = FrozenEncoders()(task, PRETRAINED["both"])
    alone = frozen.only("vector")
    assert source_of(alone).modalities == ("vector",)
    assert alone.digest() == task.only("vector").digest()
    assert source_of(task) is task
    rows = source_of(alone).test.batch()
    encoded = encode_rows(alone, rows).inputs["vector"]
    np.testing.assert_array_equal(encoded, alone.test.inputs["vector"])
    assert encode_rows(task, rows) is rows


WORDS = np.random.default_rng(2).normal(size=(300, 4)).astype(np.float32)


def embed(w, ids):
    assert ids.dtype == jnp.int32
    return Tokens(w[jnp.maximum(ids, 0)], ids >= 0)


@pytest.mark.slow
def test_token_ids_reach_a_frozen_encoder_as_they_are():
    task = make_coded_task()
    arm = make_arm(task, "attention_pool", {"note": pretrained(embed, WORDS)}, steps=3, seeds=(0,))
    assert {*arm.task.codings} == {"who"}
    assert source_of(arm.task).codings == CODINGS
    assert source_of(arm.task.only("note")).codings == {"note": CODINGS["note"]}
    ids, here = task.test.inputs["note"], task.test.present["note"]
    features = arm.task.test.inputs["note"]
    np.testing.assert_array_equal(features[here, :, :-1], WORDS[np.maximum(ids, 0)][here])
    np.testing.assert_array_equal(features[here, :, -1], (ids < 0)[here])
    assert not features[~here].any()

    inside = make_model(task, "attention_pool", {"note": pretrained(embed, WORDS)})
    trained = fit(arm.recipe, arm.task)
    params = jax.tree.map(lambda x: x[0], trained.params)
    rows = task.test.batch()
    want = inside.apply({"params": params}, rows.inputs, rows.present, train=False).prediction
    got = trained.predict(trained.params, arm.task.test.batch())[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [False, slow(0.1)])
def test_a_comparison_behind_a_text_encoder_reads_new_texts(trainable):
    notes = np.where(np.arange(40) % 2, "a good film", "a dull evening")
    task = mmjax.Task.from_arrays(
        {"note": notes, "x": np.arange(40.0)},
        np.arange(40) % 2,
        kind="classes",
        kinds={"note": "words"},
    )
    encoders = {"note": pretrained(embed, WORDS, trainable)}
    result = mmjax.compare(task, ["concat"], encoders=encoders, examine="scores", **OPTIONS)
    new = {"note": ["a good film", "unheard"], "x": [0.0, 1.0]}
    coded = {**new, "note": task.codings["note"].encode("note", new["note"])}
    np.testing.assert_array_equal(result.best.predict(new), result.best.predict(coded))


@pytest.mark.slow
def test_a_comparison_in_a_folder_is_resumed(task, tmp_path):
    options = {**OPTIONS, "examine": "scores", "out": tmp_path / "run"}
    result = mmjax.compare(task, ["concat"], encoders=PRETRAINED["both"], **options)
    again = mmjax.compare(task, ["concat"], encoders=PRETRAINED["both"], resume=True, **options)
    assert again.rows == result.rows
    other = {**PRETRAINED["both"], "vector": pretrained(project, WEIGHTS + 1)}
    with pytest.raises(UsageError, match="resume"):
        mmjax.compare(task, ["concat"], encoders=other, resume=True, **options)


@pytest.mark.slow
def test_alternatives_are_arms_side_by_side(task):
    frozen, tuned = pretrained(project, WEIGHTS), pretrained(project, WEIGHTS, 0.1)
    encoders = {"vector": ["mlp", frozen, tuned]}
    result = mmjax.compare(task, ["concat"], encoders=encoders, examine="scores", **OPTIONS)
    assert not result.failed
    names = [name for name in result.trained if name.startswith("concat")]
    digest = frozen.network.weights.digest[:8]
    assert names == [
        "concat",
        f"concat:vector=project {digest}",
        f"concat:vector=project {digest} at 0.1",
    ]
    params = [row["params"] for row in result.rows if row["strategy"] in names[1:]]
    assert max(params) - min(params) == WEIGHTS.size


@pytest.mark.slow
def test_a_run_is_loaded_and_exported_with_its_encoder(tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS._own, "frozen", lambda: pretrained(project, NARROW))
    settings = Settings("synthetic", options=("size=60",), encoders=("a=frozen",), steps=2, seeds=1)
    console = Console(quiet=True)
    train_in(tmp_path / "run", settings, "concat", console)
    run = mmjax.load_run(tmp_path / "run")
    test = source_of(run.arm.task).test
    want = run.predict(test.inputs)
    assert not [path for path in flatten(run.params) if path.startswith("encoders_a")]
    assert evaluate_run(tmp_path / "run", None, [])
    assert predict_run(tmp_path / "run", None, "test", "probabilities", tmp_path / "p.csv") == 12
    assert embed_run(tmp_path / "run", None, "test", tmp_path / "e.npz")["a"] == (12, 4)

    export_run(tmp_path / "run", tmp_path / "export")
    loaded = load_export(tmp_path / "export")
    np.testing.assert_array_equal(loaded.predict(test.inputs), want)
    content = (tmp_path / "export" / "model.stablehlo").read_bytes()
    program = jax.export.deserialize(bytearray(content))
    np.testing.assert_allclose(program.call(test.inputs, test.present), want, atol=1e-6)


def test_inputs_of_a_frozen_encoder_cannot_be_augmented():
    task = synthetic(size=60)
    frozen = pretrained(lambda w, x: x @ w, np.ones((12, 5), np.float32))
    with pytest.raises(UsageError, match="augment: a has a frozen encoder"):
        mmjax.compare(task, ["sum"], encoders={"a": frozen}, augment={"a": "noise"}, steps=2)
