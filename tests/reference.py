"""The mathematics that fusions share, in NumPy, and generic tokens and parameters to try it on."""

import jax
import numpy as np
from scipy.special import softmax

from mmjax.fusion import FUSIONS
from mmjax.testing import make_tokens
from mmjax.types import Outputs, Tokens

SHAPES = {"audio": (3, 5), "image": (4, 6), "text": (2, 3)}
PRESENT = [[1, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 1], [0, 0, 0]]
OUT_DIM, WIDTH = 3, 8


def ragged(num_modalities=3):
    """Tokens of rows that lack a modality, or all, and of row 3, which lacks last tokens."""
    shapes = dict(list(SHAPES.items())[:num_modalities])
    tokens = make_tokens(shapes, batch=len(PRESENT))
    for i, (n, (values, mask)) in enumerate(tokens.items()):
        here = np.array(PRESENT, bool)[:, i : i + 1]
        tokens[n] = Tokens(values, mask.at[3, -1].set(False) & here)
    return tokens


def fuse(name, tokens, **fields):
    """Outputs and parameters of a fusion whose parameters, biases too, are all generic."""
    return run(FUSIONS[name](out_dim=OUT_DIM, **({"width": WIDTH} | fields)), tokens)


def run(fusion, tokens):
    """The same for a module."""
    variables = random_variables(fusion, tokens, train=False)
    result = jax.jit(lambda v: fusion.apply(v, tokens, train=False))(variables)
    outputs = result if isinstance(result, Outputs) else Outputs(result)
    return jax.device_get(outputs), variables["params"]


def random_variables(module, *args, **kwargs):
    """Variables of a module with every parameter, biases too, drawn at random."""
    shapes = jax.eval_shape(lambda key: module.init(key, *args, **kwargs), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(scale=0.4, size=x.shape).astype(np.float32), shapes)


def assert_close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


# The mathematics in NumPy


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def joint(p, vectors):
    """A Dense layer on a concatenation."""
    kernel = np.concatenate([p[n]["kernel"] for n in vectors])
    return np.concatenate(list(vectors.values()), axis=-1) @ kernel + p["bias"]


def mlp(p, x):
    return dense(p["Dense_1"], np.maximum(dense(p["Dense_0"], x), 0))


def clean(tokens):
    """{name: [batch, length, features]} with zeros where masked, and the masks."""
    masks = {n: np.asarray(t.mask) for n, t in tokens.items()}
    return {n: np.where(masks[n][..., None], t.values, 0) for n, t in tokens.items()}, masks


def mean(values, mask):
    return values.sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


def pool(tokens):
    values, masks = clean(tokens)
    return {n: mean(values[n], masks[n]) for n in values}


def presence(tokens):
    return np.stack([np.asarray(t.mask).any(axis=1) for t in tokens.values()], axis=1)


def project(p, tokens):
    """[batch, modality, width]."""
    vectors = [np.tanh(dense(p[f"project_{n}"], x)) for n, x in pool(tokens).items()]
    return np.stack(vectors, axis=1)


def weigh(scores, present):
    """Softmax over those present, row by row; zeros where there is none."""
    weights = np.zeros(present.shape)
    for row, here in enumerate(present):
        if here.any():
            weights[row, here] = softmax(np.broadcast_to(scores, present.shape)[row, here])
    return weights


def by_row(projected, present, reduce):
    """Reduces the vectors of the modalities present, row by row; zeros where there is none."""
    rows = [
        reduce(x[here], axis=0) if here.any() else np.zeros(x.shape[-1])
        for x, here in zip(projected, present, strict=True)
    ]
    return np.stack(rows)


def norm(p, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attend(p, queries, context, mask):
    """Multi-head attention to the valid tokens alone."""
    weights = attention_weights(p, queries, context, mask)
    values = np.einsum("bkw,whd->bhkd", context, p["value"]["kernel"])
    return np.einsum("bhqd,hdw->bqw", weights @ values, p["out"]["kernel"])


def attention_weights(p, queries, context, mask):
    """[batch, heads, queries, length], one row and one head at a time; zeros where masked."""
    num_heads = p["query"]["kernel"].shape[1]
    weights = np.zeros((len(queries), num_heads, queries.shape[1], context.shape[1]))
    for row in np.flatnonzero(mask.any(axis=1)):
        here = mask[row]
        for head in range(num_heads):
            q = queries[row] @ p["query"]["kernel"][:, head]
            k = context[row][here] @ p["key"]["kernel"][:, head]
            weights[row, head][:, here] = softmax(q @ k.T / np.sqrt(q.shape[-1]), axis=-1)
    return weights


def block(p, x, mask, context=None, context_mask=None):
    queries = norm(p["LayerNorm_0"], x)
    if context is None:
        keys, context_mask = queries, mask
    else:
        keys = norm(p["norm_context"], context)
    gate = lambda name: np.tanh(p[name]) if name in p else 1
    x = x + gate("gate_read") * attend(p["Attention_0"], queries, keys, context_mask)
    hidden = norm(p["LayerNorm_1"], x)
    return x + gate("gate_hidden") * dense(p["Dense_0"], gelu(dense(p["Dense_1"], hidden)))


def embed(p, tokens):
    values, _ = clean(tokens)
    embedded = {}
    for n, x in values.items():
        half = WIDTH // 2
        angle = np.arange(x.shape[1])[:, None] / 10_000 ** (np.arange(half) / half)
        positions = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(-1, WIDTH)
        embedded[n] = dense(p[f"project_{n}"], x) + positions
    return embedded


def branches(p, tokens):
    """Logits [batch, modality, out_dim] of each readout, and which count."""
    logits = [mlp(p[f"readout_{n}"], x) for n, x in pool(tokens).items()]
    return np.stack(logits, axis=1), presence(tokens)
