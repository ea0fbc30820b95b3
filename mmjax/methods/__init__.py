"""Training methods: how a batch becomes a gradient, and any preliminary runs. See ``METHODS``."""

from mmjax.methods.agm import AGM
from mmjax.methods.arl import ARL
from mmjax.methods.cggm import CGGM
from mmjax.methods.cml import CML
from mmjax.methods.comm import CoMM
from mmjax.methods.distillation import Distillation
from mmjax.methods.gradient_blending import GradientBlending
from mmjax.methods.greedy import Greedy
from mmjax.methods.joint import Joint
from mmjax.methods.lfm import LFM
from mmjax.methods.mla import MLA
from mmjax.methods.mmpareto import MMPareto
from mmjax.methods.modality_dropout import ModalityDropout
from mmjax.methods.more_vs_fewer import MoreVsFewer
from mmjax.methods.ogm_ge import OGMGE
from mmjax.methods.opm import OPM
from mmjax.methods.pmr import PMR
from mmjax.methods.recon_boost import ReconBoost
from mmjax.methods.relearning import Relearning
from mmjax.methods.sample_valuation import SampleValuation
from mmjax.methods.stacking import Stacking
from mmjax.methods.two_stage import TwoStage
from mmjax.registry import METHODS

__all__ = [
    "AGM",
    "ARL",
    "CGGM",
    "CML",
    "LFM",
    "METHODS",
    "MLA",
    "OGMGE",
    "OPM",
    "PMR",
    "CoMM",
    "Distillation",
    "GradientBlending",
    "Greedy",
    "Joint",
    "MMPareto",
    "ModalityDropout",
    "MoreVsFewer",
    "ReconBoost",
    "Relearning",
    "SampleValuation",
    "Stacking",
    "TwoStage",
]
