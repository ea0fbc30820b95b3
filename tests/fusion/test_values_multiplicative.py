"""Multiplicative, bilinear and tensor fusions against NumPy, and the identities between them."""

from functools import reduce

import jax
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    by_row,
    dense,
    pool,
    presence,
    project,
    ragged,
    run,
)

from mmjax.errors import UsageError
from mmjax.fusion.bilinear import MCBFusion, MFBFusion, MFHFusion, MLBFusion, count_sketch
from mmjax.fusion.multiplicative import (
    MatrixInteractionFusion,
    ScalarInteractionFusion,
    VectorInteractionFusion,
)
from mmjax.fusion.tensor import LowRankFusion, TensorFusion
from mmjax.fusion.tucker import BlockFusion, MutanFusion, TuckerFusion
from mmjax.testing import make_tokens

SIZE = {"out_dim": OUT_DIM, "width": WIDTH}


def predict(fusion, params, tokens):
    return jax.jit(lambda p: fusion.apply({"params": p}, tokens, train=False))(params)


def linear(p, tokens, prefix="project"):
    """[batch, modality, size] without tanh."""
    return np.stack([dense(p[f"{prefix}_{n}"], x) for n, x in pool(tokens).items()], axis=1)


def multiply(factors, tokens):
    return by_row(factors, presence(tokens), np.prod)


def fold(combine, vectors, tokens):
    """Row by row over the modalities present, in the order of their names."""
    rows = []
    for row, here in zip(vectors, presence(tokens), strict=True):
        there = [(n, x) for n, x, is_here in zip(tokens, row, here, strict=True) if is_here]
        step = lambda so_far, item: (item[0], combine(item[0], so_far[1], item[1]))
        rows.append(reduce(step, there)[1] if there else np.zeros(row.shape[-1]))
    return np.stack(rows)


def unit(z):
    """Length one, row by row, or zero."""
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return np.divide(z, length, out=np.zeros_like(z), where=length > 0)


def power_norm(z):
    return unit(z / np.sqrt(np.abs(z) + 1e-4))


# Multiplicative interactions


@pytest.mark.parametrize("fusion", [ScalarInteractionFusion, VectorInteractionFusion])
def test_a_gain_and_a_shift(fusion):
    tokens = ragged()
    got, p = run(fusion(**SIZE), tokens)
    combine = lambda n, y, h: dense(p[f"gain_{n}"], h) * y + dense(p[f"shift_{n}"], h)
    fused = fold(combine, project(p, tokens), tokens)
    assert_close(got.prediction, dense(p["readout"], fused))
    assert p["gain_image"]["bias"].shape == ((1,) if fusion is ScalarInteractionFusion else (8,))


def test_mi_matrix():
    tokens = ragged()
    got, p = run(MatrixInteractionFusion(**SIZE), tokens)

    def combine(n, y, h):
        gain = p[f"gain_{n}"]
        bilinear = np.einsum("i,ijk,j->k", h, gain["kernel"], y)
        return bilinear + y @ gain["bias"] + dense(p[f"shift_{n}"], h)

    assert_close(got.prediction, dense(p["readout"], fold(combine, project(p, tokens), tokens)))


def test_a_vector_is_a_diagonal_matrix():
    tokens = ragged()
    want, p = run(VectorInteractionFusion(**SIZE), tokens)
    diagonal = lambda x: x[..., None] * np.eye(WIDTH, dtype=np.float32)
    gains = {n: jax.tree.map(diagonal, p[n]) for n in p if n.startswith("gain")}
    got = predict(MatrixInteractionFusion(**SIZE), p | gains, tokens)
    assert_close(got.prediction, want.prediction)


def test_a_scalar_is_a_vector_of_equals():
    tokens = ragged()
    want, p = run(ScalarInteractionFusion(**SIZE), tokens)
    repeat = lambda x: np.repeat(x, WIDTH, axis=-1)
    wide = {n: jax.tree.map(repeat, p[n]) for n in p if n.startswith(("gain", "shift"))}
    got = predict(VectorInteractionFusion(**SIZE), p | wide, tokens)
    assert_close(got.prediction, want.prediction)


# Bilinear pooling


def test_mlb():
    tokens = ragged()
    got, p = run(MLBFusion(**SIZE), tokens)
    assert_close(got.prediction, dense(p["readout"], multiply(linear(p, tokens), tokens)))


