"""ShaSpec: shared and specific features; shared ones stand in for an absent modality."""

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mmjax.fusion.building_blocks import project, read_out
from mmjax.layers import Dense, is_present, mean_where
from mmjax.types import Outputs, Removable, Tokens


class ShaSpecFusion(nn.Module):
    """Splits each modality into shared and specific features; absent ones get the shared mean.

    :math:`r_m = S(p_m)` by one encoder for all modalities and :math:`s_m = S_m(p_m)` by one for
    each, where :math:`p_m` is the projected mean over valid tokens;
    :math:`f_m = r_m + C([r_m; s_m])`, and for an absent modality :math:`f_m` is the mean of the
    :math:`r` of those present. An MLP reads all :math:`f` in the order of their names. ``aux`` has
    ``alignment`` times the mean absolute difference between the shared features of two modalities,
    over all pairs present, and ``domains`` times the cross-entropy in nats of a linear classifier
    that tells from :math:`s_m` which modality it is.

    The paper's encoders see inputs of one shape; here a projection per modality comes first. Of its
    alignment losses this is L1, which the authors' code uses, along a cycle of modalities rather
    than over all pairs; their code fills in the :math:`r` of the first modality present, where the
    paper has the mean.

    One modality: its own features, without either loss. Two or many: one fused vector each, so that
    the readout sees a whole set in every row. An absent modality counts in neither loss; with none
    present only biases remain.

    Reference: Wang et al., Multi-modal Learning with Missing Modality via Shared-Specific Feature
    Modelling (arXiv:2307.14126).

    Attributes:
        out_dim: size of the output.
        width: size of the features, and of the hidden layer of the readout.
        alignment: weight of the differences of shared features.
        domains: weight of the classification of specific features.
        dropout: probability of zeroing a hidden unit of the readout in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ShaSpecFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ShaSpecFusion(out_dim=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux)
        ['alignment', 'domains']
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {
        "alignment": {"alignment": 0.0},
        "domains": {"domains": 0.0},
    }
    out_dim: int
    width: int = 64
    alignment: float = 0.1
    domains: float = 0.02
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names, present = sorted(tokens), is_present(tokens)
        projected = project(tokens, self.width)  # [batch, modality, width]
        shared = nn.relu(Dense(self.width, name="shared")(projected))
        own = [
            Dense(self.width, name=f"specific_{n}")(projected[:, m]) for m, n in enumerate(names)
        ]
        specific = nn.relu(jnp.stack(own, axis=1))
        both = jnp.concatenate([shared, specific], axis=-1)
        composed = shared + Dense(self.width, name="compose")(both)
        here = jnp.broadcast_to(present[..., None], shared.shape)
        generated = mean_where(here, shared, axis=1)
        features = jnp.where(here, composed, generated[:, None])
        # One kernel for the whole set: an absent modality's part still learns, from the others.
        hidden = nn.relu(Dense(self.width, name="decode")(features.reshape(len(features), -1)))
        aux = {
            "alignment": self.alignment * _misalignment(shared, present),
            "domains": self.domains * self._confusion(specific, present),
        }
        return read_out(self, hidden, train=train)._replace(aux=aux)

    def _confusion(self, specific: jax.Array, present: jax.Array) -> jax.Array:
        """Cross-entropy of the classifier of modalities, over those present: []."""
        logits = Dense(present.shape[1], name="domain")(specific)
        target = jnp.broadcast_to(jnp.arange(present.shape[1])[None], present.shape)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        return mean_where(present, losses)


def _misalignment(shared: jax.Array, present: jax.Array) -> jax.Array:
    """Mean absolute difference [] between the modalities present, of [batch, modality, width]."""
    pairs = list(combinations(range(present.shape[1]), 2))
    if not pairs:
        return jnp.zeros((), shared.dtype)
    first, second = jnp.array(pairs).T
    apart = jnp.abs(shared[:, first] - shared[:, second]).mean(axis=-1)
    return mean_where(present[:, first] & present[:, second], apart)
