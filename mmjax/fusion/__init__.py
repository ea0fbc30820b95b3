"""Fusion strategies, and the table ``FUSIONS`` of those that mmjax offers.

Only ``out_dim`` is required: ``FUSIONS["gmu"](out_dim=10)``.
"""

from mmjax.fusion.activation import ActivationFusion
from mmjax.fusion.bilinear import MCBFusion, MFBFusion, MFHFusion, MLBFusion
from mmjax.fusion.bottleneck import BottleneckFusion
from mmjax.fusion.centralnet import CentralNetFusion
from mmjax.fusion.co_attention import CoAttentionFusion
from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.coupled_mamba import CoupledMambaFusion
from mmjax.fusion.cross_attention import CrossAttentionFusion
from mmjax.fusion.deep_cca import DeepCCAFusion
from mmjax.fusion.deepsets import DeepSetsFusion
from mmjax.fusion.dynamic import DynamicFusion
from mmjax.fusion.early import EarlyFusion
from mmjax.fusion.elementwise import MaxFusion, MeanFusion, ProductFusion, SumFusion
from mmjax.fusion.embracenet import EmbraceNetFusion
from mmjax.fusion.energy_weighted import EnergyWeightedFusion
from mmjax.fusion.evidential import ETMCFusion, EvidentialFusion
from mmjax.fusion.flex_moe import FlexMoEFusion
from mmjax.fusion.fuse_moe import FuseMoEFusion
from mmjax.fusion.gated import FiLMFusion, GatedFusion
from mmjax.fusion.gated_cross_attention import GatedCrossAttentionFusion
from mmjax.fusion.gmu import GMUFusion
from mmjax.fusion.healnet import HEALNetFusion
from mmjax.fusion.hemis import HeMISFusion
from mmjax.fusion.hierarchical_attention import HierarchicalAttentionFusion
from mmjax.fusion.i2m2 import I2M2Fusion
from mmjax.fusion.i2moe import I2MoEFusion
from mmjax.fusion.late import (
    LateMaxFusion,
    LateMeanFusion,
    LateProbMeanFusion,
    LateWeightedFusion,
    ProductOfExpertsFusion,
)
from mmjax.fusion.late_transformer import LateTransformerFusion
from mmjax.fusion.mctn import MCTNFusion
from mmjax.fusion.mfm import MFMFusion
from mmjax.fusion.misa import MISAFusion
from mmjax.fusion.mixture_of_experts import MixtureOfExpertsFusion
from mmjax.fusion.mmcosine import MMCosineFusion
from mmjax.fusion.mmtm import MMTMFusion
from mmjax.fusion.multiplicative import (
    MatrixInteractionFusion,
    ScalarInteractionFusion,
    VectorInteractionFusion,
)
from mmjax.fusion.nl_gate import NLGateFusion
from mmjax.fusion.perceiver_io import PerceiverIOFusion
from mmjax.fusion.q_former import QFormerFusion
from mmjax.fusion.refnet import ReFNetFusion
from mmjax.fusion.searched import SearchedFusion
from mmjax.fusion.shaspec import ShaSpecFusion
from mmjax.fusion.simmlm import SimMLMFusion
from mmjax.fusion.stacking import StackingFusion
from mmjax.fusion.tensor import LowRankFusion, TensorFusion
from mmjax.fusion.transformer import TransformerFusion
from mmjax.fusion.tucker import BlockFusion, MutanFusion, TuckerFusion
from mmjax.fusion.vae import MMVAEFusion, MoPoEFusion, MVAEFusion
from mmjax.fusion.weighted import AttentionPoolFusion, WeightedFusion
from mmjax.fusion.zorro import ZorroFusion
from mmjax.registry import FUSIONS

__all__ = [
    "FUSIONS",
    "ActivationFusion",
    "AttentionPoolFusion",
    "BlockFusion",
    "BottleneckFusion",
    "CentralNetFusion",
    "CoAttentionFusion",
    "ConcatFusion",
    "CoupledMambaFusion",
    "CrossAttentionFusion",
    "DeepCCAFusion",
    "DeepSetsFusion",
    "DynamicFusion",
    "ETMCFusion",
    "EarlyFusion",
    "EmbraceNetFusion",
    "EnergyWeightedFusion",
    "EvidentialFusion",
    "FiLMFusion",
    "FlexMoEFusion",
    "FuseMoEFusion",
    "GMUFusion",
    "GatedCrossAttentionFusion",
    "GatedFusion",
    "HEALNetFusion",
    "HeMISFusion",
    "HierarchicalAttentionFusion",
    "I2M2Fusion",
    "I2MoEFusion",
    "LateMaxFusion",
    "LateMeanFusion",
    "LateProbMeanFusion",
    "LateTransformerFusion",
    "LateWeightedFusion",
    "LowRankFusion",
    "MCBFusion",
    "MCTNFusion",
    "MFBFusion",
    "MFHFusion",
    "MFMFusion",
    "MISAFusion",
    "MLBFusion",
    "MMCosineFusion",
    "MMTMFusion",
    "MMVAEFusion",
    "MVAEFusion",
    "MatrixInteractionFusion",
    "MaxFusion",
    "MeanFusion",
    "MixtureOfExpertsFusion",
    "MoPoEFusion",
    "MutanFusion",
    "NLGateFusion",
    "PerceiverIOFusion",
    "ProductFusion",
    "ProductOfExpertsFusion",
    "QFormerFusion",
    "ReFNetFusion",
    "ScalarInteractionFusion",
    "SearchedFusion",
    "ShaSpecFusion",
    "SimMLMFusion",
    "StackingFusion",
    "SumFusion",
    "TensorFusion",
    "TransformerFusion",
    "TuckerFusion",
    "VectorInteractionFusion",
    "WeightedFusion",
    "ZorroFusion",
]
