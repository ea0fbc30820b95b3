"""Coupled Mamba: one selective state space per modality, each starting from their common state."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmjax.errors import UsageError
from mmjax.fusion.building_blocks import JointDense, embed
from mmjax.layers import Dense, masked_mean
from mmjax.layers.dropout import Dropout
from mmjax.layers.initializers import lecun_normal, ones, zeros
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class _Steps(NamedTuple):
    """What moves the state of a chain, and what else it puts out: [batch, length, ...]."""

    size: jax.Array  # [..., width]
    inflow: jax.Array  # [..., width]
    write: jax.Array  # [..., state_size]
    read: jax.Array  # [..., state_size]
    passed: jax.Array  # [..., width]
    gate: jax.Array  # [..., width]
    valid: jax.Array  # [..., 1]


class Chain(nn.Module):
    """What one modality does with the state; at masked tokens it leaves it as it is.

    Reference: Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces
    (arXiv:2312.00752).

    Attributes:
        state_size: size of the state of each unit.
        window: number of tokens that the convolution covers.
    """

    state_size: int
    window: int

    @nn.compact
    def __call__(self, tokens: Tokens) -> tuple[_Steps, jax.Array]:
        """The steps, and the rates of decay, [width, state_size]."""
        width, valid = tokens.values.shape[-1], tokens.mask[..., None]
        linear = lambda name, size: Dense(size, use_bias=False, name=name)
        normed = jnp.where(valid, LayerNorm(name="norm")(tokens.values), 0)
        kernel = self.param("kernel", lecun_normal, (self.window, width))
        bias = self.param("bias", zeros, (width,))
        x = nn.silu(_convolve(linear("in", width)(normed), kernel) + bias[None, None])
        size = nn.softplus(Dense(width, bias_init=_small_steps, name="size")(x))
        size = jnp.where(valid, size, 0)
        steps = _Steps(
            size=size,
            inflow=size * x,
            write=linear("write", self.state_size)(x),
            read=linear("read", self.state_size)(x),
            passed=self.param("skip", ones, (width,))[None, None] * x,
            gate=nn.silu(linear("gate", width)(normed)),
            valid=valid,
        )
        return steps, jnp.exp(self.param("log_rates", _log_rates, (width, self.state_size)))


class CoupledMambaFusion(nn.Module):
    r"""Every modality is a selective state space whose steps start from the states of all.

    At step :math:`t` each modality :math:`m` with a :math:`t`-th token has :math:`h_{mt} =
    \exp(D_{mt} A_m) s_{t-1} + D_{mt} B_{mt} x_{mt}`, where :math:`s_t` is the mean of their
    :math:`h_{mt}`, and :math:`y_{mt} = C_{mt} h_{mt} + S_m x_{mt}`. The step :math:`D` and the
    vectors :math:`B` and :math:`C` are computed from :math:`x`, a causal convolution of
    :math:`t_m`; :math:`y` is gated, projected and added to :math:`t_m`. Finally the streams are
    averaged over valid tokens, and the readout sees all of them. One modality: Mamba. Two or many:
    one chain for each. A modality that is absent, masked at a step or at its end takes no part in
    that step, so the others go on as if it were not given. With none present only the readout bias
    remains.

    Modalities need not be aligned or equally long, but their :math:`t`-th tokens are read together,
    and with a single token each they meet in the readout alone. The paper adds the states; as
    decays are near one, those of :math:`M` modalities would grow as :math:`M^t`, hence the mean.
    The authors' public code has no common state: its branches are Mambas that exchange features
    between layers.

    Reference: Li et al., Coupled Mamba: Enhanced Multi-modal Fusion with Coupled State Space Model
    (arXiv:2405.18014).

    Attributes:
        out_dim: size of the output.
        width: size of a token.
        state_size: size of the state of each unit.
        num_layers: number of layers.
        window: number of tokens that the convolution covers.
        dropout: probability of zeroing a unit of a residual in training.
        coupling: whether the chains share their state.

    Example:
        >>> import jax
        >>> from mmjax.fusion import CoupledMambaFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = CoupledMambaFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["chain_audio_0"]["log_rates"].shape  # of decay, of each unit
        (64, 8)
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {"coupling": {"coupling": False}}
    out_dim: int
    width: int = 64
    state_size: int = 8
    num_layers: int = 1
    window: int = 4
    dropout: float = 0.1
    coupling: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        if self.window < 1:
            raise UsageError("window", expected="at least 1", got=str(self.window))
        streams = embed(tokens, self.width, positions=False)
        longest = max(t.values.shape[1] for t in streams.values())
        streams = {n: _pad(t, longest) for n, t in streams.items()}
        for i in range(self.num_layers):
            streams = self._layer(i, streams, train=train)
        pooled = {
            n: masked_mean(t._replace(values=LayerNorm(name=f"norm_{n}")(t.values)))
            for n, t in streams.items()
        }
        fused = jnp.concatenate(list(pooled.values()), axis=-1)
        return Outputs(JointDense(self.out_dim, name="readout")(pooled), fused=fused)

    def _layer(self, i: int, streams: Mapping[str, Tokens], *, train: bool) -> dict[str, Tokens]:
        """The streams after one layer: {name: [batch, length, width]}."""
        chain = lambda n: Chain(self.state_size, self.window, name=f"chain_{n}_{i}")
        each, rates = zip(*(chain(n)(t) for n, t in streams.items()), strict=True)
        # [length, batch, modality, ...]
        steps = _Steps(*(jnp.stack(x, axis=2).swapaxes(0, 1) for x in zip(*each, strict=True)))
        start = jnp.zeros((*steps.size.shape[1:], self.state_size), steps.size.dtype)
        _, y = lax.scan(partial(self._advance, jnp.stack(rates)), start, steps)
        project = lambda n: Dense(self.width, use_bias=False, name=f"out_{n}_{i}")
        drop = Dropout(self.dropout, deterministic=not train)
        return {
            n: t._replace(values=t.values + drop(project(n)(y[:, :, m].swapaxes(0, 1))))
            for m, (n, t) in enumerate(streams.items())
        }

    def _advance(
        self, rates: jax.Array, state: jax.Array, step: _Steps
    ) -> tuple[jax.Array, jax.Array]:
        """One step of all chains: their states [batch, modality, width, state_size], and output."""
        decay = jnp.exp(-step.size[..., None] * rates[None])
        state = decay * state + step.inflow[..., None] * step.write[:, :, None]
        y = jnp.einsum("bmws,bms->bmw", state, step.read) + step.passed
        if self.coupling:
            # Where none has a token, all states are still the common one.
            counts = step.valid | ~step.valid.any(axis=1, keepdims=True)
            common = state.mean(axis=1, keepdims=True, where=counts[..., None])
            state = jnp.broadcast_to(common, state.shape)
        return state, y * step.gate


def _pad(tokens: Tokens, length: int) -> Tokens:
    """Tokens with masked ones added at the end, up to a length."""
    more = [(0, 0), (0, length - tokens.values.shape[1])]
    return Tokens(jnp.pad(tokens.values, [*more, (0, 0)]), jnp.pad(tokens.mask, more))


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Causal convolution of each unit: [batch, length, width] with [window, width]."""
    padded = jnp.pad(x, [(0, 0), (len(kernel) - 1, 0), (0, 0)])
    shifted = [padded[:, k : k + x.shape[1]] * kernel[k][None, None] for k in range(len(kernel))]
    return sum(shifted[1:], start=shifted[0])


def _small_steps(key, shape, dtype=jnp.float32):
    """Biases whose softplus goes from 0.001 to 0.1, as in Mamba; evenly where it draws them."""
    return np.log(np.expm1(np.geomspace(1e-3, 1e-1, *shape))).astype(dtype)


def _log_rates(key, shape, dtype=jnp.float32):
    return np.broadcast_to(np.log(np.arange(1, shape[1] + 1)), shape).astype(dtype)
