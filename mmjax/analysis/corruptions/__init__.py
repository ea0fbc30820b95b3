"""Corruptions: what may happen to a modality after deployment."""

from mmjax.analysis.corruptions.corruption import NUM_SEVERITIES, Corruption
from mmjax.analysis.corruptions.sweep import Condition, Sweep, make_sweep, sample_rows
from mmjax.analysis.corruptions.table import CORRUPTIONS

__all__ = [
    "CORRUPTIONS",
    "NUM_SEVERITIES",
    "Condition",
    "Corruption",
    "Sweep",
    "make_sweep",
    "sample_rows",
]