def test_mfb():
    tokens = ragged()
    got, p = run(MFBFusion(**SIZE, k=3), tokens)
    sums = multiply(linear(p, tokens), tokens).reshape(-1, WIDTH, 3).sum(axis=2)
    assert_close(got.prediction, dense(p["readout"], power_norm(sums)))
    np.testing.assert_allclose(got.fused, unit(np.sign(sums) * np.sqrt(np.abs(sums))), atol=0.01)


def test_mfh():
    tokens = ragged()
    got, p = run(MFHFusion(**SIZE, k=2, num_blocks=3), tokens)
    blocks = [multiply(linear(p, tokens, f"project_{i}"), tokens) for i in range(3)]
    orders = [blocks[0], blocks[0] * blocks[1], blocks[0] * blocks[1] * blocks[2]]
    sums = [x.reshape(-1, WIDTH, 2).sum(axis=2) for x in orders]
    want = dense(p["readout"], np.concatenate([power_norm(x) for x in sums], axis=1))
    assert_close(got.prediction, want)


def test_mcb_is_the_count_sketch_of_the_outer_product():
    tokens, size = ragged(), 24
    got, p = run(MCBFusion(**SIZE, size=size), tokens)
    sketches = [count_sketch(n, WIDTH, size) for n in tokens]
    places, signs = [np.abs(s).argmax(axis=1) for s in sketches], [s.sum(axis=1) for s in sketches]
    want = np.zeros((len(got.fused), size))
    for row, (vectors, here) in enumerate(zip(project(p, tokens), presence(tokens), strict=True)):
        there = np.flatnonzero(here)
        for entry in np.ndindex(*[WIDTH] * len(there)) if len(there) else []:
            where = list(zip(there, entry, strict=True))
            place = sum(places[m][i] for m, i in where) % size
            want[row, place] += np.prod([signs[m][i] * vectors[m][i] for m, i in where])
    np.testing.assert_allclose(got.fused, power_norm(want), rtol=1e-3, atol=1e-4)
    assert_close(got.prediction, dense(p["readout"], got.fused))


def test_a_sketch_has_one_sign_per_coordinate_and_is_the_same_in_every_program():
    sketch = count_sketch("audio", 64, 32)
    np.testing.assert_array_equal(np.abs(sketch).sum(axis=1), 1)
    assert np.abs(sketch.sum()) < 32
    assert len(set(np.abs(sketch).argmax(axis=1))) > 20
    np.testing.assert_array_equal(np.abs(sketch).argmax(axis=1)[:6], [23, 14, 8, 13, 10, 25])
    np.testing.assert_array_equal(sketch.sum(axis=1)[:6], [-1, 1, 1, 1, -1, -1])
    assert not np.array_equal(sketch, count_sketch("image", 64, 32))


def test_mfb_of_one_product_is_a_normalised_mlb():
    tokens = ragged()
    mlb, p = run(MLBFusion(**SIZE), tokens)
    got = predict(MFBFusion(**SIZE, k=1), p, tokens)
    assert_close(got.fused, power_norm(mlb.fused))


def test_mfh_of_one_block_is_mfb():
    tokens = ragged()
    want, p = run(MFBFusion(**SIZE), tokens)
    renamed = {n.replace("project_", "project_0_"): x for n, x in p.items()}
    got = predict(MFHFusion(**SIZE, num_blocks=1), renamed, tokens)
    assert_close(got.prediction, want.prediction)


@pytest.mark.parametrize("fusion", [MCBFusion, MFBFusion, BlockFusion])
def test_roots_and_lengths_have_finite_gradients_at_zero(fusion):
    tokens = make_tokens({"audio": (1, 3), "image": (2, 4)})

    def loss(variables, values):
        filled = {n: t._replace(values=values[n]) for n, t in tokens.items()}
        return fusion(**SIZE).apply(variables, filled, train=False).prediction.sum()

    @jax.jit
    def gradients():
        zeros = {n: 0 * t.values for n, t in tokens.items()}
        variables = fusion(**SIZE).init(jax.random.key(0), tokens, train=False)
        return jax.grad(loss, argnums=(0, 1))(variables, zeros)

    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients()))


# Tucker


def test_tucker():
    tokens = ragged()
    got, p = run(TuckerFusion(**SIZE), tokens)
    combine = lambda n, a, b: np.einsum("i,j,ijk->k", a, b, p[f"core_{n}"][0])
    assert_close(got.prediction, dense(p["readout"], fold(combine, linear(p, tokens), tokens)))


