"""The model: encode each modality, substitute what is absent, fuse."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError, look_up
from mmjax.layers import as_float, as_tokens, in_units, is_ids, learned_tokens, takes_mask
from mmjax.registry import ABSENCES
from mmjax.types import PADDING, Outputs, Tokens


class MultimodalModel(nn.Module):
    """Encoders and a fusion; with a single encoder, that modality's unimodal baseline.

    Attributes:
        encoders: {modality: encoder}; other modalities of the input are ignored.
        fusion: maps {modality: Tokens} to a prediction.
        absent: key of ``ABSENCES``. In every case, the input of a modality that a row lacks has no
            influence. ``learned`` tokens are trained on rows that lack the modality.
        means: {modality: mean training input}, for ``absent="mean"``.
        scales: {modality: (mean, deviation) of its features}, for inputs to be standardised.
        padded: modalities whose rows differ in length, with NaN past the end. Encoders read zeros
            there; those whose call takes ``mask`` get it, [batch, length] bool.

    Example:
        >>> import jax
        >>> from mmjax.encoders import MLPEncoder
        >>> from mmjax.fusion import ConcatFusion
        >>> from mmjax.model import MultimodalModel
        >>> encoders = {"audio": MLPEncoder(), "image": MLPEncoder()}
        >>> model = MultimodalModel(encoders, ConcatFusion(out_dim=3))
        >>> key, x, here = jax.random.key(0), jax.numpy.ones((2, 5)), jax.numpy.array([True, False])
        >>> rows = {"audio": x, "image": x}, {"audio": here, "image": ~here}
        >>> outputs, _ = jax.eval_shape(lambda: model.init_with_output(key, *rows, train=False))
        >>> outputs.prediction.shape, outputs.tokens["audio"].values.shape
        ((2, 3), (2, 1, 64))
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module
    absent: str = "mask"
    means: Mapping[str, jax.Array] = field(default_factory=dict, repr=False)
    scales: Mapping[str, tuple[jax.Array, jax.Array]] = field(default_factory=dict, repr=False)
    padded: tuple[str, ...] = field(default=(), repr=False)

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool
    ) -> Outputs:
        """Maps {modality: [batch, ...]} and {modality: [batch] bool} to Outputs."""
        look_up("absent", self.absent, ABSENCES)
        tokens = {n: self._encode(n, inputs[n], present[n], train) for n in sorted(self.encoders)}
        outputs = self.fusion(tokens, train=train)
        if not isinstance(outputs, Outputs):
            outputs = Outputs(outputs)
        self._check(outputs.prediction)
        return outputs._replace(tokens=tokens)

    def _check(self, prediction: jax.Array) -> None:
        """Rejects shapes that a loss might otherwise silently broadcast."""
        out_dim = self.fusion.out_dim
        if prediction.ndim != 2 or prediction.shape[1] != out_dim:
            raise UsageError(
                f"{type(self.fusion).__name__}, prediction",
                expected=f"shape [batch, {out_dim}]",
                got=f"{prediction.shape}",
            )

    def _encode(self, name: str, x: jax.Array, here: jax.Array, train: bool) -> Tokens:
        x = read_input(self.encoders[name], x)
        if is_ids(x):
            stand_in: Any = PADDING  # an empty text: ids have neither a zero nor a mean
        else:
            stand_in = self.means[name][None] if self.absent == "mean" else 0
        # Masked tokens would pass NaN on to the gradient, so absent inputs are always replaced.
        known = here.reshape(-1, *[1] * (x.ndim - 1))
        x = jnp.where(known, x, stand_in)
        x = scale_input(x, self.scales.get(name))
        if name in self.scales and self.absent == "zero":  # raw zeros may be far from every input
            x = jnp.where(known, x, 0)
        encoder, options = self.encoders[name], {}
        if name in self.padded:
            there = ~jnp.isnan(x.reshape(*x.shape[:2], -1)[..., 0])
            x = jnp.where(there.reshape(*there.shape, *[1] * (x.ndim - 2)), x, 0)
            options = {"mask": there} if takes_mask(encoder) else {}
        values, mask = as_tokens(encoder(x, train=train, **options))
        if self.absent == "mask":
            return Tokens(values, mask & here[:, None])
        if self.absent != "learned":
            return Tokens(values, mask)
        batch, length, width = values.shape
        learned = learned_tokens(self, f"absent_{name}", (length, width), batch)
        return Tokens(jnp.where(here[:, None, None], values, learned.values), mask | ~here[:, None])


def only_params(part: str, variables: Mapping[str, Any]) -> Any:
    """The parameters among the variables of a model or a part of it, which are all that is kept.

    Raises:
        UsageError: there are others, such as the running statistics of a batch normalisation.

    Example:
        >>> only_params("model", {"params": {"kernel": 1}})
        {'kernel': 1}
    """
    others = sorted(set(variables) - {"params"})
    if others:
        problem = f"only parameters are trained, but it has {', '.join(others)}, too"
        fix = "Instead of a batch normalisation, use nn.LayerNorm or nn.GroupNorm."
        raise UsageError(part, problem, fix=fix if "batch_stats" in others else "")
    return variables.get("params", {})


def read_input(encoder: nn.Module, x: jax.Array) -> jax.Array:
    """An input as floats, before it is standardised; some encoders read it in its own units.

    Example:
        >>> from mmjax.encoders import CNN
        >>> read_input(CNN(), jnp.full((1, 2, 2, 1), 255, jnp.uint8)).max().item()
        1.0
    """
    return in_units(x) if getattr(encoder, "in_units", False) else as_float(x)


Scale = tuple[jax.Array, jax.Array]


def scale_input(x: jax.Array, scale: Scale | None) -> jax.Array:
    """Standardises an input [batch, ..., features], if it has a scale: what encoders see.

    Example:
        >>> from mmjax.data.scale import Scale
        >>> scale = Scale(jnp.array([10.0]), jnp.array([2.0]))
        >>> scale_input(jnp.array([[14.0]]), scale).tolist()
        [[2.0]]
    """
    if scale is None:
        return x
    mean, deviation = (part.reshape(*[1] * (x.ndim - 1), -1) for part in scale)
    return (x - mean) / deviation


def unscale_input(x: jax.Array, scale: Scale | None) -> jax.Array:
    """The inverse of ``scale_input``.

    Example:
        >>> from mmjax.data.scale import Scale
        >>> scale = Scale(jnp.array([10.0]), jnp.array([2.0]))
        >>> unscale_input(jnp.array([[2.0]]), scale).tolist()
        [[14.0]]
    """
    if scale is None:
        return x
    mean, deviation = (part.reshape(*[1] * (x.ndim - 1), -1) for part in scale)
    return x * deviation + mean
