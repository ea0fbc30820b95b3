"""Corruptions of images, [rows, height, width, channels] from 0 to 1.

Names, and strengths given as fractions of white, follow Hendrycks and Dietterich, Benchmarking
Neural Network Robustness to Common Corruptions and Perturbations (arXiv:1903.12261), or are in
their spirit. Lengths are fractions of the shorter side, so that they suit images of any size.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from mmjax.analysis.corruptions.corruption import row_wise, strength, stretch


@row_wise
def gaussian_noise(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Adds Gaussian noise of standard deviation 0.08, 0.12, 0.18, 0.26 or 0.38 of white."""
    deviation = strength((0.08, 0.12, 0.18, 0.26, 0.38), severity)
    return jnp.clip(image + deviation * jax.random.normal(key, image.shape), 0, 1)


@row_wise
def blur(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Blurs by a Gaussian of standard deviation 0.02, 0.035, 0.05, 0.075 or 0.1 of the side.

    Near the edges, weights are renormalised over the pixels within the image.
    """
    height, width, _ = image.shape
    deviation = strength((0.02, 0.035, 0.05, 0.075, 0.1), severity) * min(height, width)
    down, across = _gaussian_weights(height, deviation), _gaussian_weights(width, deviation)
    return jnp.einsum("ih,hwc,jw->ijc", down, image, across)


@row_wise
def occlusion(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Covers a random square, 0.2, 0.3, 0.4, 0.5 or 0.6 of the side wide, with grey.

    Reference: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks
    (arXiv:1311.2901), section 4.2.
    """
    height, width, _ = image.shape
    side = strength((0.2, 0.3, 0.4, 0.5, 0.6), severity) * min(height, width)
    place = jax.random.uniform(key, (2,))
    down = stretch(height, side / height, place[0])[:, None, None]
    across = stretch(width, side / width, place[1])[None, :, None]
    return jnp.where(down & across, 0.5, image)


@row_wise
def rotation(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Rotates about the centre by 10, 20, 30, 45 or 60 degrees in a random direction.

    Pixels are interpolated linearly; beyond the edges, the nearest pixel is used.
    """
    angle = jnp.deg2rad(strength((10, 20, 30, 45, 60), severity)) * _sign(key)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    height, width, _ = image.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(height) - middle_y, jnp.arange(width) - middle_x, indexing="ij")
    source = [cos * y - sin * x + middle_y, sin * y + cos * x + middle_x]
    turn = lambda plane: map_coordinates(plane, source, order=1, mode="nearest")
    return jax.vmap(turn, in_axes=-1, out_axes=-1)(image)


@row_wise
def contrast(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Keeps 0.4, 0.3, 0.2, 0.1 or 0.05 of each pixel's distance from its channel's mean."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return mean + strength((0.4, 0.3, 0.2, 0.1, 0.05), severity) * (image - mean)


@row_wise
def pixel_dropout(key: jax.Array, image: jax.Array, severity: jax.Array) -> jax.Array:
    """Blackens each pixel, all channels, with probability 0.1, 0.2, 0.3, 0.4 or 0.5."""
    lost = strength((0.1, 0.2, 0.3, 0.4, 0.5), severity)
    keep = jax.random.uniform(key, (*image.shape[:2], 1)) >= lost
    return jnp.where(keep, image, 0)


def _gaussian_weights(size: int, deviation: jax.Array) -> jax.Array:
    """[size, size]; each row holds the weights of one output pixel and sums to 1."""
    at = jnp.arange(size)
    weight = jnp.exp(-(((at[:, None] - at[None]) / deviation) ** 2) / 2)
    return weight / weight.sum(axis=1, keepdims=True)


def _sign(key: jax.Array) -> jax.Array:
    return jax.random.rademacher(key, (), jnp.float32)
