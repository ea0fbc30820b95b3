"""Encoders of token ids and tables, against NumPy; and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders import ENCODERS, Bag, FTTransformer, OneHot, TableEncoder, TextEncoder
from mmjax.errors import UsageError
from mmjax.layers import sinusoidal_positions

IDS = jnp.array([[3, 0, 2, 2], [1, -1, -1, -1], [-1, -1, -1, -1]], jnp.int32)
CATEGORIES = (0, 4, 0)
CELLS = jnp.array([[0.5, 3, -2.0], [jnp.nan, 0, 1.0], [1.5, jnp.nan, jnp.nan]], jnp.float32)


def initialise(encoder, x):
    tokens, variables = encoder.init_with_output(jax.random.key(0), x, train=False)
    return tokens, jax.device_get(variables.get("params", {}))


def dense(params, x):
    return x @ params["kernel"] + params["bias"]


def test_a_bag_is_the_mean_of_the_embeddings():
    tokens, params = initialise(Bag(width=5, vocabulary=4), IDS)
    table = params["Embed_0"]["embedding"]
    means = np.stack([table[[3, 0, 2, 2]].mean(axis=0), table[1], np.zeros(5)])
    want = np.maximum(dense(params["Dense_0"], means), 0)
    np.testing.assert_allclose(tokens.values[:, 0], want, atol=1e-5)
    assert tokens.mask.tolist() == [[True], [True], [False]]
    turned, _ = initialise(Bag(width=5, vocabulary=4), IDS[:, ::-1])
    np.testing.assert_allclose(turned.values, tokens.values, atol=1e-6)


def test_text_is_embeddings_with_positions_and_padding_is_masked():
    encoder = TextEncoder(width=8, num_layers=0, vocabulary=4)
    tokens, params = initialise(encoder, IDS)
    np.testing.assert_array_equal(tokens.mask, np.asarray(IDS) >= 0)
    x = params["Embed_0"]["embedding"][[3, 0, 2, 2]] + np.asarray(sinusoidal_positions(4, 8))
    want = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    np.testing.assert_allclose(tokens.values[0], want, atol=1e-3)


def test_padding_has_no_influence_on_text():
    encoder = TextEncoder(width=8, vocabulary=4)
    tokens, params = initialise(encoder, IDS[:2, :1])
    longer = encoder.apply({"params": params}, IDS[:2], train=False)
    np.testing.assert_allclose(longer.values[1, :1], tokens.values[1], atol=1e-5)


def test_a_table_is_numbers_what_is_missing_and_embedded_categories():
    tokens, params = initialise(
        TableEncoder(widths=(6, 4), embedding=2, categories=CATEGORIES), CELLS
    )
    known = np.nan_to_num(np.asarray(CELLS))
    missing = np.isnan(np.asarray(CELLS))[:, [0, 2]]
    codes = params["Embed_0"]["embedding"][[3, 0, 0]]
    x = np.concatenate([known[:, [0, 2]], missing, codes], axis=1)
    hidden = np.maximum(dense(params["MLP_0"]["Dense_0"], x), 0)
    want = np.maximum(dense(params["MLP_0"]["Dense_1"], hidden), 0)
    np.testing.assert_allclose(tokens.values[:, 0], want, atol=1e-5)


def test_categories_of_two_columns_do_not_share_embeddings():
    encoder = TableEncoder(categories=(3, 2))
    _, params = initialise(encoder, jnp.ones((1, 2)))
    assert params["Embed_0"]["embedding"].shape == (5, 8)
    out = lambda params, x: encoder.apply({"params": params}, x, train=False).values.sum()
    for a in range(3):
        for b in range(2):
            grads = jax.grad(out)(params, jnp.array([[a, b]], float))["Embed_0"]["embedding"]
            assert np.flatnonzero(np.abs(grads).sum(axis=1)).tolist() == [a, 3 + b]


def test_the_feature_tokenizer_follows_the_paper():
    """Gorishniy et al., section 3.3: x_j W_j + b_j, and the embedding plus b_j."""
    encoder = FTTransformer(width=8, num_layers=0, categories=CATEGORIES)
    tokens, params = initialise(encoder, CELLS)
    weight, missing, bias = (params[name] for name in ("weight", "missing", "bias"))
    rows = [
        [0.5 * weight[0], -2.0 * weight[1], params["Embed_0"]["embedding"][3]],
        [missing[0], weight[1], params["Embed_0"]["embedding"][0]],
    ]
    x = np.array(rows) + bias
    want = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
    np.testing.assert_allclose(tokens.values[:2], want, atol=1e-3)


def test_one_hot_has_a_place_for_every_id_until_256_and_shares_them_from_there_on():
    ids = jnp.array([[3, 255, 256, 700, -1]], jnp.int32)
    tokens, params = initialise(OneHot(vocabulary=1000), ids)
    assert not params
    assert tokens.values.shape == (1, 5, 256)
    assert tokens.values.argmax(axis=-1)[0, :4].tolist() == [3, 255, 0, 700 - 2 * 256]
    assert tokens.values.sum(axis=-1).tolist() == [[1, 1, 1, 1, 0]]
    assert tokens.mask.tolist() == [[True] * 4 + [False]]
    few, _ = initialise(OneHot(vocabulary=4), IDS)
    assert few.values.shape == (3, 4, 4)


def test_one_hot_of_a_table():
    tokens, _ = initialise(OneHot(categories=CATEGORIES), CELLS)
    want = [[0.5, -2, 0, 0, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0, 0, 0], [1.5, 0, 0, 1, 1, 0, 0, 0]]
    assert tokens.values[:, 0].tolist() == want


@pytest.mark.parametrize("name", ["text", "bag", "table", "ft_transformer", "one_hot"])
def test_bfloat16_stays_bfloat16_and_codes_are_exact(name):
    ids = name in ("text", "bag")
    known = {"vocabulary": 700} if ids else {"categories": (0, 256)}
    x = jnp.array([[699, 257]], jnp.int32) if ids else jnp.array([[0.5, 255]], jnp.float32)
    encoder = ENCODERS[name](**known)
    tokens, params = initialise(encoder, x)
    narrow = lambda a: jnp.asarray(a, jnp.bfloat16)
    got = encoder.apply(
        {"params": jax.tree.map(narrow, params)}, x if ids else narrow(x), train=False
    )
    assert got.values.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.values.astype(float), tokens.values, atol=0.1)


@pytest.mark.parametrize(
    ("encoder", "x", "message"),
    [
        (TextEncoder(vocabulary=4), CELLS, "TextEncoder: expected token ids"),
        (Bag(), IDS, r"Bag: vocabulary is not set\. make_model sets it"),
        (TableEncoder(), IDS, "TableEncoder: expected a table"),
        (TableEncoder(categories=(0, 2)), CELLS, "a table .*, of 2 columns, got float32"),
        (FTTransformer(), CELLS[..., None], "FTTransformer: expected a table"),
        (OneHot(), IDS, "OneHot: vocabulary is not set"),
    ],
)
def test_inputs_of_another_kind_are_refused(encoder, x, message):
    with pytest.raises(UsageError, match=message):
        encoder.init(jax.random.key(0), x, train=False)
