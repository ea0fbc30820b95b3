"""The programs of accelerators, on the default device, give what those of CPUs give on the CPU.

On a machine with a GPU, `pytest -m gpu` compares the two; on others, only the two formulations.
"""

import chex
import jax
import numpy as np
import pytest
from representatives import slow
from small import make_task

from mmjax.comparison.arm import make_arm
from mmjax.layers.attention import attend
from mmjax.layers.convolution import conv
from mmjax.layers.platform import stated_platform
from mmjax.training.program import make_program
from mmjax.types import Prepared

pytestmark = pytest.mark.gpu


def compare(function, *arguments, **tolerance):
    """Runs a function that traces everything anew as an accelerator would, and on the CPU."""
    with jax.default_matmul_precision("highest"):  # a GPU would round to TF32
        with stated_platform("gpu"):
            got = jax.device_get(function(*arguments))
        with stated_platform("cpu"), jax.default_device(jax.devices("cpu")[0]):
            want = jax.device_get(function(*arguments))
    chex.assert_trees_all_close(got, want, **tolerance)


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("image", "kernel"),
    [((3, 9, 8, 1), (3, 3, 1, 4)), ((3, 9, 8, 4), (3, 3, 4, 5)), ((3, 9, 4), (5, 4, 6))],
)
def test_convolution_and_pooling(image, kernel):
    pool = (2,) * (len(image) - 2)
    loss = lambda x, w: (conv(x, w, padding="SAME", pool=pool) ** 2).sum()
    gradients = lambda x, w: jax.jit(jax.value_and_grad(loss, (0, 1)))(x, w)
    compare(gradients, *arrays(image, kernel), rtol=1e-4, atol=1e-4)


def test_attention():
    mask = np.arange(7) < 5
    mask = np.broadcast_to(mask, (2, 1, 7))
    loss = lambda q, k, v: (attend(q, k, v, mask) ** 2).sum()
    gradients = lambda *qkv: jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*qkv)
    compare(gradients, *arrays((2, 5, 2, 4), (2, 7, 2, 4), (2, 7, 2, 4)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [slow(name) for name in ("concat", "mmtm", "transformer")])
def test_training_and_predictions(name):
    task = make_task()
    arm = make_arm(task, name, seeds=(0, 1, 2), batch_size=32, steps=3)
    rows = task.train.batch()
    with jax.default_device(jax.devices("cpu")[0]):
        program, _ = make_program(arm.recipe, task)
        start = jax.device_get(program.init(arm.recipe, Prepared()).best)

    def train():
        program, _ = make_program(arm.recipe, task)
        lanes = program.init(arm.recipe, Prepared())
        lanes = lanes._replace(state=lanes.state._replace(params=start), best=start)
        lanes, *_ = program.advance((lanes, np.zeros(3, bool), program.zeros), rows, 0, 3)
        return program.evaluate.predict(lanes.state.params, task.valid.batch())

    compare(train, rtol=1e-2, atol=1e-2)
