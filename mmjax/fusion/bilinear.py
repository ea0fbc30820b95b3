"""Bilinear pooling: products of linear functions of the modalities.

The factors are linear in the pooled features, as in a bilinear form. Each has a bias, so that the
form has linear terms too. ``ProductFusion`` multiplies non-linear factors.
"""

import zlib
from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.fusion.building_blocks import (
    linear_factors,
    multiply_present,
    power_normalise,
    project,
    read_out,
)
from mmjax.types import Outputs, Removable, Tokens


class MLBFusion(nn.Module):
    r"""Multiplies one linear function per modality, then reads out.

    :math:`V \prod_m (U_m x_m + c_m)` with :math:`x_m` the mean over valid tokens, so each output is
    a bilinear form of rank ``width``. This is the paper's variant without tanh; with tanh it would
    be ``ProductFusion``. One modality: a linear model. Two: the paper's low-rank bilinear pooling.
    Many: the product of all, a multilinear form. An absent modality is a factor of one; with none
    present the product is set to zero and only the readout bias remains.

    Reference: Kim et al., Hadamard Product for Low-rank Bilinear Pooling (arXiv:1610.04325).

    Attributes:
        out_dim: size of the output.
        width: rank of the form.
        dropout: probability of zeroing a unit of the product in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MLBFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MLBFusion(out_dim=3, width=16)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.fused.shape  # the rank of the form
        (4, 16)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        factors = linear_factors(tokens, self.width, prefix="project")
        return read_out(self, multiply_present(factors, tokens), train=train)


class MFBFusion(nn.Module):
    r"""Sums products of linear functions in groups of ``k``; power and L2 normalisation follow.

    :math:`V \text{norm}(\sum_k \prod_m (U_m^k x_m + c_m^k))` with :math:`x_m` the mean over valid
    tokens and ``norm`` the signed square root :math:`z / \sqrt{|z| + 0.0001}`, divided by its
    Euclidean length. The authors' root has no constant and an infinite slope at zero; where sums
    are much larger than the constant, results agree to 0.001. One modality: a normalised linear
    function. Two: the paper's pooling. Many: the product of all. An absent modality is a factor of
    one; with none present the sum is set to zero and only the readout bias remains. Dropout is
    applied once, before the readout.

    Reference: Yu et al., Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for
    Visual Question Answering (arXiv:1708.01471).

    Attributes:
        out_dim: size of the output.
        width: number of sums.
        k: number of products in each sum.
        dropout: probability of zeroing a normalised sum in training.
        normalise: whether ``norm`` is applied.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MFBFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MFBFusion(out_dim=3, width=8, k=5)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["project_audio"]["kernel"].shape  # 8 sums of 5 products
        (4, 40)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"normalisation": {"normalise": False}}
    out_dim: int
    width: int = 64
    k: int = 5
    dropout: float = 0.1
    normalise: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        factors = linear_factors(tokens, self.width * self.k, prefix="project")
        return read_out(self, _pool(self, multiply_present(factors, tokens)), train=train)


