"""What the tests of training methods share: a model at its first parameters, references."""

from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax
from small import NUM_CLASSES, make_task

from mmjax.encoders import MLPEncoder
from mmjax.fusion import FUSIONS
from mmjax.model import MultimodalModel
from mmjax.objectives import cross_entropy
from mmjax.testing.common import compile_fast
from mmjax.training.epochs import take_rows
from mmjax.training.step import init_params, make_forward

KEY = jax.random.key(5)
NAMES = ("sequence", "vector")


def make_model(fusion="late_mean", names=NAMES, widths=(8, 6), width=7):
    encoders = {name: MLPEncoder(widths) for name in names}
    return MultimodalModel(encoders, FUSIONS[fusion](NUM_CLASSES, width=width, dropout=0.0))


@cache
def first_rows():
    """32 rows, of which 8 lack a vector."""
    rows = make_task().only(*NAMES).train.batch()
    return take_rows(jax.device_put(rows), jnp.arange(32))


@cache
def start(fusion):
    """The forward pass of a model, its first parameters, and its outputs."""
    model = make_model(fusion)
    forward, params = jax.jit(make_forward(model)), init_params(model, first_rows(), 0)
    return forward, params, forward(params, first_rows(), KEY)


class Setup(SimpleNamespace):
    """A method on a model at its first parameters."""

    def __init__(self, method, batch, fusion="late_mean"):
        self.forward, self.params, self.outputs = start(fusion)
        self.memory = method.init(self.forward, self.params, batch)
        self.gradient = compile_fast(method.gradient(self.forward, cross_entropy))


def nll(logits, target):
    return -np.take_along_axis(log_softmax(logits, axis=1), target[:, None], axis=1)[:, 0]


def target_probability(logits, batch, name):
    chosen = np.exp(-nll(np.asarray(logits, float), np.asarray(batch.target)))
    return chosen[np.asarray(batch.present[name])].mean()


def gradient_of_objective(setup, batch):
    loss = lambda params: cross_entropy(setup.forward(params, batch, KEY), batch)[0]
    return compile_fast(jax.grad(loss))(setup.params)


def gradient_of_branch(setup, batch, name):
    """Of one modality's cross-entropy over the rows that have it."""

    def loss(params):
        log_p = jax.nn.log_softmax(setup.forward(params, batch, KEY).branches[name])
        rows = -log_p[jnp.arange(len(batch.target)), batch.target]
        return rows[batch.present[name]].mean()

    return compile_fast(jax.grad(loss))(setup.params)


def scaled(tree, factor):
    return jax.tree.map(lambda x: factor * x, tree)
