"""Losses on the prediction alone, plus any terms in ``outputs.aux``."""

import jax
import jax.numpy as jnp
import optax

from mmjax.data.targets import kind_of
from mmjax.objectives.row_losses import Result, classes_of, finish, row_losses, surprise, weigh
from mmjax.types import Batch, Outputs


def cross_entropy(outputs: Outputs, batch: Batch) -> Result:
    """Mean negative log-likelihood of the target, in nats.

    For labels it is summed over the labels. For numbers it is half the squared error, summed over
    them: the negative log-likelihood of a unit-variance Gaussian, up to a constant.

    Reference: Good, Rational Decisions (JRSS B 1952).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import cross_entropy
        >>> from mmjax.types import Batch, Outputs
        >>> outputs = Outputs(jnp.zeros((2, 3)))
        >>> batch = Batch(inputs={}, present={}, target=jnp.array([0, 2]))
        >>> loss, metrics = cross_entropy(outputs, batch)
        >>> round(loss.item(), 3)  # log 3
        1.099
    """
    return finish(row_losses(outputs.prediction, batch).mean(), outputs, batch)


def label_smoothing(outputs: Outputs, batch: Batch, *, smoothing: float = 0.1) -> Result:
    r"""Cross-entropy with smoothed targets, in nats.

    The target has probability :math:`1 - \text{smoothing} + \text{smoothing} / \text{classes}`,
    each of the other classes :math:`\text{smoothing} / \text{classes}`.

    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision
    (arXiv:1512.00567), section 7.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import label_smoothing
        >>> from mmjax.types import Batch, Outputs
        >>> outputs = Outputs(20 * jnp.eye(3))
        >>> batch = Batch(inputs={}, present={}, target=jnp.arange(3))
        >>> loss, metrics = label_smoothing(outputs, batch, smoothing=0.1)
        >>> round(loss.item(), 3)  # confidence is penalised even where it is right
        1.333
    """
    targets = optax.smooth_labels(_one_hot(outputs, batch), smoothing)
    losses = weigh(optax.softmax_cross_entropy(outputs.prediction, targets), batch)
    return finish(losses.mean(), outputs, batch)


def focal(outputs: Outputs, batch: Batch, *, focus: float = 2.0) -> Result:
    r"""Cross-entropy, in nats, that down-weights rows whose target is predicted confidently.

    :math:`-(1 - p)^{\text{focus}} \log p` with :math:`p` the probability of the target; with
    ``focus`` zero it is the cross-entropy. Class weights, if there are any, are the paper's
    :math:`\alpha`.

    Reference: Lin et al., Focal Loss for Dense Object Detection (arXiv:1708.02002).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import focal
        >>> from mmjax.types import Batch, Outputs
        >>> outputs = Outputs(jnp.zeros((2, 3)))
        >>> batch = Batch(inputs={}, present={}, target=jnp.array([0, 2]))
        >>> loss, metrics = focal(outputs, batch, focus=2.0)
        >>> round(loss.item(), 3)  # (1 - 1/3) ** 2 * log 3
        0.488
    """
    classes_of(batch)
    losses = surprise(outputs.prediction, batch)
    # For a power below one the gradient at zero, where a row is certain, is infinite.
    doubt = jnp.maximum(1 - jnp.exp(-losses), 1e-7)
    return finish(weigh(doubt**focus * losses, batch).mean(), outputs, batch)


def mse(outputs: Outputs, batch: Batch) -> Result:
    """Mean over samples and classes of (probability - one-hot target) squared.

    For labels, the mean over labels of (probability - label) squared; for numbers, the mean squared
    error.

    Reference: Brier, Verification of forecasts expressed in terms of probability (1950), whose
    score is this times the number of classes.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import mse
        >>> from mmjax.types import Batch, Outputs
        >>> outputs = Outputs(jnp.zeros((2, 3)))
        >>> batch = Batch(inputs={}, present={}, target=jnp.array([0, 2]))
        >>> loss, metrics = mse(outputs, batch)
        >>> round(loss.item(), 3)  # of probabilities 1/3
        0.222
    """
    match kind_of(batch.target):
        case "classes":
            errors = jax.nn.softmax(outputs.prediction) - _one_hot(outputs, batch)
        case "labels":
            errors = jax.nn.sigmoid(outputs.prediction) - batch.target
        case "numbers":
            errors = outputs.prediction - batch.target
    return finish(weigh(jnp.square(errors), batch).mean(), outputs, batch)


def _one_hot(outputs: Outputs, batch: Batch) -> jax.Array:
    classes = outputs.prediction.shape[-1]
    return jax.nn.one_hot(classes_of(batch), classes, dtype=outputs.prediction.dtype)
