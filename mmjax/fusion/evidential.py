"""Evidential fusion: opinions with an explicit uncertainty, combined by Dempster's rule."""

from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import branch_logits
from mmjax.layers import promise
from mmjax.types import Outputs, Tokens


class Opinion(NamedTuple):
    """Belief masses that sum to one in each row.

    Attributes:
        belief: [batch, classes], the mass on each class.
        uncertainty: [batch, 1], the mass on all classes together.
    """

    belief: jax.Array
    uncertainty: jax.Array


class EvidentialFusion(nn.Module):
    """Combines the belief and the uncertainty of each modality by Dempster's rule.

    Evidence ``e_m = softplus(l_m)`` gives a Dirichlet with ``alpha_m = e_m + 1`` and strength
    ``S_m``, and the opinion ``b_m = e_m / S_m, u_m = K / S_m``. Two opinions combine to ``b = (b_1
    b_2 + b_1 u_2 + b_2 u_1) / (1 - C), u = u_1 u_2 / (1 - C)`` with ``C`` the mass on conflicting
    classes. The prediction is ``log alpha`` of the result, so that its softmax is the mean of the
    Dirichlet; branches are ``log alpha_m``. One modality: its own opinion. Two or many: a fold over
    the names, whose order does not matter. An absent modality has the vacuous opinion, ``u = 1``,
    which changes nothing; with none present the prediction is uniform. Trained with the objective
    ``evidential``, the paper's, unless another is asked for.

    Reference: Han et al., Trusted Multi-View Classification (arXiv:2102.02051).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import EvidentialFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = EvidentialFusion(out_dim=3)
        >>> tokens = {n: t._replace(mask=t.mask & False) for n, t in tokens.items()}  # none present
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> outputs.prediction[0].tolist()  # no evidence: a uniform prediction
        [0.0, 0.0, 0.0]
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    objective: ClassVar[str] = "evidential"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        evidence = {
            n: jnp.where(tokens[n].mask.any(axis=1, keepdims=True), nn.softplus(logits), 0)
            for n, logits in branch_logits(self, tokens, train=train).items()
        }
        *_, fused = opinions = list(accumulate(map(to_opinion, evidence.values()), combine))
        for belief, uncertainty in opinions:
            promise(self, "masses sum to one", belief.sum(axis=1, keepdims=True) + uncertainty - 1)
        branches = {n: jnp.log1p(e) for n, e in evidence.items()}
        return Outputs(jnp.log1p(to_evidence(fused)), branches=branches)


def to_opinion(evidence: jax.Array) -> Opinion:
    """The opinion implied by non-negative evidence [batch, classes]."""
    strength = (evidence + 1).sum(axis=1, keepdims=True)
    return Opinion(evidence / strength, evidence.shape[1] / strength)


def to_evidence(opinion: Opinion) -> jax.Array:
    """The evidence [batch, classes] implied by an opinion."""
    return opinion.belief * opinion.belief.shape[1] / opinion.uncertainty


def combine(one: Opinion, other: Opinion) -> Opinion:
    """Dempster's rule for masses on single classes and on the set of all classes."""
    (b, u), (c, v) = one, other
    belief, uncertainty = b * c + b * v + c * u, u * v
    agreed = belief.sum(axis=1, keepdims=True) + uncertainty  # 1 - C, without cancellation
    return Opinion(belief / agreed, uncertainty / agreed)
