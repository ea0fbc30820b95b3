"""The contracts catch a component that cannot be removed, or whose removal changes nothing."""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import pytest
from representatives import slow

from mmjax.fusion import TransformerFusion
from mmjax.fusion.building_blocks import project
from mmjax.layers import all_valid
from mmjax.methods import Joint
from mmjax.testing import ContractError, check_encoder, check_fusion, check_method


class Plain(nn.Module):
    """Adds the modalities, with a learned scale; whatever its flag says."""

    removable: ClassVar[Any] = {"scale": {"scaled": False}}
    out_dim: int
    scaled: bool = True

    @nn.compact
    def __call__(self, tokens, *, train):
        total = project(tokens, 8).sum(axis=1)
        return nn.Dense(self.out_dim)(self._scale(total))

    def _scale(self, total):
        return self.param("scale", nn.initializers.ones, (1, 8)) * total


class Scaled(Plain):
    """Heeds its flag."""

    def _scale(self, total):
        return super()._scale(total) if self.scaled else total


class Wasteful(Plain):
    """Has a flag for something that it computes in vain."""

    def _scale(self, total):
        if self.scaled:
            jnp.tanh(total)
        return super()._scale(total)


class Reshaped(Plain):
    """Returns a row too few without its component."""

    def _scale(self, total):
        return super()._scale(total if self.scaled else total[1:])


class Attentive(TransformerFusion):
    """Does not heed its flag, in a program with derivatives of its own."""

    removable: ClassVar[Any] = {"flag": {"flag": False}}
    flag: bool = True


def declare(fusion, components):
    return type(fusion.__name__, (fusion,), {"removable": components})


@pytest.mark.slow
def test_a_component_that_can_be_removed_is_accepted():
    check_fusion(Scaled(out_dim=3))
    check_fusion(Scaled(out_dim=3, scaled=False))  # where it has gone already


@pytest.mark.parametrize(
    ("fusion", "complaint"),
    [
        (Plain, "without scale nothing changes"),
        slow(Wasteful, "without scale nothing changes"),
        slow(Attentive, "without flag nothing changes"),
        (Reshaped, r"without scale, prediction has shape \(3, 3\), expected \(4, 3\)"),
        (declare(Scaled, {"x": {"y": False}}), "x is removed by y, not by fields"),
        slow(declare(Scaled, {"x": {}}), "x is removed by nothing, not by fields"),
        (declare(Scaled, {"the scale": {"scaled": False}}), "'the scale' cannot name a component"),
        (declare(Scaled, {"dropout": {"scaled": False}}), "'dropout' cannot name a component"),
    ],
)
def test_a_broken_component_of_a_fusion_is_rejected(fusion, complaint):
    with pytest.raises(ContractError, match=f"breaks rule 10 .*: {complaint}"):
        check_fusion(fusion(out_dim=3))


class IdleFlag(nn.Module):
    """An encoder that does not heed its flag."""

    removable: ClassVar[Any] = {"bias": {"biased": False}}
    biased: bool = True

    @nn.compact
    def __call__(self, x, *, train):
        return all_valid(nn.Dense(4)(x)[:, None])


def test_a_broken_component_of_an_encoder_is_rejected():
    with pytest.raises(ContractError, match=r"breaks rule 6 .*: without bias nothing changes"):
        check_encoder(IdleFlag(), jnp.eye(4))


@dataclass(frozen=True)
class IdleNoise(Joint):
    """A method that does not heed its field."""

    removable: ClassVar[Any] = {"noise": {"noise": 0.0}}
    noise: float = 1.0


@pytest.mark.slow
def test_a_broken_component_of_a_method_is_rejected():
    with pytest.raises(ContractError, match=r"breaks rule 8 .*: without noise nothing changes"):
        check_method(IdleNoise())
