"""Contrastive losses: embeddings that belong together are pulled close, others pushed apart."""

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
    r"""Cross-entropy plus InfoNCE between the modalities of a row, in nats.

    An embedding is the mean of a modality's valid tokens, scaled to unit length. For each ordered
    pair of modalities, :math:`-\log \text{softmax}_j(z_i \cdot w_j / \text{temperature})_i` is
    averaged over the rows that have both, and the mean over the pairs is weighted by ``weight``.
    The temperature is fixed; in CLIP it is learned. With fewer than two modalities, only the
    cross-entropy remains.

    Reference: Radford et al., Learning Transferable Visual Models From Natural Language Supervision
    (arXiv:2103.00020), after van den Oord et al., Representation Learning with Contrastive
    Predictive Coding (arXiv:1807.03748).

    Raises:
        UsageError: the tokens of the modalities differ in width.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import info_nce
        >>> from mmjax.testing import make_tokens
        >>> from mmjax.types import Batch, Outputs
        >>> audio = make_tokens({"audio": (2, 16)}, batch=4)["audio"]
        >>> outputs = Outputs(jnp.zeros((4, 3)), {"audio": audio, "image": audio})
        >>> loss, metrics = info_nce(outputs, Batch({}, {}, jnp.arange(4) % 3), weight=1.0)
        >>> round(loss.item(), 3)  # log 3, as each row is nearest to itself
        1.099
    """
    loss = row_losses(outputs.prediction, batch).mean()
    if len(outputs.tokens) > 1:
        loss = loss + weight * mismatch(outputs.tokens, temperature)
    return finish(loss, outputs, batch)


def supervised_contrastive(
    outputs: Outputs, batch: Batch, *, weight: float = 0.1, temperature: float = 0.1
) -> Result:
    r"""Cross-entropy plus a contrastive loss that pulls embeddings of one class together, in nats.

    The embeddings are the fused representations if the fusion has them; otherwise every modality of
    every row contributes one, the mean of its valid tokens. They are scaled to unit length. With
    :math:`P` the others of the same class, :math:`-\text{mean}_{p \in P} \log \text{softmax}_{a \ne
    i}(z_i \cdot z_a / \text{temperature})_p`, averaged over the embeddings with a non-empty
    :math:`P`, is weighted by ``weight``. Absent modalities contribute no embedding, nor do rows
    with none present. Without tokens and without a fused representation, only the cross-entropy
    remains.

    The authors have two views of every row, so that no :math:`P` is empty; a fused representation
    is a single one. Their code would count a row that is alone in its class as a loss of zero,
    which makes the weight depend on how many there are; here it is left out of the mean. They also
    multiply the loss by :math:`\text{temperature} / 0.07`.

    Reference: Khosla et al., Supervised Contrastive Learning (arXiv:2004.11362), equation 2.

    Raises:
        UsageError: the tokens of the modalities differ in width, and nothing is fused; or the
            targets are not classes.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import supervised_contrastive
        >>> from mmjax.testing import make_tokens
        >>> from mmjax.types import Batch, Outputs
        >>> audio = make_tokens({"audio": (2, 16)}, batch=4)["audio"]
        >>> outputs = Outputs(jnp.zeros((4, 3)), {"audio": audio, "image": audio})
        >>> loss, metrics = supervised_contrastive(outputs, Batch({}, {}, jnp.arange(4) % 3))
        >>> bool(loss > jnp.log(3))  # the embeddings add to it
        True
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


def mismatch(tokens: Mapping[str, Tokens], temperature: float) -> jax.Array:
    """InfoNCE of the mean tokens of modalities, averaged over ordered pairs of them: [].

    Raises:
        UsageError: the tokens of the modalities differ in width.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> audio = make_tokens({"audio": (2, 16)}, batch=4)["audio"]
        >>> round(mismatch({"audio": audio, "image": audio}, temperature=0.01).item(), 3)
        0.0
    """
    views, present = _views(tokens)
    both = present.T[:, None] & present.T[None]  # [modality, other, batch]
    scores = jnp.einsum("imd,jnd->mnij", views, views) / temperature
    log_p = _log_softmax_where(both[:, :, None], scores)
    rows = -mean_where(both, jnp.diagonal(log_p, axis1=2, axis2=3), axis=2)
    return mean_where(~jnp.eye(len(rows), dtype=bool), rows)


def _views(tokens: Mapping[str, Tokens]) -> tuple[jax.Array, jax.Array]:
    """Unit embeddings [batch, modality, features], sorted by name, and which of them count."""
    widths = {n: tokens[n].values.shape[-1] for n in sorted(tokens)}
    if len(set(widths.values())) > 1:
        got = ", ".join(f"{n}: {width}" for n, width in widths.items())
        raise UsageError(
            "objective",
            f"the tokens to compare differ in width ({got})",
            fix="Use encoders of the same width.",
        )
    pooled = jnp.stack([masked_mean(tokens[n]) for n in widths], axis=1)
    return _unit(pooled), is_present(tokens)


def _unit(x: jax.Array) -> jax.Array:
    """Vectors [..., features] scaled to unit length; zero stays zero, with a finite gradient."""
    return x / optax.safe_norm(x, 1e-6, axis=-1, keepdims=True)


def _spread(z: jax.Array, here: jax.Array, classes: Array, temperature: float) -> jax.Array:
    """Supervised contrastive loss of [views, features], restricted to those ``here``: []."""
    others = here[None] & ~jnp.eye(len(here), dtype=bool)
    log_p = _log_softmax_where(others, z @ z.T / temperature)
    same = others & (classes[:, None] == classes[None])
    return -mean_where(here & same.any(axis=1), mean_where(same, log_p, axis=1))


def _log_softmax_where(counts: jax.Array, scores: jax.Array) -> jax.Array:
    """Log-softmax over the last axis among the entries that count; arbitrary elsewhere."""
    return jax.nn.log_softmax(jnp.where(counts, scores, jnp.finfo(scores.dtype).min))
