"""Contracts for the members of the zoo, from this library or any other.

One line in a test suite checks an extension against all of them:
``check_fusion(MyFusion(out_dim=3))``. A rule is a function that yields its complaints; adding it to
a contract's tuple makes it part of that contract.
"""

from mmjax.testing.augmentation import AUGMENTATION_RULES, check_augmentation
from mmjax.testing.common import ContractError, make_tokens
from mmjax.testing.encoder import ENCODER_RULES, check_encoder
from mmjax.testing.fusion import FUSION_RULES, check_fusion
from mmjax.testing.method import METHOD_RULES, check_method
from mmjax.testing.objective import OBJECTIVE_RULES, check_objective

__all__ = [
    "AUGMENTATION_RULES",
    "ENCODER_RULES",
    "FUSION_RULES",
    "METHOD_RULES",
    "OBJECTIVE_RULES",
    "ContractError",
    "check_augmentation",
    "check_encoder",
    "check_fusion",
    "check_method",
    "check_objective",
    "make_tokens",
]
