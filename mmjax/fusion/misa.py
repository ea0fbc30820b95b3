"""MISA: what a modality shares with the others and what it has for itself, in spaces kept apart."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.fusion.latent import decoders, squared_error, targets
from mmjax.layers import Dense, is_present, masked_mean, mean_where
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens

_NUM_MOMENTS = 5


class MISAFusion(nn.Module):
    r"""Projects each modality to a shared and a private space; a transformer fuses all projections.

    :math:`c_m = s(C u_m)` and :math:`p_m = s(P_m u_m)` with
    :math:`u_m = \text{norm}(\text{relu}(W_m x_m))`, :math:`x_m` the mean over valid tokens and
    :math:`s` the sigmoid. All :math:`c_m` and :math:`p_m` attend to each other, and the results are
    concatenated and read out by a hidden layer. ``aux`` has three terms: ``similarity``, the
    central moment discrepancy between the :math:`c_m` of two modalities, averaged over the pairs;
    ``difference``, the squared overlap of :math:`p_m` with :math:`c_m` and with every other
    :math:`p_n`, summed; and ``reconstruction``, the squared error with which :math:`c_m + p_m` is
    decoded.

    The transformer block is pre-norm, and what is decoded is :math:`x_m` as in the other latent
    fusions; the authors' code decodes :math:`u_m`, whose gradient it does not stop, linearly. It
    does stop the gradient of the lengths by which ``overlap`` divides, which here belong to the
    loss.

    One modality: its two projections, without a similarity. Two or many: all of theirs. An absent
    modality is not attended to, and counts in no term; with none present the hidden layer sees
    zeros.

    Reference: Hazarika et al., MISA: Modality-Invariant and -Specific Representations for
    Multimodal Sentiment Analysis (arXiv:2005.03545), with the moments of Zellinger et al., Central
    Moment Discrepancy for Domain-Invariant Representation Learning (arXiv:1702.08811).

    Attributes:
        out_dim: size of the output.
        width: size of both spaces and of the hidden layers; ``num_heads`` must divide it.
        num_heads: number of attention heads.
        similarity_weight: weight of the term ``similarity``.
        difference_weight: weight of the term ``difference``.
        reconstruction_weight: weight of the term ``reconstruction``.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MISAFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MISAFusion(out_dim=3, width=8)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux)
        ['difference', 'reconstruction', 'similarity']
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {
        "similarity": {"similarity_weight": 0.0},
        "difference": {"difference_weight": 0.0},
        "reconstruction": {"reconstruction_weight": 0.0},
    }
    out_dim: int
    width: int = 64
    num_heads: int = 2
    similarity_weight: float = 1.0
    difference_weight: float = 0.3
    reconstruction_weight: float = 1.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names, present = sorted(tokens), is_present(tokens)
        share = Dense(self.width, name="share")
        shared, private = [], []
        for n in names:
            hidden = nn.relu(Dense(self.width, name=f"project_{n}")(masked_mean(tokens[n])))
            own = LayerNorm(name=f"norm_{n}")(hidden)
            shared.append(nn.sigmoid(share(own)))
            private.append(nn.sigmoid(Dense(self.width, name=f"private_{n}")(own)))
        decode, want = decoders(tokens, self.width), targets(tokens)
        errors = [
            squared_error(decode[n](c + p, train=False), want[n])
            for n, c, p in zip(names, shared, private, strict=True)
        ]
        c, p = jnp.stack(shared, axis=1), jnp.stack(private, axis=1)  # [batch, modality, width]
        aux = {
            "similarity": self.similarity_weight * discrepancy(c, present),
            "difference": self.difference_weight * _difference(c, p, present),
            "reconstruction": self.reconstruction_weight
            * mean_where(present, jnp.stack(errors, axis=1)),
        }
        fused = self._attend(names, c, p, present, train=train)
        return read_out(self, fused, train=train)._replace(aux=aux)

    def _attend(self, names, shared, private, present, *, train):
        """The hidden layer on all projections after they have attended to each other."""
        both = Tokens(*(jnp.concatenate(x, axis=1) for x in ([shared, private], [present] * 2)))
        block = TransformerBlock(self.num_heads, dropout=self.dropout, name="block")
        read = LayerNorm(name="norm")(block(both, train=train).values)
        pairs = jnp.concatenate(jnp.split(read, 2, axis=1), axis=-1)  # [batch, modality, 2 width]
        pairs = jnp.where(present[..., None], pairs, 0)
        vectors = {n: pairs[:, m] for m, n in enumerate(names)}
        return nn.relu(JointDense(self.width, name="joint")(vectors))


def discrepancy(x: jax.Array, present: jax.Array) -> jax.Array:
    r"""Central moment discrepancy between the modalities, averaged over their pairs: [].

    :math:`\sum_k |M_k(x_m) - M_k(x_n)|` with :math:`M_1` the mean over the rows that have the
    modality and :math:`M_2` to :math:`M_5` the central moments, of values in [0, 1]. It compares
    distributions, so that it does not matter which rows are paired.

    Args:
        x: [batch, modality, width].
        present: [batch, modality] bool.
    """
    here = jnp.broadcast_to(present[..., None], x.shape)
    mean = mean_where(here, x, axis=0)
    centred = x - mean[None]
    higher = [mean_where(here, centred**k, axis=0) for k in range(2, _NUM_MOMENTS + 1)]
    moments = jnp.stack([mean, *higher])  # [moment, modality, width]
    i, j = np.triu_indices(x.shape[1], 1)
    # Where two moments are equal, the gradient of their distance is zero.
    distance = optax.safe_norm(moments[:, i] - moments[:, j], 0.0, axis=-1).sum(axis=0)
    known = present.any(axis=0)
    return mean_where(known[i] & known[j], distance)


def _difference(shared: jax.Array, private: jax.Array, present: jax.Array) -> jax.Array:
    """Overlap of each private space with its shared one and with the other private ones: []."""
    i, j = np.triu_indices(present.shape[1], 1)
    first = jnp.concatenate([private, private[:, i]], axis=1)
    second = jnp.concatenate([shared, private[:, j]], axis=1)
    here = jnp.concatenate([present, present[:, i] & present[:, j]], axis=1)
    return jax.vmap(overlap, in_axes=1)(first, second, here).sum()


def overlap(x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean squared entry of :math:`X^T Y`, whose rows are centred over those that count: [].

    Each row is then scaled to unit length.

    Args:
        x: [rows, width].
        y: [rows, width].
        mask: [rows] bool, true where a row counts.
    """

    def prepare(x):
        here = jnp.broadcast_to(mask[:, None], x.shape)
        centred = jnp.where(here, x - mean_where(here, x, axis=0)[None], 0)
        return centred / optax.safe_norm(centred, 1e-6, axis=-1, keepdims=True)

    return jnp.square(prepare(x).T @ prepare(y)).mean()
