"""The objectives: outputs and targets in, loss out."""

from mmjax.objectives.classification import cross_entropy, mse
from mmjax.types import Objective

OBJECTIVES: dict[str, Objective] = {"cross_entropy": cross_entropy, "mse": mse}
