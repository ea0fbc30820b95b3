"""Encoders that were trained elsewhere, frozen or fine-tuned."""

from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.flax_networks import from_linen, from_nnx, is_nnx
from mmjax.encoders.network import Function, Network
from mmjax.encoders.weights import Weights
from mmjax.errors import UsageError
from mmjax.layers import as_tokens
from mmjax.types import Tokens

if TYPE_CHECKING:
    from flax import nnx


class Pretrained(nn.Module):
    """A network with parameters of its own; made by ``pretrained``.

    Its input is in the units of the task: nothing is standardised, images of bytes are between 0
    and 1, other bytes are numbers as they are.

    Attributes:
        network: a function and its parameters.
        trainable: 0 if these are frozen, else the factor of the learning rate with which they are
            trained, from the given values on.
    """

    in_units: ClassVar[bool] = True  # of the task: its input is not standardised

    network: Network
    trainable: float = 0.0

    @property
    def label(self) -> str:
        """What it is called in the names of strategies: ``vit 1a2b3c4d at 0.1``."""
        return f"{self.network}" + (f" at {self.trainable:g}" if self.trainable else "")

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, ...] to tokens, in evaluation mode whatever ``train`` is."""
        if not self.trainable:
            return self.network.encode(x)
        if self.trainable != 1 and len(self.path) > 1:
            raise UsageError(
                "trainable",
                f"{self.trainable} applies to the encoder of a modality, not to a part of one",
                fix="Use trainable=True there, or pass the encoder itself.",
            )
        given = self.param("given", lambda key: self.network.weights.floats())
        return self.network.encode(x, given)


def pretrained(
    network: "Function | nn.Module | nnx.Module",
    params: Any = None,
    trainable: bool | float = False,
) -> Pretrained:
    """An encoder from a network that was trained elsewhere, in any library for JAX.

    A comparison runs a frozen encoder once on each row, keeps the features in the user's cache
    folder, and trains on them; see ``mmjax.comparison.frozen``. Networks always run in evaluation
    mode, also when they are fine-tuned: without dropout, and with the statistics that they have.

    Args:
        network: a function ``(params, x) -> features`` that JAX can trace, with features
            [batch, features], [batch, length, features] or ``Tokens``; a Linen module, called with
            ``train=False`` or ``deterministic=True`` if it has such an argument; or an NNX module,
            which is left as it is.
        params: any tree of arrays; for a Linen module, its parameters or all of its variables, of
            which only the collection ``params`` is trained; for an NNX module, none.
        trainable: False to freeze the parameters, True to fine-tune them, or a fraction of the
            learning rate to fine-tune them with, such as 0.1.

    Raises:
        UsageError: there are no parameters where they are needed, or ``trainable`` is not between
            0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.encoders import pretrained
        >>> encoder = pretrained(lambda w, x: jnp.tanh(x @ w), jnp.ones((5, 8)))
        >>> encoder.apply({}, jnp.ones((2, 5)), train=False).values.shape
        (2, 1, 8)
    """
    number = isinstance(trainable, bool | int | float)
    if not number or not 0 <= trainable <= 1:
        raise UsageError("trainable", expected="a number from 0 to 1", got=repr(trainable))
    return Pretrained(_make_network(network, params), float(trainable))


def _make_network(network: Any, params: Any) -> Network:
    if is_nnx(network):
        if params is not None:
            raise UsageError("params", "an NNX module holds its own parameters")
        return from_nnx(network)
    if isinstance(network, nn.Module):
        return from_linen(network, params)
    if callable(network) and not isinstance(network, type):
        named = getattr(network, "func", network)  # of functools.partial
        name = getattr(named, "__name__", type(named).__name__)
        return Network(network, Weights(params), name.strip("<>"))
    expected = "a function (params, x) -> features, or a Flax module"
    raise UsageError("network", expected=expected, got=f"{network!r:.80}")


class Features(nn.Module):
    """Reads the features of a frozen encoder, which are the input of the model.

    Attributes:
        of: the network in words, for recipes.
        masked: whether the last feature marks padding, as ``pack`` puts it there.
    """

    in_units: ClassVar[bool] = True

    of: str
    masked: bool = field(default=False, repr=False)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, length, features] to tokens; there are no parameters."""
        if not self.masked:
            return as_tokens(x)
        return Tokens(x[..., :-1], x[..., -1] < 0.5)


def pack(tokens: Tokens, masked: bool) -> jax.Array:
    """Tokens as one array for ``Features``: float32 [batch, length, features].

    If ``masked``, a last feature is 1 at padding. A row of zeros then stands for valid tokens, as
    it does without.

    Example:
        >>> tokens = Tokens(jnp.ones((1, 2, 3)), jnp.array([[True, False]]))
        >>> pack(tokens, masked=True)[..., -1].tolist()
        [[0.0, 1.0]]
    """
    values = tokens.values.astype(jnp.float32)
    if not masked:
        return values
    return jnp.concatenate([values, ~tokens.mask[..., None]], axis=-1)
