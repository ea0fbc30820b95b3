"""Joint training: all parameters follow the gradient of one loss."""

from dataclasses import dataclass

import jax

from mmjax.types import Forward, Gradient, Method, Objective


@dataclass(frozen=True)
class Joint(Method):
    """Trains encoders and fusion together on the fused prediction.

    Reference: Ngiam et al., Multimodal Deep Learning (ICML 2011).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods import Joint
        >>> from mmjax.objectives import mse
        >>> from mmjax.types import Batch, Outputs
        >>> forward = lambda params, batch, key: Outputs(params * batch.inputs["a"])
        >>> one = jnp.ones((2, 1))
        >>> step, batch = Joint().gradient(forward, mse), Batch({"a": one}, {}, target=0 * one)
        >>> grads, memory, metrics = step(jnp.float32(3), (), batch, None)
        >>> grads.item(), list(metrics)
        (6.0, ['loss', 'mse'])
    """

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective."""

        def loss(params, batch, key):
            return objective(forward(params, batch, key), batch)

        def gradient(params, memory, batch, key):
            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
            return grads, memory, {"loss": value, **metrics}

        return gradient
