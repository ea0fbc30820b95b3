"""Objectives, which map outputs and targets to a loss, and their table ``OBJECTIVES``."""

from mmjax.objectives.branches import branch_mean, branches
from mmjax.objectives.classification import cross_entropy, focal, label_smoothing, mse
from mmjax.objectives.confidence_ranking import confidence_ranking
from mmjax.objectives.contrastive import info_nce, supervised_contrastive
from mmjax.objectives.deep_cca import deep_cca
from mmjax.objectives.evidential import evidential
from mmjax.registry import OBJECTIVES

__all__ = [
    "OBJECTIVES",
    "branch_mean",
    "branches",
    "confidence_ranking",
    "cross_entropy",
    "deep_cca",
    "evidential",
    "focal",
    "info_nce",
    "label_smoothing",
    "mse",
    "supervised_contrastive",
]
