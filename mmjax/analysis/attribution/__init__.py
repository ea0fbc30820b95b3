"""Where a score comes from: what each modality adds to it, and how what they say overlaps."""

from mmjax.analysis.attribution.information import (
    Decomposition,
    decompose,
    discretise,
    discretise_predictions,
    estimate,
)
from mmjax.analysis.attribution.shapley import shapley_rows

__all__ = [
    "Decomposition",
    "decompose",
    "discretise",
    "discretise_predictions",
    "estimate",
    "shapley_rows",
]
