"""Encoders, which turn one modality into tokens, and their table ``ENCODERS``."""

from collections.abc import Sequence

from mmjax.encoders.cnn import CNN, CNN1D, CNN2D
from mmjax.encoders.gru import GRU
from mmjax.encoders.mlp import MLPEncoder
from mmjax.encoders.one_hot import OneHot
from mmjax.encoders.raw import Raw
from mmjax.encoders.table import FTTransformer, TableEncoder
from mmjax.encoders.text import Bag, TextEncoder
from mmjax.encoders.transformer import Patches, Transformer
from mmjax.registry import ENCODERS
from mmjax.types import Coding

__all__ = [
    "CNN",
    "CNN1D",
    "CNN2D",
    "ENCODERS",
    "GRU",
    "Bag",
    "FTTransformer",
    "MLPEncoder",
    "OneHot",
    "Patches",
    "Raw",
    "TableEncoder",
    "TextEncoder",
    "Transformer",
    "default_encoder",
]

_DEFAULT_FOR_RANK = {1: "mlp", 2: "cnn1d", 3: "cnn"}


def default_encoder(shape: Sequence[int], coding: Coding | None = None) -> str:
    """The default encoder for samples of a shape, or of a coding, by name.

    ``text`` for token ids and ``table`` for tables. Otherwise ``mlp`` for vectors, ``cnn1d`` for
    sequences and ``cnn`` for images, but ``mlp`` for what is too small to be halved twice, as the
    convolutional encoders do.

    Example:
        >>> from mmjax.encoders import default_encoder
        >>> [default_encoder(shape) for shape in [(13,), (20, 13), (28, 28, 1), (2, 13)]]
        ['mlp', 'cnn1d', 'cnn', 'mlp']
    """
    if coding is not None:
        return coding.encoder
    if any(side < 4 for side in shape[:-1]):
        return "mlp"
    return _DEFAULT_FOR_RANK[len(shape)]