def test_mutan():
    tokens = ragged()
    got, p = run(MutanFusion(**SIZE, rank=2), tokens)
    factors = linear(p, tokens)
    fused = 0
    for r in range(2):
        cores = [p[f"core_{n}"][0, :, r] for n in tokens]
        fused += multiply(np.einsum("bmi,mik->bmk", factors, np.stack(cores)), tokens)
    assert_close(got.prediction, dense(p["readout"], fused))


def test_block():
    tokens = ragged()
    got, p = run(BlockFusion(out_dim=OUT_DIM, width=7, rank=2), tokens)
    chunks = np.split(linear(p, tokens), 4, axis=-1)
    fused = []
    for c, chunk in enumerate(chunks):
        cores = np.stack([p[f"core_{n}"][c] for n in tokens])
        parts = [np.einsum("bmi,mik->bmk", chunk, cores[:, :, r]) for r in range(2)]
        fused.append(power_norm(sum(multiply(part, tokens) for part in parts)))
    assert_close(got.prediction, dense(p["readout"], np.concatenate(fused, axis=1)))
    assert got.fused.shape[1] == 8  # four chunks of two are the nearest to seven
    here = presence(tokens).any(axis=1, keepdims=True)
    assert_close(np.square(got.fused).reshape(-1, 4, 2).sum(axis=2), np.tile(here, 4))


def test_block_with_full_cores():
    tokens = ragged()
    got, p = run(BlockFusion(**SIZE, rank=None), tokens)
    fused = []
    for c, chunk in enumerate(np.split(linear(p, tokens), 4, axis=-1)):
        combine = lambda n, a, b, c=c: np.einsum("i,j,ijk->k", a, b, p[f"core_{n}"][c])
        fused.append(power_norm(fold(combine, chunk, tokens)))
    assert_close(got.prediction, dense(p["readout"], np.concatenate(fused, axis=1)))


@pytest.mark.parametrize("normalise", [True, False])
def test_a_loud_chunk_drowns_the_others_unless_each_is_normalised(normalise):
    tokens, fusion = make_tokens({"audio": (1, 3)}), BlockFusion(**SIZE, normalise=normalise)
    _, p = run(fusion, tokens)
    loud = np.array([100, 1, 1, 1], np.float32)[:, None, None, None]
    fused = predict(fusion, p | {"core_audio": loud * p["core_audio"]}, tokens).fused
    length = np.linalg.norm(fused.reshape(-1, 4, 2), axis=2)
    assert (length[:, 0] / length[:, 1:].max(axis=1) < 1.001).all() == normalise


def test_tucker_with_an_identity_core_is_mlb():
    tokens = ragged()
    want, p = run(MLBFusion(**SIZE), tokens)
    identity = np.zeros([1, *[WIDTH] * 3], np.float32)
    identity[0, *(np.arange(WIDTH),) * 3] = 1
    cores = {"core_image": identity, "core_text": identity}
    assert_close(predict(TuckerFusion(**SIZE), p | cores, tokens).prediction, want.prediction)


def test_mutan_is_tucker_with_a_core_of_low_rank():
    tokens = ragged(2)
    want, p = run(MutanFusion(**SIZE), tokens)
    core = np.einsum("irk,jrk->ijk", p["core_audio"][0], p["core_image"][0])
    shared = {n: x for n, x in p.items() if not n.startswith("core")}
    got = predict(TuckerFusion(**SIZE), shared | {"core_image": core[None]}, tokens)
    both = presence(tokens).all(axis=1)
    assert_close(got.prediction[both], want.prediction[both])


def test_block_is_mutan_with_a_core_in_blocks():
    tokens = ragged()
    want, p = run(BlockFusion(**SIZE, normalise=False), tokens)
    cores = {n: np.zeros((1, WIDTH, 5, WIDTH), np.float32) for n in p if n.startswith("core")}
    for n, core in cores.items():
        for c in range(4):
            chunk = slice(2 * c, 2 * c + 2)
            core[0, chunk, :, chunk] = p[n][c]
    assert_close(predict(MutanFusion(**SIZE), p | cores, tokens).prediction, want.prediction)


