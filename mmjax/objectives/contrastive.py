"""Embeddings that belong together are to be near each other, and far from the others."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from mmjax.errors import UsageError
from mmjax.layers import is_present, masked_mean, mean_where
from mmjax.objectives.row_losses import Result, classes_of, finish, row_losses
from mmjax.types import Array, Batch, Outputs, Tokens


def info_nce(
    outputs: Outputs, batch: Batch, *, weight: float = 0.1, temperature: float = 0.07
) -> Result:
    """Cross-entropy, and which row of one modality belongs to a row of another, in nats.

    An embedding is the mean of a modality's valid tokens, scaled to unit length. For each ordered
    pair of modalities, ``-log softmax_j(z_i . w_j / temperature)_i`` averaged over the rows that
    have both, and its mean over the pairs counts ``weight`` times. The temperature is fixed; in
    CLIP it is learned. Outputs of one modality, or of none, are left with the cross-entropy.

    Reference: Radford et al., Learning Transferable Visual Models From Natural Language
    Supervision (arXiv:2103.00020), after van den Oord et al., Representation Learning with
    Contrastive Predictive Coding (arXiv:1807.03748).

    Raises:
        UsageError: the tokens of the modalities differ in width.
    """
    loss = row_losses(outputs.prediction, batch).mean()
    if len(outputs.tokens) > 1:
        views, present = _views(outputs.tokens)
        loss = loss + weight * _mismatch(views, present, temperature)
    return finish(loss, outputs, batch)


def supervised_contrastive(
    outputs: Outputs, batch: Batch, *, weight: float = 0.1, temperature: float = 0.1
) -> Result:
    """Cross-entropy, and embeddings of one class near each other, in nats.

    The embeddings are the fused representations where the fusion has them; else every modality of
    every row gives one, the mean of its valid tokens. They are scaled to unit length. With ``P``
    the others of the same class, ``-mean_{p in P} log softmax_{a != i}(z_i . z_a / temperature)_p``
    averaged over the embeddings that have a ``P`` counts ``weight`` times. What is absent is no
    embedding, nor is the fusion of nothing. Outputs with neither tokens nor a fused
    representation are left with the cross-entropy.

    Reference: Khosla et al., Supervised Contrastive Learning (arXiv:2004.11362), equation 2.

    Raises:
        UsageError: the tokens of the modalities differ in width, and nothing is fused; or targets
            are no classes.
    """
    loss, target = row_losses(outputs.prediction, batch).mean(), classes_of(batch)
    if outputs.fused is not None:
        everywhere = jnp.ones(target.shape, bool)
        rows = is_present(outputs.tokens).any(axis=1) if outputs.tokens else everywhere
        loss = loss + weight * _spread(_unit(outputs.fused), rows, target, temperature)
    elif outputs.tokens:
        views, present = _views(outputs.tokens)
        classes = jnp.repeat(target, present.shape[1])
        flat = views.reshape(-1, views.shape[-1])  # [batch * modality, features]
        loss = loss + weight * _spread(flat, present.reshape(-1), classes, temperature)
    return finish(loss, outputs, batch)


def _views(tokens: Mapping[str, Tokens]) -> tuple[jax.Array, jax.Array]:
    """Unit embeddings [batch, modality, features], names sorted, and which count."""
    widths = {n: tokens[n].values.shape[-1] for n in sorted(tokens)}
    if len(set(widths.values())) > 1:
        raise UsageError(
            "objective",
            expected="modalities whose tokens have one width, to compare them",
            got=", ".join(f"{n}: {width}" for n, width in widths.items()),
            fix="Give them encoders of the same width.",
        )
    pooled = jnp.stack([masked_mean(tokens[n]) for n in widths], axis=1)
    return _unit(pooled), is_present(tokens)


def _unit(x: jax.Array) -> jax.Array:
    """Vectors [..., features] scaled to length one; zero stays zero, with a finite gradient."""
    return x / optax.safe_norm(x, 1e-6, axis=-1, keepdims=True)


def _mismatch(views: jax.Array, present: jax.Array, temperature: float) -> jax.Array:
    """InfoNCE from [batch, modality, features], the mean over ordered pairs of modalities: []."""
    both = present.T[:, None] & present.T[None]  # [modality, other, batch]
    scores = jnp.einsum("imd,jnd->mnij", views, views) / temperature
    log_p = _log_softmax_where(both[:, :, None], scores)
    rows = -mean_where(both, jnp.diagonal(log_p, axis1=2, axis2=3), axis=2)
    return mean_where(~jnp.eye(len(rows), dtype=bool), rows)


def _spread(z: jax.Array, here: jax.Array, classes: Array, temperature: float) -> jax.Array:
    """The supervised contrastive loss of [views, features], of which those ``here`` count: []."""
    others = here[None] & ~jnp.eye(len(here), dtype=bool)
    log_p = _log_softmax_where(others, z @ z.T / temperature)
    same = others & (classes[:, None] == classes[None])
    return -mean_where(here & same.any(axis=1), mean_where(same, log_p, axis=1))


def _log_softmax_where(counts: jax.Array, scores: jax.Array) -> jax.Array:
    """Log-softmax over the last axis among what counts; finite, and of no meaning, elsewhere."""
    return jax.nn.log_softmax(jnp.where(counts, scores, jnp.finfo(scores.dtype).min))
