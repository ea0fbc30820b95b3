"""Multimodal factorisation: factors that predict the class, and others that only reconstruct."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.fusion.latent import decoders, squared_error, targets
from mmjax.layers import MLP, Dense, is_present, masked_mean, mean_where
from mmjax.types import Outputs, Removable, Tokens


class MFMFusion(nn.Module):
    r"""Factorises into one shared code, which is classified, and a private code per modality.

    :math:`z = E([x_1; \ldots; x_M])` and :math:`z_m = E_m(x_m)`; :math:`f = G(z)` and
    :math:`f_m = G_m(z_m)`; the class is predicted from :math:`f`, and :math:`[f; f_m]` reconstructs
    :math:`x_m`. Codes are deterministic, and the squared maximum mean discrepancy pulls their
    distribution over the rows to :math:`N(0, I)`, as in the paper's Wasserstein autoencoder; for a
    Gaussian kernel its expectation under the prior has a closed form, so the prior is not sampled.
    The prior is imposed on each code separately rather than jointly, because a row lacks the
    private code of an absent modality. One modality: its autoencoder, with two codes. Two or many:
    one shared code and a private one each. An absent modality adds nothing to the shared code and
    has no private one.

    Reference: Tsai et al., Learning Factorized Multimodal Representations (arXiv:1806.06176).

    Attributes:
        out_dim: size of the output.
        width: size of the codes and of the hidden layers.
        reconstruction_weight: weight of the squared error, averaged over features and modalities.
        prior_weight: weight of the discrepancy, averaged over the codes.
        dropout: probability of zeroing a hidden unit of an encoder, or of the readout input, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MFMFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MFMFusion(out_dim=3, width=8)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux), outputs.fused.shape
        (['prior', 'reconstruction'], (4, 8))
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {
        "reconstruction": {"reconstruction_weight": 0.0},
        "prior": {"prior_weight": 0.0},
    }
    out_dim: int
    width: int = 64
    reconstruction_weight: float = 1.0
    prior_weight: float = 1.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names, present = sorted(tokens), is_present(tokens)
        pooled = {n: masked_mean(tokens[n]) for n in names}
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        code = Dense(self.width, name="encode")(hidden)
        encode = lambda n: MLP((self.width, self.width), self.dropout, name=f"encode_{n}")
        private = {n: encode(n)(pooled[n], train=train) for n in names}
        shared = nn.relu(Dense(self.width, name="generate")(code))
        generate = lambda n: nn.relu(Dense(self.width, name=f"generate_{n}")(private[n]))
        decode, want = decoders(tokens, self.width), targets(tokens)
        joint = lambda n: jnp.concatenate([shared, generate(n)], axis=-1)
        error = lambda n: squared_error(decode[n](joint(n), train=False), want[n])
        errors = jnp.stack([error(n) for n in names], axis=1)
        codes = jnp.stack([code, *private.values()], axis=1)
        counts = jnp.concatenate([present.any(axis=1, keepdims=True), present], axis=1)
        discrepancy = jax.vmap(discrepancy_from_normal, in_axes=1)(codes, counts)
        aux = {
            "reconstruction": self.reconstruction_weight * mean_where(present, errors),
            "prior": self.prior_weight * mean_where(counts.any(axis=0), discrepancy),
        }
        return read_out(self, shared, train=train)._replace(aux=aux)


def discrepancy_from_normal(x: jax.Array, mask: jax.Array) -> jax.Array:
    r"""Squared maximum mean discrepancy between the rows that count and :math:`N(0, I)`: a scalar.

    The kernel is :math:`\exp(-|x - y|^2 / (2 \text{width}))`: its bandwidth is, up to
    :math:`\sqrt{2}`, the expected distance between two samples of the prior.

    Reference: Gretton et al., A Kernel Two-Sample Test (JMLR 2012).

    Args:
        x: [rows, width].
        mask: [rows] bool, true where a row counts.
    """
    x = jnp.where(mask[:, None], x, 0)
    weights = mask / jnp.maximum(mask.sum(), 1)
    width = x.shape[1]
    square = jnp.square(x).sum(axis=1)
    distance = square[:, None] + square[None] - 2 * x @ x.T
    within = weights @ jnp.exp(-distance / (2 * width)) @ weights
    # The kernel is a Gaussian, so averaging over the prior once or twice only widens it.
    scale = lambda times: (1 + times / width) ** (-width / 2)
    across = scale(1) * weights @ jnp.exp(-square / (2 * (width + 1)))
    return within - 2 * across + scale(2) * weights.sum() ** 2
