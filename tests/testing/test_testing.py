"""The contracts of encoders and objectives catch what they are there for.

Those of fusions have ``test_broken_fusions``.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.testing import ContractError, check_encoder, check_objective, make_tokens
from mmjax.types import Tokens


def test_make_tokens_has_the_shapes_asked_for():
    tokens = make_tokens({"image": (4, 6), "audio": (2, 3)}, batch=5)
    shapes = {name: t.values.shape for name, t in tokens.items()}
    assert shapes == {"image": (5, 4, 6), "audio": (5, 2, 3)}
    assert all(t.mask.shape == t.values.shape[:2] and t.mask.all() for t in tokens.values())


def test_make_tokens_follows_its_seed():
    draw = lambda seed: make_tokens({"image": (4, 6)}, seed=seed)["image"].values
    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


class VectorEncoder(nn.Module):
    """Returns [batch, features]."""

    @nn.compact
    def __call__(self, x, *, train):
        return Tokens(nn.Dense(4)(x), jnp.ones(len(x), bool))


class BatchEncoder(nn.Module):
    """Centres over the batch."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(4)(x - x.mean(axis=0, keepdims=True))
        return Tokens(x[:, None], jnp.ones((len(x), 1), bool))


class IdleEncoder(nn.Module):
    """Has a layer that leads nowhere."""

    @nn.compact
    def __call__(self, x, *, train):
        nn.Dense(2)(x)
        return Tokens(nn.Dense(4)(x)[:, None], jnp.ones((len(x), 1), bool))


class UnkeyedEncoder(nn.Module):
    """Draws its parameters without the key."""

    @nn.compact
    def __call__(self, x, *, train):
        rng = np.random.default_rng()
        scale = self.param("scale", lambda key: jnp.asarray(rng.normal(), jnp.float32))
        return Tokens(scale * x[:, None], jnp.ones((len(x), 1), bool))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [(VectorEncoder, 1), (BatchEncoder, 2), (IdleEncoder, 3), (UnkeyedEncoder, 4)],
)
def test_broken_encoder_is_rejected_by_its_rule(broken, rule):
    x = make_tokens({"image": (1, 6)})["image"].values[:, 0]
    with pytest.raises(ContractError, match=f"^{broken.__name__} breaks rule {rule} "):
        check_encoder(broken(), x)


class DeafEncoder(nn.Module):
    """Takes a mask, and inverts it."""

    @nn.compact
    def __call__(self, x, mask=None, *, train):
        values = nn.Dense(4)(x)
        return Tokens(values, jnp.ones(x.shape[:2], bool) if mask is None else ~mask)


class LaterEncoder(nn.Module):
    """Takes a mask, and drops the first frame."""

    @nn.compact
    def __call__(self, x, mask=None, *, train):
        values, later = nn.Dense(4)(x[:, 1:]), jnp.ones((len(x), x.shape[1] - 1), bool)
        return Tokens(values, later if mask is None else mask[:, 1:])


@pytest.mark.parametrize(("broken", "complaint"), [(DeafEncoder, "all true"), (LaterEncoder, "no")])
def test_an_encoder_must_heed_the_mask_that_it_takes(broken, complaint):
    x = make_tokens({"steps": (3, 6)})["steps"].values
    with pytest.raises(ContractError, match=f"^{broken.__name__} breaks rule 5 .*: .*{complaint}"):
        check_encoder(broken(), x)


def losses(outputs, batch):
    return optax.softmax_cross_entropy_with_integer_labels(outputs.prediction, batch.target)


def loss_per_row(outputs, batch):
    return losses(outputs, batch), {}


def constant_loss(outputs, batch):
    return jnp.float32(1), {}


def loss_of_first_rows(outputs, batch):
    return losses(outputs, batch)[:2].mean(), {}


def loss_of_absent_branches(outputs, batch):
    return losses(outputs, batch).mean() + outputs.branches["blue"].mean(), {}


def loss_by_python_branch(outputs, batch):
    loss = losses(outputs, batch).mean()
    return (loss if loss > 0 else -loss), {}


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (loss_per_row, 1),
        (constant_loss, 2),
        (loss_of_first_rows, 3),
        (loss_of_absent_branches, 4),
        (loss_by_python_branch, 5),
    ],
)
def test_broken_objective_is_rejected_by_its_rule(broken, rule):
    with pytest.raises(ContractError, match=f"^{broken.__name__} breaks rule {rule} "):
        check_objective(broken)


def test_objective_on_branches_of_those_present_keeps_the_contract():
    def branch_loss(outputs, batch):
        total = 0.0
        for name, logits in outputs.branches.items():
            logits = jnp.where(batch.present[name][:, None], logits, 0)
            total += jax.nn.logsumexp(logits, axis=1).mean()
        return total, {"branches": total}

    check_objective(branch_loss)
