"""Attribution of a score to modalities: Shapley values and partial information decomposition."""

from mmjax.analysis.attribution.information import (
    Decomposition,
    decompose,
    discretise,
    discretise_predictions,
    estimate,
)
from mmjax.analysis.attribution.shapley import LIKELIHOOD, shapley_rows

__all__ = [
    "LIKELIHOOD",
    "Decomposition",
    "decompose",
    "discretise",
    "discretise_predictions",
    "estimate",
    "shapley_rows",
]
