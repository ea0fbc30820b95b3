"""Each rule of the contract catches the mistake that it is there for."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from representatives import slow

from mmjax.fusion.building_blocks import project, promise_weights
from mmjax.layers import is_present, masked_mean
from mmjax.layers.blocks import Attention
from mmjax.testing import ContractError, check_fusion

WIDTH = 8


class NoReadout(nn.Module):
    """Returns its hidden vector."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        return project(tokens, WIDTH).sum(axis=1)


class BatchAttention(nn.Module):
    """Hands [batch, features] to an attention layer that reads [length, features]."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        pooled = project(tokens, WIDTH).sum(axis=1)
        everyone = jnp.ones((1, len(pooled)), bool)
        mixed = Attention(name="attention")(pooled[None], pooled[None], everyone)[0][0]
        return nn.Dense(self.out_dim)(pooled + mixed)


class BatchNormalised(nn.Module):
    """Standardises over the batch, in training only."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        mixed = project(tokens, WIDTH).sum(axis=1)
        if train:
            mixed = mixed / (1 + mixed.std(axis=0, keepdims=True))
        return nn.Dense(self.out_dim)(mixed)


class ConstantProjection(nn.Module):
    """Keeps its projections in plain arrays, which no optimiser sees."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        rng, total = np.random.default_rng(0), 0
        for n in sorted(tokens):
            kernel = rng.normal(size=(tokens[n].values.shape[-1], WIDTH))
            total = total + masked_mean(tokens[n]) @ jnp.asarray(kernel, jnp.float32)
        return nn.Dense(self.out_dim)(total)


class OtherCollection(nn.Module):
    """Keeps state that the train step does not carry."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        scale = self.variable("constants", "scale", jnp.ones, ())
        return nn.Dense(self.out_dim)(scale.value * project(tokens, WIDTH).sum(axis=1))


class PooledCrossAttention(nn.Module):
    """Attends to one pooled vector: a softmax over a single key is one, whatever the query."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        projected, present = project(tokens, WIDTH), is_present(tokens)
        total = projected.sum(axis=1)
        for i, n in enumerate(sorted(tokens)):
            key, mask = projected[:, i : i + 1], present[:, i : i + 1]
            total = total + Attention(name=f"to_{n}")(total[:, None], key, mask)[0][:, 0]
        return nn.Dense(self.out_dim)(total)


class UnusedConfidence(nn.Module):
    """Computes a confidence per modality, and forgets to weigh by it."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        projected = project(tokens, WIDTH)
        confidence = nn.sigmoid(nn.Dense(1, name="confidence")(projected))
        del confidence
        return nn.Dense(self.out_dim)(projected.sum(axis=1))


class VetoProduct(nn.Module):
    """Multiplies by zero for an absent modality, so that the others count for nothing."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        return nn.Dense(self.out_dim)(project(tokens, WIDTH).prod(axis=1))


class MaskByMultiplication(nn.Module):
    """Multiplies by the mask, and zero times NaN is NaN."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        total = 0
        for n in sorted(tokens):
            pooled = (tokens[n].values * tokens[n].mask[..., None]).sum(axis=1)
            total = total + nn.Dense(WIDTH, use_bias=False, name=f"project_{n}")(pooled)
        return nn.Dense(self.out_dim)(jnp.tanh(total))


class MaskAfterwards(nn.Module):
    """Masks what was made of NaN: the output is clean, the gradient is not."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        total = 0
        for n in sorted(tokens):
            projected = jnp.tanh(nn.Dense(WIDTH, name=f"project_{n}")(tokens[n].values))
            total = total + jnp.where(tokens[n].mask[..., None], projected, 0).sum(axis=1)
        return nn.Dense(self.out_dim)(total)


class AbsentBias(nn.Module):
    """Adds the bias of a modality that is not there."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        names = sorted(tokens)
        parts = [nn.Dense(WIDTH, name=f"project_{n}")(masked_mean(tokens[n])) for n in names]
        return nn.Dense(self.out_dim)(nn.relu(sum(parts)))


class UnguardedMean(nn.Module):
    """Divides by the number of modalities present, which may be zero."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        count = is_present(tokens).sum(axis=1, keepdims=True)
        return nn.Dense(self.out_dim)(project(tokens, WIDTH).sum(axis=1) / count)


class InsertionOrder(nn.Module):
    """Tells modalities apart by their place in the mapping."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        total = 0
        for i, n in enumerate(tokens):
            total = total + (i + 1) * project({n: tokens[n]}, WIDTH)[:, 0]
        return nn.Dense(self.out_dim)(total)


class HalfPrecision(nn.Module):
    """Returns half precision, whatever it was given."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        mixed = project(tokens, WIDTH).sum(axis=1)
        return nn.Dense(self.out_dim)(mixed).astype(jnp.bfloat16)


class PythonBranch(nn.Module):
    """Decides in Python by a value, which a compiled function does not know."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        readout = nn.Dense(self.out_dim, name="readout")
        mixed = project(tokens, WIDTH).sum(axis=1)
        return readout(mixed) if is_present(tokens).all() else readout(0 * mixed)


class UnnormalisedWeights(nn.Module):
    """Promises weights that sum to one, and makes them with a sigmoid each."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        projected, present = project(tokens, WIDTH), is_present(tokens)
        scores = nn.Dense(1, name="score")(projected)[..., 0]
        weights = jnp.where(present, nn.sigmoid(scores), 0)
        promise_weights(self, weights, present)
        return nn.Dense(self.out_dim)((weights[..., None] * projected).sum(axis=1))


BROKEN = {
    NoReadout: 1,
    BatchAttention: 2,
    BatchNormalised: 2,
    ConstantProjection: 3,
    OtherCollection: 3,
    PooledCrossAttention: 3,
    UnusedConfidence: 3,
    VetoProduct: 4,
    MaskByMultiplication: 5,
    MaskAfterwards: 5,
    AbsentBias: 5,
    UnguardedMean: 6,
    InsertionOrder: 7,
    HalfPrecision: 8,
    PythonBranch: 8,
    UnnormalisedWeights: 9,
}


RULES = list(BROKEN.values())
CASES = [  # the fast tests break each rule once
    slow(*case) if case[1] in RULES[:index] else case for index, case in enumerate(BROKEN.items())
]


@pytest.mark.parametrize(("broken", "rule"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_broken_fusion_is_rejected_by_its_rule(broken, rule):
    with pytest.raises(ContractError, match=f"^{broken.__name__} breaks rule {rule} "):
        check_fusion(broken(out_dim=3))


@pytest.mark.slow
def test_a_named_reason_excuses_a_parameter_without_gradient():
    class Excused(UnusedConfidence):
        no_gradient = {"confidence": "kept for a later phase of training"}

    check_fusion(Excused(out_dim=3))
