"""A model on token ids and a table: what is absent has no influence, and gradients are finite."""

import jax
import numpy as np
import optax
import pytest
from representatives import FUSIONS, representatives, slow
from small import make_coded_task

import mmjax
from mmjax.errors import UsageError
from mmjax.objectives import cross_entropy
from mmjax.registry import ABSENCES
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params, init_state, make_step
from mmjax.types import Tokens

TASK = make_coded_task()


def spoil(split):
    """The same rows with anything at all where a modality is absent."""
    ids, cells = split.inputs["note"].copy(), split.inputs["who"].copy()
    ids[~split.present["note"]], cells[~split.present["who"]] = 7, [np.nan, 2, 1e18]
    return split.batch()._replace(inputs={"note": ids, "who": cells})


@pytest.mark.slow
@pytest.mark.parametrize("absent", representatives(ABSENCES, ["learned"]))
@pytest.mark.parametrize("encoders", [{}, {"note": "bag", "who": "ft_transformer"}])
def test_absent_text_and_tables_have_no_influence(absent, encoders):
    model, rows = make_model(TASK, "concat", encoders, absent), TASK.train.batch()

    @jax.jit
    def run(rows):
        def loss(params):
            outputs = model.apply({"params": params}, rows.inputs, rows.present, train=False)
            return cross_entropy(outputs, rows)[0], outputs

        return jax.value_and_grad(loss, has_aux=True)(init_params(model, rows, 0))

    (_, outputs), grads = run(rows)
    again = run(spoil(TASK.train))
    for got, want in zip(jax.tree.leaves(again), jax.tree.leaves(run(rows)), strict=True):
        np.testing.assert_array_equal(got, want)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((outputs.prediction, grads)))
    text: Tokens = outputs.tokens["note"]
    assert text.mask[~TASK.train.present["note"]].all() == (absent == "learned")
    assert text.mask[~TASK.train.present["note"]].any() == (absent == "learned")
    empty = ~(TASK.train.inputs["note"] >= 0).any(axis=1) & TASK.train.present["note"]
    assert empty.any()
    assert not text.mask[empty].any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fusion", [f if f in ("early", "concat") else slow(f) for f in FUSIONS])
@pytest.mark.slow
def test_text_and_tables_are_learned(fusion, dtype):
    model, tx, rows = make_model(TASK, fusion), optax.adam(3e-3), TASK.train.batch()
    state = init_state(init_params(model, rows, 0), tx, 0)
    step = jax.jit(make_step(model, cross_entropy, tx, dtype=dtype))
    losses = []
    for _ in range(60):
        state, metrics = step(state, rows)
        losses.append(float(metrics["loss"]))
    assert int(state.skipped.total) == 0
    assert losses[-1] < 0.5 * losses[0]


def test_early_fusion_reads_ones_and_zeros():
    model = make_model(TASK, "early")
    assert {n: type(e).__name__ for n, e in model.encoders.items()} == {
        "note": "OneHot", "who": "OneHot"
    }  # fmt: skip
    assert model.encoders["note"].vocabulary == 300
    assert model.encoders["who"].categories == (0, 3, 0)


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        (
            {"note": "mlp"},
            "attribute vocabulary, None or 300, got note=mlp. Use text, or",
        ),
        ({"note": "raw"}, "attribute vocabulary"),
        ({"note": "table"}, "note=table: UsageError: encoder TableEncoder: expected a table"),
        ({"who": "mlp"}, r"attribute categories, None or \(0, 3, 0\), got who=mlp. Use table"),
        ({"who": "text"}, "who=text: UsageError: encoder TextEncoder: expected token ids"),
    ],
)
def test_encoders_that_cannot_read_codes_are_refused(encoders, message):
    with pytest.raises(UsageError, match=message):
        make_model(TASK, "concat", encoders)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"mixup": 0.2}, {"augment": {"note": "noise"}}])
def test_codes_are_not_varied(how):
    task = make_coded_task()
    with pytest.raises(UsageError, match="is text or a table"):
        mmjax.compare(task, ["sum"], steps=2, seeds=1, **how)
