"""Augmentations, which vary the inputs of one modality in training, and their table.

An augmentation is a pure function ``(key, x [batch, ...]) -> x`` of one modality's rows, as
encoders see them. ``AUGMENTATIONS`` holds classes whose instances are such functions.
"""

from mmjax.augmentations.crop import Crop
from mmjax.augmentations.cutout import Cutout
from mmjax.augmentations.feature_dropout import FeatureDropout
from mmjax.augmentations.flip import Flip
from mmjax.augmentations.noise import Noise
from mmjax.augmentations.spec_augment import SpecAugment
from mmjax.registry import AUGMENTATIONS

__all__ = [
    "AUGMENTATIONS",
    "Crop",
    "Cutout",
    "FeatureDropout",
    "Flip",
    "Noise",
    "SpecAugment",
]
