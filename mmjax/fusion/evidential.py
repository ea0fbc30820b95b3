"""Evidential fusion: opinions with an explicit uncertainty, combined by Dempster's rule."""

from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, branch_logits
from mmjax.layers import Dense, is_present, masked_mean, promise
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
    r"""Combines the belief and the uncertainty of each modality by Dempster's rule.

    Evidence :math:`e_m = \text{softplus}(l_m)` gives a Dirichlet with :math:`\alpha_m = e_m + 1`
    and strength :math:`S_m`, and the opinion :math:`b_m = e_m / S_m, u_m = K / S_m`. Two opinions
    combine to :math:`b = (b_1 b_2 + b_1 u_2 + b_2 u_1) / (1 - C), u = u_1 u_2 / (1 - C)` with
    :math:`C` the mass on conflicting classes. The prediction is :math:`\log \alpha` of the result,
    so that its softmax is the mean of the Dirichlet; branches are :math:`\log \alpha_m`. One
    modality: its own opinion. Two or many: a fold over the names, whose order does not matter. An
    absent modality has the vacuous opinion, :math:`u = 1`, which changes nothing; with none present
    the prediction is uniform. Trained with the objective ``evidential``, the paper's, unless
    another is asked for.

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
        evidence = _evidence_of_each(self, tokens, train=train)
        branches = {n: jnp.log1p(e) for n, e in evidence.items()}
        return Outputs(jnp.log1p(_evidence_of_all(self, *evidence.values())), branches=branches)


class ETMCFusion(nn.Module):
    r"""Evidential fusion with a pseudo-view, a further opinion formed on all modalities together.

    As ``EvidentialFusion``, and combined with the opinion of :math:`e = \text{softplus}(V
    \text{relu}(W [x_1; \ldots; x_M]))`, :math:`x_m` the mean over valid tokens: the evidence of
    single modalities is combined class by class, so that without the pseudo-view no interaction
    between them is seen. One modality: two opinions on it. Two or many: a fold, whose order does
    not matter. An absent modality adds nothing to the pseudo-view; with none present the prediction
    is uniform. ``joint`` is :math:`\log \alpha` of the pseudo-view, which the objective
    ``evidential`` trains like a branch, as in the paper.

    Reference: Han et al., Trusted Multi-View Classification with Dynamic Evidential Fusion
    (arXiv:2204.11423).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ETMCFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ETMCFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> bool((outputs.prediction >= outputs.joint).all())  # evidence is added, never taken away
        True
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
        evidence = _evidence_of_each(self, tokens, train=train)
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        pseudo = nn.softplus(Dense(self.out_dim, name="readout")(hidden))
        pseudo = jnp.where(is_present(tokens).any(axis=1, keepdims=True), pseudo, 0)
        fused = _evidence_of_all(self, *evidence.values(), pseudo)
        branches = {n: jnp.log1p(e) for n, e in evidence.items()}
        return Outputs(jnp.log1p(fused), branches=branches, joint=jnp.log1p(pseudo))


def _evidence_of_each(
    fusion: nn.Module, tokens: Mapping[str, Tokens], *, train: bool
) -> dict[str, jax.Array]:
    """Evidence for each class by modality, zero where absent: {name: [batch, classes]}."""
    return {
        n: jnp.where(tokens[n].mask.any(axis=1, keepdims=True), nn.softplus(logits), 0)
        for n, logits in branch_logits(fusion, tokens, train=train).items()
    }


def _evidence_of_all(fusion: nn.Module, *evidence: jax.Array) -> jax.Array:
    """The evidence, [batch, classes], that the opinions from each combine to."""
    *_, fused = opinions = list(accumulate(map(to_opinion, evidence), combine))
    for belief, uncertainty in opinions:
        promise(fusion, "masses sum to one", belief.sum(axis=1, keepdims=True) + uncertainty - 1)
    return to_evidence(fused)


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
