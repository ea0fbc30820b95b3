"""Deep canonical correlation analysis: projections of the modalities that correlate."""

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense
from mmjax.layers import MLP, is_present, masked_mean, mean_where
from mmjax.layers.correlation import total_correlation
from mmjax.types import Outputs, Removable, Tokens


class DeepCCAFusion(nn.Module):
    r"""Projects the modalities so that their projections correlate, and classifies from all.

    :math:`h_m = \text{MLP}_m(x_m)`; the loss is ``-weight`` times the total canonical correlation
    of :math:`h_i` and :math:`h_j` over the rows of the batch, per component, averaged over the
    pairs of modalities. The readout takes :math:`[h_1; \ldots; h_M]`: canonical correlation aligns
    the projections only up to a linear map of each, so their mean would be meaningless. The batch
    should have many times more rows than there are components. The paper first trains the
    projections by correlation alone and then a classifier on top; here the two losses are added.
    (MultiBench's code takes the root of the trace's matrix entry by entry where it uses all
    singular values; here it is the matrix root, as in the paper.) One modality: an MLP. Two or
    many: all pairs. Rows that lack a modality do not count in its pairs, and pairs with fewer than
    two rows are left out; an absent modality adds nothing to the readout.

    Reference: Andrew et al., Deep Canonical Correlation Analysis (ICML 2013).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layers.
        components: size of each projection.
        weight: weight of the correlation.
        ridge: regulariser of the covariances, in units of their mean variance.
        dropout: probability of zeroing a hidden unit, or of what is read, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import DeepCCAFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = DeepCCAFusion(out_dim=3, components=5)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.fused.shape  # 2 modalities x 5 components
        (4, 10)
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {"correlation": {"weight": 0.0}}
    out_dim: int
    width: int = 64
    components: int = 16
    weight: float = 0.1
    ridge: float = 1e-3
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names, present = sorted(tokens), is_present(tokens)
        layers = (self.width, self.components)
        project = lambda n: MLP(layers, self.dropout, name=f"project_{n}")
        h = jnp.stack([project(n)(masked_mean(tokens[n]), train=train) for n in names], axis=1)
        h = jnp.where(present[..., None], h, 0)
        dropped = nn.Dropout(self.dropout, deterministic=not train)(h)
        vectors = {n: dropped[:, i] for i, n in enumerate(names)}
        prediction = JointDense(self.out_dim, name="readout")(vectors)
        aux = {"correlation": -self.weight * self._correlation(h, present)}
        return Outputs(prediction, aux=aux, fused=h.reshape(len(h), -1))

    def _correlation(self, h: jax.Array, present: jax.Array) -> jax.Array:
        """Mean over the pairs, per component, of [batch, modality, components]: a scalar."""
        pairs = list(combinations(range(h.shape[1]), 2))
        if not pairs:
            return jnp.zeros((), jnp.float32)
        i, j = jnp.array(pairs).T
        both = present[:, i] & present[:, j]
        correlate = jax.vmap(lambda x, y, m: total_correlation(x, y, m, ridge=self.ridge), 1)
        total = correlate(h[:, i], h[:, j], both)
        return mean_where(both.sum(axis=0) > 1, total) / self.components
