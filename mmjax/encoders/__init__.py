"""Encoders, which turn one modality into tokens, and their table ``ENCODERS``."""

from collections.abc import Sequence

from mmjax.encoders.adapter import pretrained
from mmjax.encoders.cnn import CNN, CNN1D, CNN2D, CNN3D
from mmjax.encoders.gru import GRU
from mmjax.encoders.mlp import MLPEncoder
from mmjax.encoders.one_hot import OneHot
from mmjax.encoders.raw import Raw
from mmjax.encoders.table import FTTransformer, TableEncoder
from mmjax.encoders.text import Bag, TextEncoder
from mmjax.encoders.transformer import Patches, Transformer
from mmjax.encoders.video import Video
from mmjax.registry import ENCODERS
from mmjax.types import Coding

__all__ = [
    "CNN",
    "CNN1D",
    "CNN2D",
    "CNN3D",
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
    "Video",
    "default_encoder",
    "pretrained",
]

_DEFAULT_FOR_RANK = {1: "mlp", 2: "cnn1d", 3: "cnn", 4: "video"}
_DEFAULT_FOR_KIND = {"volume": "cnn3d"}


def default_encoder(
    shape: Sequence[int], kind: str | None = None, coding: Coding | None = None
) -> str:
    """The default encoder for samples of a shape, or of a coding, by name.

    ``mlp`` for vectors, ``cnn1d`` for sequences, ``cnn`` for images, ``video`` for videos and
    ``cnn3d`` for volumes, but ``mlp`` for what is too small to be halved twice, as the
    convolutional encoders do; a video may be of any length. ``text`` for token ids and ``table``
    for tables.

    Args:
        shape: of a sample.
        kind: of the sample where its shape does not tell, as ``Task.kinds`` has it.
        coding: of the modality, for text and tables, as ``Task.codings`` has it.

    Example:
        >>> from mmjax.encoders import default_encoder
        >>> [default_encoder(shape) for shape in [(13,), (20, 13), (28, 28, 1), (2, 13)]]
        ['mlp', 'cnn1d', 'cnn', 'mlp']
        >>> default_encoder((8, 28, 28, 1)), default_encoder((8, 28, 28, 1), "volume")
        ('video', 'cnn3d')
    """
    if coding is not None:
        return coding.encoder
    usual = _DEFAULT_FOR_KIND.get(kind or "", _DEFAULT_FOR_RANK[len(shape)])
    halved = shape[1:-1] if usual == "video" else shape[:-1]
    return "mlp" if any(side < 4 for side in halved) else usual
