r"""Multimodal variational autoencoders: Gaussian posteriors multiplied, mixed, or both.

Each modality has an encoder, which outputs mean and variance of a Gaussian posterior over one
latent vector, and a decoder, whose target is described in ``mmjax.fusion.latent``. The prior is
:math:`N(0, I)`. The loss is :math:`-\text{ELBO} / \text{width}`, in two terms: half the squared
error, which is the Gaussian negative log-likelihood, and :math:`\beta \text{KL}`. The squared
error, however, is divided by the number of features instead, which weights each modality by
:math:`\text{width} / \text{features}`, so that all count the same. The class is predicted from the
latent vector: a sample in training, the mean in evaluation.
"""

from collections.abc import Mapping
from itertools import product
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.fusion.building_blocks import read_out
from mmjax.fusion.gaussian import Gaussian, divergence, multiply
from mmjax.fusion.latent import decoders, squared_error, targets
from mmjax.layers import MLP, is_present, masked_mean, mean_where, promise
from mmjax.types import Outputs, Removable, Tokens


class MVAEFusion(nn.Module):
    r"""Multiplies the posteriors of the modalities present and the prior: a product of experts.

    :math:`q(z \mid x) \propto p(z) \prod_m q_m(z \mid x_m)`, whose precision is the sum of the
    experts' precisions. The loss averages the negative ELBO of all modalities present, each
    reconstructed from the product, and the negative ELBOs of each one alone with the prior: the
    paper's sub-sampling, which sums them, without its random subsets. One modality: a variational
    autoencoder whose posterior is multiplied by the prior. Two or many: the product over those
    present. An absent modality is no expert and is not reconstructed; with none present the
    posterior is the prior.

    Reference: Wu and Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning
    (arXiv:1802.05335).

    Attributes:
        out_dim: size of the output.
        width: size of the latent vector and of the hidden layers.
        beta: weight of the KL divergence from the prior.
        dropout: probability of zeroing a hidden unit of an encoder, or of the readout input, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MVAEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MVAEFusion(out_dim=3, width=8)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux), outputs.fused.shape
        (['kl', 'reconstruction'], (4, 8))
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {"kl": {"beta": 0.0}}
    out_dim: int
    width: int = 64
    beta: float = 1.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        present = is_present(tokens)
        alone = jnp.eye(len(tokens), dtype=bool)[None] & present[:, None]
        members = jnp.concatenate([present[:, None], alone], axis=1)
        experts = _experts(self, tokens, train=train)
        posteriors = multiply(experts, members, prior=1)
        precision = 1 + jnp.where(present[..., None], 1 / experts.variance, 0).sum(axis=1)
        relative = 1 / (posteriors.variance[:, 0] * precision) - 1
        promise(self, "the precision of the product is the sum of the precisions", relative)
        z = _sample(self, posteriors, train=train)
        aux = _negative_elbo(self, tokens, posteriors, z, members, decoded=members)
        return read_out(self, z[:, 0], train=train)._replace(aux=aux)


class MMVAEFusion(nn.Module):
    r"""Mixes the posteriors of the modalities present in equal shares: a mixture of experts.

    :math:`q(z \mid x) = (1 / |\text{present}|) \sum_m q_m(z \mid x_m)`. Sampling is stratified:
    every component yields one latent vector, from which all modalities present are reconstructed,
    so that each learns to predict the others. The prediction is that of the mixture, :math:`\log (1
    / |\text{present}|) \sum_m p(y \mid z_m)`. The paper estimates the divergence of the mixture
    from the prior by importance sampling; here it is replaced by its upper bound, the mean
    divergence of the components, which needs no samples. One modality: a variational autoencoder.
    Two or many: one component for each of those present. An absent modality is no component and is
    not reconstructed; with none present the prior is the only component.

    Reference: Shi et al., Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep
    Generative Models (arXiv:1911.03393).

    Attributes:
        out_dim: size of the output.
        width: size of the latent vector and of the hidden layers.
        beta: weight of the KL divergence from the prior.
        dropout: probability of zeroing a hidden unit of an encoder, or of the readout input, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MMVAEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MMVAEFusion(out_dim=3, width=8, beta=0.5)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux), outputs.fused.shape
        (['kl', 'reconstruction'], (4, 8))
    """

    level: ClassVar[str] = "latent"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    removable: ClassVar[Removable] = {"kl": {"beta": 0.0}}
    out_dim: int
    width: int = 64
    beta: float = 1.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        return _mix(self, tokens, np.eye(len(tokens), dtype=bool), train=train)


class MoPoEFusion(nn.Module):
    r"""Mixes products of experts: one for every non-empty subset of the modalities present.

    :math:`q(z \mid x) = (1 / |S|) \sum_s \prod_{m \in s} q_m(z \mid x_m)`, normalised, over the
    non-empty sets :math:`s` of modalities present; :math:`|S| = 2^{|\text{present}|} - 1`. Samples,
    reconstructions, divergence and prediction are those of the mixture of experts, whose components
    are the sets of one modality. As in the paper's formula no product includes the prior. One
    modality: a variational autoencoder. Two or many: all their subsets, so the cost doubles with
    every modality. A set with an absent modality is no component; with none present the prior is
    the only component.

    Reference: Sutter et al., Generalized Multimodal ELBO (arXiv:2105.02470).

    Attributes:
        out_dim: size of the output.
        width: size of the latent vector and of the hidden layers.
        beta: weight of the KL divergence from the prior.
        dropout: probability of zeroing a hidden unit of an encoder, or of the readout input, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MoPoEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MoPoEFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["encode_audio"]["Dense_1"]["kernel"].shape  # mean and variance
        (8, 16)
    """

    level: ClassVar[str] = "latent"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    removable: ClassVar[Removable] = {"kl": {"beta": 0.0}}
    out_dim: int
    width: int = 64
    beta: float = 1.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        _, *sets = product([False, True], repeat=len(tokens))
        return _mix(self, tokens, np.array(sets), train=train)


def _experts(fusion: nn.Module, tokens: Mapping[str, Tokens], *, train: bool) -> Gaussian:
    """The posterior of each modality, sorted by name: [batch, modality, width]."""
    encode = lambda n: MLP((fusion.width, 2 * fusion.width), fusion.dropout, name=f"encode_{n}")
    codes = [encode(n)(masked_mean(tokens[n]), train=train) for n in sorted(tokens)]
    mean, spread = jnp.split(jnp.stack(codes, axis=1), 2, axis=-1)
    return Gaussian(mean, nn.softplus(spread) + 1e-6)  # a precision must stay finite


def _sample(fusion: nn.Module, gaussian: Gaussian, *, train: bool) -> jax.Array:
    """A sample in training, the mean otherwise: [batch, product, width]."""
    mean, variance = gaussian
    if not train:
        return mean
    noise = jax.random.normal(fusion.make_rng("dropout"), mean.shape, mean.dtype)
    return mean + jnp.sqrt(variance) * noise


def _negative_elbo(
    fusion: nn.Module,
    tokens: Mapping[str, Tokens],
    posteriors: Gaussian,
    z: jax.Array,
    members: jax.Array,
    *,
    decoded: jax.Array,
) -> dict[str, jax.Array]:
    """The two terms, averaged over the products that have members, then over the rows with any.

    ``decoded``, [batch, product, modality] bool, says what each product must reconstruct.
    """
    want = targets(tokens)
    decode = decoders(tokens, fusion.width)
    error = lambda n: squared_error(decode[n](z, train=False), want[n][:, None]) / 2
    errors = jnp.stack([error(n) for n in want], axis=2)  # [batch, product, modality]
    counts = members.any(axis=2)
    share = counts / jnp.maximum(counts.sum(axis=1, keepdims=True), 1)
    average = lambda terms: mean_where(counts.any(axis=1), (share * terms).sum(axis=1))
    return {
        "reconstruction": average(jnp.where(decoded, errors, 0).sum(axis=2)),
        "kl": fusion.beta * average(divergence(posteriors)),
    }


def _mix(
    fusion: nn.Module, tokens: Mapping[str, Tokens], sets: np.ndarray, *, train: bool
) -> Outputs:
    """Mixes the products over those ``sets``, [set, modality], that are entirely present."""
    present = is_present(tokens)
    whole = (present[:, None] | ~sets[None]).all(axis=2)
    members = whole[..., None] & sets[None]
    posteriors = multiply(_experts(fusion, tokens, train=train), members, prior=0)
    z = _sample(fusion, posteriors, train=train)
    decoded = jnp.broadcast_to(present[:, None], members.shape)
    aux = _negative_elbo(fusion, tokens, posteriors, z, members, decoded=decoded)
    # Where nothing is present every component is the prior, and all of them count.
    counts = (whole | ~whole.any(axis=1, keepdims=True))[..., None]
    each = nn.log_softmax(read_out(fusion, z, train=train).prediction)
    total = jax.nn.logsumexp(each, axis=1, where=counts)
    prediction = total - jnp.log(counts.sum(axis=1))
    promise(fusion, "probabilities sum to one", jnp.exp(prediction).sum(axis=1) - 1)
    return Outputs(prediction, aux=aux, fused=z.mean(axis=1, where=counts))
