"""CentralNet: after every layer, a central stream adds a trained share of each modality."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import read_out
from mmjax.layers import Dense, masked_mean
from mmjax.types import Outputs, Tokens


class CentralNetFusion(nn.Module):
    r"""Mixes the streams of all modalities into a central one after every layer.

    :math:`h_m \gets \text{relu}(W_m h_m + b_m)` from :math:`x_m`, the mean over valid tokens;
    :math:`h_c \gets \text{relu}(C (a_c h_c + \sum_m a_m h_m) + c)` with trained scalars :math:`a`
    per layer, initially equal. Each stream has a readout, and the prediction mixes their logits by
    the same rule, so that early fusion, late fusion and a single modality are special cases. The
    logits of the modalities are branches; as in the paper, each has a loss of its own (the
    objective ``branches``), unless another objective is asked for. One modality: its stream and the
    central one. Two or many: the sum is over all. An absent modality adds zeros to every mixture;
    with none present only the biases of the central stream remain.

    Reference: Vielzeuf et al., CentralNet: a Multilayer Approach for Multimodal Fusion
    (arXiv:1808.07275).

    Attributes:
        out_dim: size of the output.
        width: size of every layer of every stream.
        num_layers: number of layers per modality; the central stream has one fewer.
        dropout: probability of zeroing a unit of the readout input in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import CentralNetFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = CentralNetFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> {n: variables["params"][n].round(2).item() for n in ("weight_1", "weight_1_audio")}
        {'weight_1': 0.32999998331069946, 'weight_1_audio': 0.32999998331069946}
    """

    level: ClassVar[str] = "feature"
    objective: ClassVar[str] = "branches"
    out_dim: int
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        absent = {n: ~tokens[n].mask.any(axis=1, keepdims=True) for n in sorted(tokens)}
        dense = lambda n, x, name, size: jnp.where(absent[n], 0, Dense(size, name=name)(x))
        drop = nn.Dropout(self.dropout, deterministic=not train)
        streams = {n: masked_mean(tokens[n]) for n in absent}
        centre: Any = None
        for i in range(self.num_layers):
            if centre is not None:
                centre = nn.relu(Dense(self.width, name=f"centre_{i}")(centre))
            streams = {
                n: nn.relu(dense(n, x, f"stream_{i}_{n}", self.width)) for n, x in streams.items()
            }
            centre = self._mix(i, streams, centre)
        central = read_out(self, centre, train=train)
        branches = {n: dense(n, drop(x), f"readout_{n}", self.out_dim) for n, x in streams.items()}
        prediction = self._mix(self.num_layers, branches, central.prediction)
        return central._replace(prediction=prediction, branches=branches)

    def _mix(self, i: int, streams: Mapping[str, jax.Array], centre: jax.Array | None) -> jax.Array:
        """The sum of the streams, and of the centre if given, each times a trained scalar."""
        share = nn.initializers.constant(1 / (len(streams) + 1))
        weight = lambda name: self.param(name, share, ())
        mixed: Any = sum(weight(f"weight_{i}_{n}") * x for n, x in streams.items())
        return mixed if centre is None else weight(f"weight_{i}") * centre + mixed
