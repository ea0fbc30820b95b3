"""Rows that differ in length: what is past the end of a row has no influence."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import representatives, slow

from mmjax.data.task import Split, Task
from mmjax.encoders import ENCODERS, Video
from mmjax.layers import takes_mask
from mmjax.registry import ABSENCES
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params

ROWS = 12
LENGTHS = np.arange(ROWS) % 5 + 4  # 4 to 8
SEQUENCE, VIDEO = (5,), (4, 4, 1)


def make_task(features=SEQUENCE, longest=8):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, 8, *features)).astype(np.float32)
    values = np.pad(values, [(0, 0), (0, longest - 8), *[(0, 0)] * len(features)])
    values[np.arange(longest) >= LENGTHS[:, None]] = np.nan
    present = {"x": np.arange(ROWS) % 3 > 0}
    inputs = {"x": values, "y": rng.normal(size=(ROWS, 3)).astype(np.float32)}
    split = Split(inputs, np.arange(ROWS) % 2, np.arange(ROWS), present)
    return Task("padded", split, split, split, 2, standardise=True, padded=("x",))


def predict(task, params, model, values=None):
    rows = task.train.batch()
    inputs = rows.inputs if values is None else {**rows.inputs, "x": values}
    run = lambda p: model.apply({"params": p}, inputs, rows.present, train=False).prediction
    return jax.jit(jax.value_and_grad(lambda p: (lambda y: (y.sum(), y))(run(p)), has_aux=True))(
        params
    )


def make(task, encoder, absent="mask"):
    model = make_model(task, "concat", {"x": encoder}, absent)
    return model, init_params(model, task.train.batch(), 0)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["raw", "gru", "transformer"])
def test_more_padding_changes_no_prediction(encoder):
    task, longer = make_task(), make_task(longest=13)
    model, params = make(task, encoder)
    (_, short), grads = predict(task, params, model)
    model, _ = make(longer, encoder)
    (_, long), long_grads = predict(longer, params, model)
    np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(grads, long_grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", representatives(ABSENCES, ["mask"]))
@pytest.mark.parametrize(
    "encoder", ["cnn1d", *map(slow, ("cnn2d", "gru")), "mlp", "raw", "transformer"]
)
def test_each_row_is_what_it_is_cut_to_its_length(encoder, absent):
    """NaN reaches nothing, and every encoder reads zeros, at the mean, past the end of a row."""
    task = make_task()
    model, params = make(task, encoder, absent)
    (_, got), grads = predict(task, params, model)
    assert all(np.isfinite(x).all() for x in [got, *jax.tree.leaves(grads)])
    scale = task.input_scales["x"]
    seen = (task.train.inputs["x"] - scale.mean) / scale.deviation
    tokens = apply_encoder(model, params, np.nan_to_num(seen), LENGTHS)
    with_model = model.apply({"params": params}, *task.train.batch()[:2], train=False).tokens["x"]
    here = task.train.present["x"]
    valid = np.asarray(tokens.mask)[here]
    np.testing.assert_array_equal(np.asarray(with_model.mask)[here], valid)
    values = (np.asarray(t.values)[here][valid] for t in (with_model, tokens))
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)


def apply_encoder(model, params, x, lengths):
    encoder, mask = model.encoders["x"], np.arange(x.shape[1]) < lengths[:, None]
    options = {"mask": mask} if takes_mask(encoder) else {}
    own = {"params": params.get("encoders_x", {})}
    return encoder.apply(own, jnp.asarray(x, jnp.float32), train=False, **options)


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_tokens_of_a_padded_row_are_those_of_the_row_alone(encoder):
    module, x = ENCODERS[encoder](), jnp.asarray(np.random.default_rng(0).normal(size=(1, 9, 4)))
    variables = module.init(jax.random.key(0), x, train=False)
    alone = module.apply(variables, x[:, :5], train=False)
    mask = np.arange(9)[None] < 5
    padded = module.apply(variables, x, mask=mask, train=False)  # with junk past the end
    np.testing.assert_array_equal(padded.mask, mask)
    np.testing.assert_allclose(padded.values[:, :5], alone.values, rtol=1e-5, atol=1e-5)


def test_a_stretch_of_a_spectrogram_is_valid_if_a_frame_is():
    module, x = ENCODERS["cnn2d"](), jnp.ones((3, 11, 4))
    mask = np.arange(11) < np.array([[1], [5], [11]])
    tokens, _ = module.init_with_output(jax.random.key(0), x, mask=mask, train=False)
    assert tokens.mask.tolist() == [[True, False], [True, True], [True, True]]


def test_the_mean_of_padded_inputs_is_that_of_the_rows_that_have_a_frame():
    task = make_task()
    (mean,) = make_model(task, "concat", absent="mean").means["x"][None]
    seen = task.train.inputs["x"][task.train.present["x"]]
    np.testing.assert_allclose(mean, np.nanmean(seen, axis=0), rtol=1e-5, atol=1e-6)


def test_without_padding_the_program_has_no_trace_of_it():
    task = make_task()
    filled = np.nan_to_num(task.train.inputs["x"])
    split = Split({"x": filled}, task.train.target, task.train.group)
    plain = Task("plain", split, split, split, 2)
    rows = plain.train.batch()
    model, params = make(plain, "gru")
    run = lambda p: model.apply({"params": p}, *rows[:2], train=False).prediction
    assert " ne " not in str(jax.make_jaxpr(run)(params))  # how NaN is found
    padded = model.clone(padded=("x",))
    run = lambda p: padded.apply({"params": p}, *rows[:2], train=False).prediction
    assert " ne " in str(jax.make_jaxpr(run)(params))


@pytest.mark.slow
def test_a_video_is_its_frames_encoded_alike_and_then_a_sequence():
    frames, steps = ENCODERS["cnn"](features=(3, 4), width=5), ENCODERS["gru"](width=6)
    module, x = (
        Video(frames, steps),
        jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1))),
    )
    variables = module.init(jax.random.key(0), x, train=False)
    part = lambda name: {"params": variables["params"][name]}
    seen = [frames.apply(part("frames"), x[:, t], train=False).values for t in range(3)]
    want = steps.apply(part("steps"), jnp.stack([s.reshape(2, -1) for s in seen], 1), train=False)
    got = module.apply(variables, x, train=False)
    np.testing.assert_allclose(got.values, want.values, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_more_padding_changes_no_prediction_of_a_video():
    task, longer = make_task(VIDEO), make_task(VIDEO, longest=9)
    model, params = make(task, "video")
    (_, short), _ = predict(task, params, model)
    (_, long), _ = predict(longer, params, make(longer, "video")[0])
    np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-5)
