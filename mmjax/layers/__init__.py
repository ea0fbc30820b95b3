"""Layers and helpers shared by several encoders, fusions or methods."""

from mmjax.layers.dense import MLP, Dense, DenseGeneral
from mmjax.layers.tokens import (
    MODALITY_WEIGHTS,
    all_valid,
    as_float,
    as_sequence,
    as_tokens,
    is_present,
    join,
    learned_tokens,
    masked_by,
    masked_mean,
    masked_softmax,
    mean_where,
    promise,
    show_weights,
    sinusoidal_positions,
    zero_masked,
)

__all__ = [
    "MLP",
    "MODALITY_WEIGHTS",
    "Dense",
    "DenseGeneral",
    "all_valid",
    "as_float",
    "as_sequence",
    "as_tokens",
    "is_present",
    "join",
    "learned_tokens",
    "masked_by",
    "masked_mean",
    "masked_softmax",
    "mean_where",
    "promise",
    "show_weights",
    "sinusoidal_positions",
    "zero_masked",
]