class MFHFusion(nn.Module):
    r"""Chains blocks of factorised bilinear pooling, each multiplied by the ones before it.

    :math:`V [\text{norm}(\sum_k e_1); \ldots; \text{norm}(\sum_k e_p)]` with :math:`e_i = e_{i-1}
    \odot \prod_m (U_{mi} x_m + c_{mi})`, :math:`e_0 = 1`, :math:`x_m` the mean over valid tokens,
    and sums and ``norm`` as in ``MFBFusion``, so that block :math:`i` is of order :math:`i` in
    every modality. One modality: its polynomials of degree :math:`1, \ldots, p`. Two: the paper's
    pooling. Many: the product of all in each block. An absent modality is a factor of one; with
    none present the sums are set to zero and only the readout bias remains. Dropout is applied
    once, before the readout.

    Reference: Yu et al., Beyond Bilinear: Generalized Multimodal Factorized High-order Pooling for
    Visual Question Answering (arXiv:1708.03619).

    Attributes:
        out_dim: size of the output.
        width: number of sums in each block.
        k: number of products in each sum.
        num_blocks: number of blocks :math:`p`.
        dropout: probability of zeroing a normalised sum in training.
        normalise: whether ``norm`` is applied.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MFHFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MFHFusion(out_dim=3, width=8, num_blocks=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.fused.shape  # orders 1 to 3, side by side
        (4, 24)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"normalisation": {"normalise": False}}
    out_dim: int
    width: int = 64
    k: int = 5
    num_blocks: int = 2
    dropout: float = 0.1
    normalise: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        size = self.width * self.k
        factors = lambda i: linear_factors(tokens, size, prefix=f"project_{i}")
        blocks = [multiply_present(factors(i), tokens) for i in range(self.num_blocks)]
        pooled = [_pool(self, expanded) for expanded in accumulate(blocks, jnp.multiply)]
        return read_out(self, jnp.concatenate(pooled, axis=-1), train=train)


class MCBFusion(nn.Module):
    r"""Sketches the outer product of all modalities by multiplying their Fourier transforms.

    :math:`V \text{norm}(\text{irfft}(\prod_m \text{rfft}(S_m h_m)))` with
    :math:`h_m = \tanh(W_m x_m + c_m)` of the mean over valid tokens, :math:`S_m` a count sketch,
    which adds each coordinate with a random sign to a random one of ``size``, and ``norm`` as in
    ``MFBFusion``. The product of the spectra is the sketch of the outer product. Signs and
    positions are fixed and derived from the modality's name. The paper sketches its features
    directly; here they are projected first. One modality: its sketch. Two: the paper's pooling.
    Many: the outer product of all. An absent modality is a factor of one; with none present the
    sketch is set to zero and only the readout bias remains.

    Reference: Fukui et al., Multimodal Compact Bilinear Pooling for Visual Question Answering and
    Visual Grounding (arXiv:1606.01847).

    Attributes:
        out_dim: size of the output.
        width: size of the vectors whose outer product is sketched.
        size: size of the sketch.
        dropout: probability of zeroing a unit of the sketch in training.
        normalise: whether ``norm`` is applied.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MCBFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MCBFusion(out_dim=3, size=128)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.fused.shape
        (4, 128)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"normalisation": {"normalise": False}}
    out_dim: int
    width: int = 64
    size: int = 512
    dropout: float = 0.1
    normalise: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        sketches = np.stack([count_sketch(n, self.width, self.size) for n in sorted(tokens)])
        sketched = jnp.einsum("bmw,mws->bms", project(tokens, self.width), sketches)
        # FFTs need at least float32.
        spectrum = multiply_present(jnp.fft.rfft(sketched.astype(jnp.float32)), tokens)
        joint = jnp.fft.irfft(spectrum, self.size).astype(sketched.dtype)
        return read_out(self, _normalise(self, joint), train=train)


def count_sketch(name: str, width: int, size: int) -> np.ndarray:
    """The count-sketch matrix of a modality, [width, size], with one +1 or -1 per row.

    It depends on the name alone, and is the same in every process.
    """
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw(width)
    signs = np.where(bits >> 63, np.float32(1), np.float32(-1))
    return signs[:, None] * np.eye(size, dtype=np.float32)[bits % size]


def _pool(fusion: MFBFusion | MFHFusion, expanded: jax.Array) -> jax.Array:
    """Sums groups of ``k`` neighbours and normalises: [batch, width * k] to [batch, width]."""
    return _normalise(fusion, expanded.reshape(-1, fusion.width, fusion.k).sum(axis=-1))


def _normalise(fusion: MFBFusion | MFHFusion | MCBFusion, z: jax.Array) -> jax.Array:
    """The normalised sums or sketch, [batch, features], if the fusion normalises."""
    return power_normalise(fusion, z) if fusion.normalise else z
