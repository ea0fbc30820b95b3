"""Encoders, which turn one modality into tokens, and their table ``ENCODERS``."""

from collections.abc import Sequence

from mmjax.encoders.cnn import CNN, CNN1D, CNN2D
from mmjax.encoders.gru import GRU
from mmjax.encoders.mlp import MLPEncoder
from mmjax.encoders.pretrained import pretrained
from mmjax.encoders.raw import Raw
from mmjax.encoders.transformer import Patches, Transformer
from mmjax.registry import ENCODERS

__all__ = [
    "CNN",
    "CNN1D",
    "CNN2D",
    "ENCODERS",
    "GRU",
    "MLPEncoder",
    "Patches",
    "Raw",
    "Transformer",
    "default_encoder",
    "pretrained",
]

_DEFAULT_FOR_RANK = {1: "mlp", 2: "cnn1d", 3: "cnn"}


def default_encoder(shape: Sequence[int]) -> str:
    """The default encoder for samples of a shape, by name.

    ``mlp`` for vectors, ``cnn1d`` for sequences and ``cnn`` for images, but ``mlp`` for what is too
    small to be halved twice, as the convolutional encoders do.

    Example:
        >>> from mmjax.encoders import default_encoder
        >>> [default_encoder(shape) for shape in [(13,), (20, 13), (28, 28, 1), (2, 13)]]
        ['mlp', 'cnn1d', 'cnn', 'mlp']
    """
    if any(side < 4 for side in shape[:-1]):
        return "mlp"
    return _DEFAULT_FOR_RANK[len(shape)]
