"""Late fusions: one prediction per modality, combined over the modalities present.

Each modality has its own readout, an MLP with one hidden layer on the mean of its valid tokens, as
deep as the feature-level fusions. Its logits are also returned as a branch, which is zero, the
uniform distribution, where the modality is absent.
"""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import ModalityWeights, branch_logits
from mmjax.layers import is_present, promise
from mmjax.layers.initializers import zeros
from mmjax.types import Outputs, Tokens


class LateMeanFusion(nn.Module):
    r"""Averages the logits of the modalities present.

    The output is :math:`(1 / |\text{present}|) \sum_m l_m`. One modality: its own logits. Two or
    many: the mean over those present, which up to a constant is the log of the geometric mean of
    their probabilities. With none present the logits are zero.

    Reference: Kittler et al., On Combining Classifiers (IEEE TPAMI 1998).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LateMeanFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LateMeanFusion(out_dim=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.branches)
        ['audio', 'image']
    """

    level: ClassVar[str] = "decision"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        count = jnp.maximum(is_present(tokens).sum(axis=1, keepdims=True), 1)
        return Outputs(sum(branches.values()) / count, branches=branches)


class LateProbMeanFusion(nn.Module):
    r"""Averages the probabilities of the modalities present.

    The sum rule: :math:`\log (1 / |\text{present}|) \sum_m p_m` with
    :math:`p_m = \text{softmax}(l_m)`. One modality: its own log-probabilities. Two or many: the log
    of the mean over those present. With none present the prediction is uniform.

    Reference: Kittler et al., On Combining Classifiers (IEEE TPAMI 1998).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LateProbMeanFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LateProbMeanFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> jax.numpy.exp(outputs.prediction).sum(axis=1).round(3).tolist()  # log-probabilities
        [1.0, 1.0, 1.0, 1.0]
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        log_p, count = _log_probabilities(branches, tokens)
        prediction = nn.logsumexp(log_p, axis=1) - jnp.log(count)
        promise(self, "probabilities sum to one", jnp.exp(prediction).sum(axis=1) - 1)
        return Outputs(prediction, branches=branches)


class LateMaxFusion(nn.Module):
    r"""Takes for each class the largest probability among the modalities.

    The max rule under equal priors: :math:`\max_m \log p_m` with :math:`p_m = \text{softmax}(l_m)`.
    It is defined on probabilities, since logits have a scale of their own in each readout. One
    modality: its own log-probabilities. Two or many: the maximum over those present, which softmax
    normalises. With none present the prediction is uniform.

    Reference: Kittler et al., On Combining Classifiers (IEEE TPAMI 1998).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LateMaxFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LateMaxFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> audio = jax.nn.log_softmax(outputs.branches["audio"])
        >>> bool((outputs.prediction >= audio).all())
        True
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        log_p, _ = _log_probabilities(branches, tokens)
        return Outputs(log_p.max(axis=1), branches=branches)


class LateWeightedFusion(nn.Module):
    r"""Weights the logits of each modality by one learned scalar.

    The output is :math:`\sum_m \text{softmax}(a)_m l_m`. The scalars :math:`a` start at zero, so
    training starts from the mean. One modality: its own logits. Two or many: the softmax is over
    those present, which share the weight of an absent one. With none present the logits are zero.

    Reference: Snoek et al., Early versus Late Fusion in Semantic Video Analysis (ACM Multimedia
    2005).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LateWeightedFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LateWeightedFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> jax.tree.map(float, variables["params"]["weights"])  # training starts from the mean
        {'weight_audio': 0.0, 'weight_image': 0.0}
    """

    level: ClassVar[str] = "decision"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        weights = ModalityWeights(name="weights")(tokens)
        logits = jnp.stack(list(branches.values()), axis=1)  # [batch, modality, out_dim]
        return Outputs((weights[..., None] * logits).sum(axis=1), branches=branches)


class ProductOfExpertsFusion(nn.Module):
    r"""Multiplies the predicted probabilities, and divides out the prior that they share.

    :math:`\log p = \sum_m \log p_m - (|\text{present}| - 1) \log p(y)`, normalised: Bayes' rule for
    modalities that are conditionally independent given the class. The prior is learned and starts
    uniform. One modality: its own log-probabilities. Two or many: the product over those present.
    With none present the prior itself.

    Reference: Hinton, Training Products of Experts by Minimizing Contrastive Divergence (Neural
    Computation 2002).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ProductOfExpertsFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ProductOfExpertsFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> variables["params"]["prior"].tolist()  # starts uniform
        [0.0, 0.0, 0.0]
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        prior = self.param("prior", zeros, (self.out_dim,))
        count = is_present(tokens).sum(axis=1, keepdims=True)
        # Logits serve as log-probabilities: they differ by a constant over the classes.
        prediction = nn.log_softmax(sum(branches.values()) - (count - 1) * prior[None])
        promise(self, "probabilities sum to one", jnp.exp(prediction).sum(axis=1) - 1)
        return Outputs(prediction, branches=branches)


def _log_probabilities(
    branches: Mapping[str, jax.Array], tokens: Mapping[str, Tokens]
) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities per modality, [batch, modality, out_dim], and how many count, [batch, 1].

    Those that do not count are minus infinity. Where none is present all count, being uniform.
    """
    present = is_present(tokens)
    counts = present | ~present.any(axis=1, keepdims=True)
    log_p = nn.log_softmax(jnp.stack(list(branches.values()), axis=1))
    return jnp.where(counts[..., None], log_p, -jnp.inf), counts.sum(axis=1, keepdims=True)
