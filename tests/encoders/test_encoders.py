"""Encoders: the contract over the table, and the lengths that each promises."""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import representatives, slow

from mmjax.encoders import ENCODERS, default_encoder
from mmjax.errors import UsageError
from mmjax.layers import removable, remove, sinusoidal_positions
from mmjax.testing import check_encoder

IMAGE, SEQUENCE, VECTOR, VIDEO = (28, 28, 1), (39, 13), (6,), (5, 8, 8, 1)
IDS, TABLE = "token ids", "a table"  # 7 ids of 50 a row; 5 columns, two of categories
CATEGORIES = (0, 4, 0, 3, 0)

# What each encoder reads, and the [length, features] that it makes of it.
SHAPES = {
    "bag": [(IDS, (1, 64))],
    "ft_transformer": [(TABLE, (5, 64)), (VECTOR, (6, 64))],
    "one_hot": [(IDS, (7, 50)), (TABLE, (1, 13)), (VECTOR, (1, 12))],
    "table": [(TABLE, (1, 64)), (VECTOR, (1, 64))],
    "text": [(IDS, (7, 64))],
    "raw": [(IMAGE, (28, 28)), (SEQUENCE, (39, 13)), (VECTOR, (1, 6))],
    "mlp": [(IMAGE, (1, 64)), (SEQUENCE, (1, 64)), (VECTOR, (1, 64))],
    "cnn": [(IMAGE, (4, 32))],
    "cnn1d": [(SEQUENCE, (4, 32))],
    "cnn2d": [(SEQUENCE, (9, 96))],
    "cnn3d": [((4, 5, 6, 1), (4, 32))],
    "gru": [(IMAGE, (28, 64)), (SEQUENCE, (39, 64)), (VECTOR, (1, 64))],
    "patches": [(IMAGE, (16, 64))],
    "transformer": [(IMAGE, (28, 64)), (SEQUENCE, (39, 64)), (VECTOR, (1, 64))],
    "video": [(VIDEO, (5, 64))],
}
CASES = [(name, *case) for name, cases in SHAPES.items() for case in cases]


def make_input(shape):
    rng = np.random.default_rng(0)
    if shape == IDS:
        ids = rng.integers(0, 50, (4, 7))
        return jnp.asarray(np.where(np.arange(7) < [[7], [3], [1], [0]], ids, -1), jnp.int32)
    if shape == TABLE:
        cells = rng.normal(size=(4, 5))
        cells[:, 1], cells[:, 3] = [0, 3, 1, 2], [2, 0, 1, 1]
        cells[1, 0], cells[2, 2], cells[0, 4] = np.nan, np.nan, np.nan
        return jnp.asarray(cells, jnp.float32)
    return jnp.asarray(rng.normal(size=(4, *shape)), jnp.float32)


def make(name, shape):
    known = {IDS: {"vocabulary": 50}, TABLE: {"categories": CATEGORIES}}
    return ENCODERS[name](**known.get(shape, {}))


def test_every_encoder_has_its_shapes_here():
    assert set(SHAPES) == set(ENCODERS)


@pytest.mark.parametrize(("name", "shape", "tokens"), CASES)
def test_tokens_have_the_promised_length_and_width(name, shape, tokens):
    init = partial(make(name, shape).init_with_output, jax.random.key(0), train=False)
    out, _ = jax.eval_shape(init, make_input(shape))
    assert out.values.shape == (4, *tokens)
    assert out.mask.shape == (4, tokens[0])


@pytest.mark.parametrize("name", representatives(ENCODERS, ["mlp", "raw", "table", "bag"]))
def test_contract(name):
    shape = SHAPES[name][0][0]
    check_encoder(make(name, shape), make_input(shape))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENCODERS if removable(ENCODERS[name]())])
def test_contract_without_components(name):
    shape = SHAPES[name][0][0]
    encoder = make(name, shape)
    check_encoder(reduce(remove, removable(encoder), encoder), make_input(shape))


@pytest.mark.parametrize("name", ["transformer", slow("patches"), slow("text")])
def test_positions_alone_tell_the_order_of_tokens(name):
    """Without them, what is put in another order comes out in that order."""
    x = make_input(SHAPES[name][0][0])
    if name == "patches":  # whole rows of patches
        x, flipped = x[:, :14, :7], x[:, jnp.r_[7:14, :7], :7]
    else:
        x = x[:1, :5]
        flipped = x[:, ::-1]
    encoder = make(name, SHAPES[name][0][0])
    less, variables = remove(encoder, "positions"), encoder.init(jax.random.key(0), x, train=False)
    run = lambda encoder, x: jax.jit(partial(encoder.apply, train=False))(variables, x).values
    np.testing.assert_allclose(run(less, flipped)[:, ::-1], run(less, x), rtol=1e-4, atol=1e-5)
    assert np.abs(run(encoder, flipped)[:, ::-1] - run(encoder, x)).max() > 1e-2


def test_each_kind_of_input_has_a_default():
    shapes = {VECTOR: "mlp", SEQUENCE: "cnn1d", IMAGE: "cnn", VIDEO: "video"}
    assert {shape: default_encoder(shape) for shape in shapes} == shapes
    assert default_encoder(VIDEO, "volume") == "cnn3d"


def apply_fresh(encoder, shape):
    return encoder.init_with_output(jax.random.key(0), make_input(shape), train=False)[0]


@pytest.mark.parametrize(
    "shape", [(3, 5), (1, 5), (4, 5), (3, 28, 1), (28, 2, 1), (4, 4, 1), (1, 4, 4, 1), (5, 3, 9, 1)]
)
def test_the_default_encoder_of_a_small_shape_gives_tokens(shape):
    assert apply_fresh(ENCODERS[default_encoder(shape)](), shape).values.size


@pytest.mark.parametrize(
    ("name", "shape", "least"),
    [
        ("cnn", (28, 3, 1), 4),
        ("cnn1d", (3, 5), 4),
        ("cnn2d", (9, 3), 4),
        ("patches", (9, 6, 1), 7),
        ("cnn3d", (3, 8, 8, 1), 4),
    ],
)
def test_an_encoder_that_would_leave_nothing_names_itself(name, shape, least):
    encoder = ENCODERS[name]()
    with pytest.raises(
        UsageError, match=rf"{type(encoder).__name__}: .* {least} along.*encoder mlp"
    ):
        apply_fresh(encoder, shape)


def test_patches_are_squares_of_the_image():
    """A patch's token depends on its own square of pixels alone, before attention."""
    encoder = ENCODERS["patches"](patch=2, width=3, num_layers=0)
    x = make_input((4, 6, 1))
    params = encoder.init(jax.random.key(0), x, train=False)
    base = encoder.apply(params, x, train=False).values
    moved = encoder.apply(params, x.at[:, 2:4, 4:6].add(1.0), train=False).values
    changed = np.abs(moved - base).max(axis=(0, 2)) > 1e-6
    assert changed.tolist() == [False] * 5 + [True]


def test_sinusoidal_positions_follow_the_paper():
    got = sinusoidal_positions(5, 4)
    for position in range(5):
        for i in range(2):
            angle = position / 10_000 ** (2 * i / 4)
            np.testing.assert_allclose(got[position, 2 * i], np.sin(angle), atol=1e-6)
            np.testing.assert_allclose(got[position, 2 * i + 1], np.cos(angle), atol=1e-6)
    assert sinusoidal_positions(5, 3).shape == (5, 3)