@pytest.mark.parametrize(("rank", "other"), [(5, MutanFusion), (None, TuckerFusion)])
def test_block_of_one_chunk_is_mutan_or_tucker(rank, other):
    tokens = ragged()
    want, p = run(other(**SIZE), tokens)
    got = predict(BlockFusion(**SIZE, rank=rank, num_chunks=1, normalise=False), p, tokens)
    assert_close(got.prediction, want.prediction)


def test_a_core_whose_rank_is_its_size_is_full():
    tokens = make_tokens({"audio": (1, 3), "image": (2, 4)})
    want, p = run(BlockFusion(**SIZE, rank=None), tokens)
    core = p["core_image"]  # [chunk, i, j, k] = sum_r [r == i] core[chunk, r, j, k]
    one = np.einsum("ir,ck->cirk", np.eye(2), np.ones((4, 2)))
    cores = {"core_audio": one, "core_image": core.swapaxes(1, 2)}
    got = predict(BlockFusion(**SIZE, rank=2), p | cores, tokens)
    assert_close(got.prediction, want.prediction)


# Tensors


def test_tensor():
    tokens = ragged()
    got, p = run(TensorFusion(**SIZE, size=2), tokens)
    vectors = np.where(presence(tokens)[..., None], project(p, tokens), 0)
    products = [reduce(np.kron, [np.append(1, x) for x in row]) for row in vectors]
    hidden = np.maximum(np.stack(products) @ p["tensor"]["kernel"], 0)
    assert_close(got.prediction, dense(p["readout"], hidden))


def test_low_rank():
    tokens = ragged()
    got, p = run(LowRankFusion(**SIZE, rank=2), tokens)
    vectors = project(p, tokens)
    hidden = np.zeros((len(vectors), WIDTH))
    for row, here in enumerate(presence(tokens)):
        for r in range(2):
            factors = [
                np.append(1, x) @ np.vstack([np.ones(WIDTH), p[f"factor_{n}"]["kernel"][:, r]])
                for n, x, is_here in zip(tokens, vectors[row], here, strict=True)
                if is_here
            ]
            hidden[row] += p["weights"][r] * np.prod(factors, axis=0)
    assert_close(got.prediction, dense(p["readout"], np.maximum(hidden, 0)))


def test_low_rank_of_full_rank_is_tensor_fusion():
    tokens, width = ragged(), 2
    want, p = run(TensorFusion(out_dim=OUT_DIM, width=width, size=width), tokens)
    # The unit vectors as combinations of (1, 0, 0), (1, 1, 0) and (1, 0, 1).
    basis = np.array([[1, 0, 0], [-1, 1, 0], [-1, 0, 1]])
    full = p["tensor"]["kernel"].reshape(3, 3, 3, width)
    weights = np.einsum("ijkw,ia,jb,kc->abcw", full, basis, basis, basis).reshape(27, width)
    vectors = np.array([[0, 0], [1, 0], [0, 1]])
    entries = np.indices((3, 3, 3)).reshape(3, 27)
    kernel = lambda m: np.repeat(vectors[entries[m]].T[..., None], width, axis=2)
    factors = {f"factor_{n}": {"kernel": kernel(m)} for m, n in enumerate(tokens)}
    shared = {n: x for n, x in p.items() if n != "tensor"}
    got = predict(
        LowRankFusion(out_dim=OUT_DIM, width=width, rank=27),
        {**shared, **factors, "weights": weights},
        tokens,
    )
    assert_close(got.prediction, want.prediction)


def tensor_params(num_modalities, **fields):
    tokens = make_tokens({f"m{i:02}": (1, 3) for i in range(num_modalities)})
    init = lambda: TensorFusion(**SIZE, **fields).init(jax.random.key(0), tokens, train=False)
    return jax.eval_shape(init)["params"]


@pytest.mark.parametrize(("num_modalities", "size"), [(1, 16), (3, 16), (4, 15), (8, 3), (16, 1)])
def test_a_tensor_is_as_large_as_the_limit_allows(num_modalities, size):
    params = tensor_params(num_modalities)
    assert params["project_m00"]["kernel"].shape == (3, size)
    assert params["tensor"]["kernel"].shape == ((size + 1) ** num_modalities, WIDTH)


@pytest.mark.parametrize(("num_modalities", "fields"), [(4, {"size": 16}), (17, {})])
def test_a_tensor_above_the_limit_is_refused(num_modalities, fields):
    with pytest.raises(UsageError, match="65536 entries at most"):
        tensor_params(num_modalities, **fields)
