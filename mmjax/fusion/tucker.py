"""Tucker fusions: a bilinear form factorised into a linear map per modality and a core tensor.

The core is full, has low-rank slices, or is block-diagonal with such blocks. Before normalisation
all are multilinear: with the identity as core each is ``MLBFusion``.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import (
    fold_present,
    linear_factors,
    multiply_present,
    power_normalise,
    read_out,
)
from mmjax.layers import is_present
from mmjax.layers.initializers import variance_scaling
from mmjax.types import Outputs, Removable, Tokens


class TuckerFusion(nn.Module):
    r"""Multiplies every coordinate of one modality with every other through a learned core tensor.

    :math:`V z` with :math:`z_k = \sum_{ij} T_{ijk} a_i b_j`, :math:`a = U_1 x_1 + c_1`,
    :math:`b = U_2 x_2 + c_2`, :math:`x_m` the mean over valid tokens and :math:`T` a tensor with
    three axes of size ``width``. One modality: a linear model. Two: the paper's Tucker
    decomposition. Many: a fold over the sorted names, with a core for each modality after the
    first, since the size of a single core would be exponential in their number. An absent modality
    is skipped; with none present only the readout bias remains.

    Reference: Ben-younes et al., MUTAN: Multimodal Tucker Fusion for Visual Question Answering
    (arXiv:1705.06676).

    Attributes:
        out_dim: size of the output.
        width: size of each side of the core.
        dropout: probability of zeroing a unit of :math:`z` in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import TuckerFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = TuckerFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["core_image"].shape  # chunks, input, input, output
        (1, 8, 8, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        return read_out(self, _full_cores(self, tokens, num_chunks=1)[:, 0], train=train)


class MutanFusion(nn.Module):
    r"""Tucker fusion whose core is a sum of ``rank`` products, so that all modalities meet at once.

    :math:`V \sum_r \prod_m N_m^r (U_m x_m + c_m)` with :math:`x_m` the mean over valid tokens: the
    slices of the core have rank ``rank`` at most. One modality: a linear model. Two: the paper's
    fusion, without the tanh before the core. Many: the product of all. An absent modality is a
    factor of one; with none present the products are set to zero and only the readout bias remains.

    Reference: Ben-younes et al., MUTAN: Multimodal Tucker Fusion for Visual Question Answering
    (arXiv:1705.06676).

    Attributes:
        out_dim: size of the output.
        width: size of each side of the core.
        rank: number of products that the core is a sum of.
        dropout: probability of zeroing a sum in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MutanFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MutanFusion(out_dim=3, width=8, rank=5)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["core_image"].shape  # chunks, input, rank, output
        (1, 8, 5, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    rank: int = 5
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        return read_out(self, _low_rank_cores(self, tokens, num_chunks=1)[:, 0], train=train)


class BlockFusion(nn.Module):
    r"""Splits the modalities into chunks with a low-rank core each, and normalises every chunk.

    :math:`V [\text{norm}(z_1); \ldots; \text{norm}(z_C)]` with :math:`z_c = \sum_r \prod_m N_{mc}^r
    (U_m x_m + c_m)_c`, :math:`x_m` the mean over valid tokens, and ``norm`` the signed square root
    :math:`z / \sqrt{|z| + 0.0001}`, whose slope is finite at zero, divided by its Euclidean length.
    The paper does not mention ``norm``; its code applies it by default. Unlike there, the maps
    :math:`N` have no biases. Without a rank each chunk has a full core as in ``TuckerFusion``,
    which the code calls BlockTucker.

    One modality: a linear function, normalised. Two: the paper's fusion. Many: the product of all,
    or for full cores a fold over the sorted names. An absent modality is skipped; with none present
    only the readout bias remains. With a single chunk and without ``norm`` it is ``MutanFusion``,
    or ``TuckerFusion``.

    Reference: Ben-younes et al., BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering
    and Visual Relationship Detection (arXiv:1902.00038).

    Attributes:
        out_dim: size of the output.
        width: total size of the chunks, rounded up to a multiple of ``num_chunks``.
        rank: number of products that each core is a sum of, or None for full cores.
        num_chunks: number of chunks.
        dropout: probability of zeroing a normalised sum in training.
        normalise: whether ``norm`` is applied.

    Example:
        >>> import jax
        >>> from mmjax.fusion import BlockFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = BlockFusion(out_dim=3, width=8, num_chunks=4)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["core_image"].shape  # chunks, input, rank, output
        (4, 2, 5, 2)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {
        "normalisation": {"normalise": False},
        "low_rank": {"rank": None},
    }
    out_dim: int
    width: int = 64
    rank: int | None = 5
    num_chunks: int = 4
    dropout: float = 0.1
    normalise: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        cores = _full_cores if self.rank is None else _low_rank_cores
        chunks = cores(self, tokens, self.num_chunks)
        if self.normalise:
            chunks = power_normalise(self, chunks)
        return read_out(self, chunks.reshape(len(chunks), -1), train=train)


def _low_rank_cores(fusion: nn.Module, tokens: Mapping[str, Tokens], num_chunks: int) -> jax.Array:
    """``sum_r prod_m N_mc^r a_mc`` for each chunk ``c``: [batch, chunk, size].

    Creates ``project_{name}`` and ``core_{name}`` per modality, in the calling fusion.
    """
    chunks = _split(fusion, tokens, num_chunks)
    size = chunks.shape[-1]
    init = nn.initializers.lecun_normal(in_axis=1, out_axis=(2, 3), batch_axis=0)
    shape = (num_chunks, size, fusion.rank, size)
    cores = jnp.stack([fusion.param(f"core_{n}", init, shape) for n in sorted(tokens)])
    products = multiply_present(jnp.einsum("bmci,mcirk->bmrck", chunks, cores), tokens)
    return products.sum(axis=1)


def _full_cores(fusion: nn.Module, tokens: Mapping[str, Tokens], num_chunks: int) -> jax.Array:
    """``sum_ij T_cijk a_ci b_cj`` for each chunk ``c``, folded over modalities: as above."""
    chunks = _split(fusion, tokens, num_chunks)
    size = chunks.shape[-1]
    init = variance_scaling(num_chunks)  # whose fan-in counts all chunks

    def combine(n, a, b):
        core = fusion.param(f"core_{n}", init, (num_chunks, size, size, size))
        a, b = (x.reshape(-1, num_chunks, size) for x in (a, b))
        return jnp.einsum("bci,bcj,cijk->bck", a, b, core).reshape(len(a), -1)

    flat = chunks.reshape(*chunks.shape[:2], -1)
    flat = jnp.where(is_present(tokens)[..., None], flat, 0)
    return fold_present(combine, flat, tokens).reshape(-1, num_chunks, size)


def _split(fusion: nn.Module, tokens: Mapping[str, Tokens], num_chunks: int) -> jax.Array:
    """A linear function of each modality in chunks: [batch, modality, chunk, size]."""
    size = math.ceil(fusion.width / num_chunks)
    factors = linear_factors(tokens, size * num_chunks, prefix="project")
    return factors.reshape(*factors.shape[:2], num_chunks, size)
