"""Training methods: how a batch becomes a gradient, and any preliminary runs. See ``METHODS``."""

from mmjax.methods.agm import AGM
from mmjax.methods.comm import CoMM
from mmjax.methods.distillation import Distillation
from mmjax.methods.gradient_blending import GradientBlending
from mmjax.methods.greedy import Greedy
from mmjax.methods.joint import Joint
from mmjax.methods.mla import MLA
from mmjax.methods.mmpareto import MMPareto
from mmjax.methods.modality_dropout import ModalityDropout
from mmjax.methods.ogm_ge import OGMGE
from mmjax.methods.pmr import PMR
from mmjax.methods.stacking import Stacking
from mmjax.methods.two_stage import TwoStage
from mmjax.registry import METHODS

__all__ = [
    "AGM",
    "METHODS",
    "MLA",
    "OGMGE",
    "PMR",
    "CoMM",
    "Distillation",
    "GradientBlending",
    "Greedy",
    "Joint",
    "MMPareto",
    "ModalityDropout",
    "Stacking",
    "TwoStage",
]
