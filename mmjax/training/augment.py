"""What happens to the rows of a step before its gradient: augmentation, class weights and mixup.

Everything random in it is a function of (seed, step). The whole batch is varied before it is cut
into parts or shared between devices, neither of which therefore changes what is drawn.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.targets import kind_of
from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.layers import as_float
from mmjax.model import MultimodalModel, read_input, scale_input, unscale_input
from mmjax.objectives.row_losses import weigh_classes
from mmjax.registry import AUGMENTATIONS
from mmjax.types import Array, Augmentation, Batch, Mixed

AugmentationLike: TypeAlias = str | type | Augmentation
"""An augmentation by name, as a class that needs no arguments, or as a function."""

Augmentations = Mapping[str, tuple[Augmentation, ...]]
"""{modality: augmentations, in the order in which they are applied}."""


def make_augmentations(
    task: Task, augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]]
) -> dict[str, tuple[Augmentation, ...]]:
    """The augmentations of each modality as functions, checked on the shape of its samples.

    Args:
        task: determines the modalities and their shapes.
        augment: {modality: augmentations, in the order in which they are applied, or a single one}.

    Raises:
        UnknownNameError: there is no such modality or augmentation.
        UsageError: one does not map [batch, ...] of the modality's samples to the same shape and
            dtype, or cannot be compiled.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> double = lambda key, x: 2 * x
        >>> make_augmentations(synthetic(size=100), {"a": ["noise", double]})["a"][0]
        Noise(scale=0.1)
    """
    made = {}
    for name, given in augment.items():
        shape = look_up("modality of augment", name, task.shapes)
        listed: Sequence[Any] = given if isinstance(given, (list, tuple)) else [given]
        made[name] = tuple(_make(name, one, shape) for one in listed)
    return made


def _make(name: str, given: AugmentationLike, shape: tuple[int, ...]) -> Augmentation:
    """One augmentation, checked."""
    found = look_up("augmentation", given, AUGMENTATIONS) if isinstance(given, str) else given
    rows = jax.ShapeDtypeStruct((2, *shape), np.float32)
    where = f"augment, {name}={given if isinstance(given, str) else f'{given!r:.60}'}"
    try:
        made: Any = found() if isinstance(found, type) else found
        out = jax.eval_shape(made, jax.random.key(0), rows)
    except Exception as error:  # whatever its code does
        expected = f"a function (key, x) -> x of float32 {list(rows.shape)}"
        got = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(where, expected=expected, got=got) from error
    if getattr(out, "shape", None) != rows.shape or out.dtype != rows.dtype:
        expected = f"the shape and dtype of its input, float32 {list(rows.shape)}"
        got = f"{out.dtype} {list(out.shape)}" if hasattr(out, "shape") else f"{out!r:.60}"
        raise UsageError(where, expected=expected, got=got)
    return made


def make_vary(
    augment: Augmentations,
    model: MultimodalModel,
    weights: Sequence[float] | None,
    mixup: float | None,
) -> Callable[[jax.Array, Batch], Batch]:
    """Makes ``(key, batch) -> batch``, what training does to the rows of a step.

    Both views of a row are augmented by themselves, but mixed with the same other row.

    Args:
        augment: of each modality; modalities that a batch lacks are ignored.
        model: how it reads and standardises its inputs, and which of them are padded.
        weights: [classes] of the rows' losses, or None.
        mixup: as ``Recipe.mixup``.
    """

    def vary_input(name: str, key: jax.Array, batch: Batch) -> jax.Array:
        x, here = jnp.asarray(batch.inputs[name]), batch.present[name]
        scale, padded = model.scales.get(name), name in model.padded
        x = scale_input(read_input(model.encoders[name], x), scale)
        known = here.reshape(-1, *[1] * (x.ndim - 1))
        there = known & ~jnp.isnan(x) if padded else known
        x = jnp.where(there, x, 0)  # it may be NaN
        key = jax.random.fold_in(key, zlib.crc32(name.encode()))  # whatever is beside it
        for index, one in enumerate(augment[name]):
            x = one(jax.random.fold_in(key, index), x)
        x = unscale_input(x, scale)
        return jnp.where(there, x, jnp.nan) if padded else x

    def vary(key: jax.Array, batch: Batch) -> Batch:
        draw, pair = jax.random.split(key)

        def once(draw: jax.Array) -> Batch:
            varied = {n: vary_input(n, draw, batch) for n in augment if n in batch.inputs}
            rows = batch._replace(inputs={**batch.inputs, **varied})
            rows = weigh_classes(rows, weights)
            return rows if mixup is None else mix(pair, rows, mixup)

        # The second view is compiled only if the method looks at it.
        view = once(jax.random.fold_in(draw, 1)).inputs
        return once(draw)._replace(view=view)

    return vary


def mix(key: jax.Array, batch: Batch, alpha: float) -> Batch:
    r"""Mixup: each row is mixed with another one that has the same modalities, all of these alike.

    :math:`x \gets s x + (1 - s) x'` with a share :math:`s` for the whole batch, the larger of
    :math:`b` and :math:`1 - b` with :math:`b` from Beta(alpha, alpha), so that a row keeps the
    larger share; which of two rows is called the first makes no difference. A padded row keeps its
    length. Numbers as targets are mixed likewise. For classes and labels, ``Batch.mixed`` holds the
    other rows' targets, and the loss is :math:`s` times that of the row's own target plus
    :math:`1 - s` times that of the other's, whatever the objective.

    Reference: Zhang et al., mixup: Beyond Empirical Risk Minimization (arXiv:1710.09412).

    Args:
        key: determines the share and the pairs.
        batch: the rows.
        alpha: as ``Recipe.mixup``.

    Example:
        >>> present = {"a": np.array([True, True, False, False])}
        >>> rows = Batch({"a": np.arange(4.0)[:, None]}, present, target=np.arange(4))
        >>> mixed = mix(jax.random.key(3), rows, alpha=1.0)
        >>> bool(mixed.inputs["a"][:2].max() <= 1)  # the first two only with each other
        True
    """
    for_share, for_pairs = jax.random.split(key)
    drawn = jax.random.beta(for_share, alpha, alpha)
    share = jnp.maximum(drawn, 1 - drawn)
    other = draw_partners(for_pairs, batch.present)

    def blend(x: jax.Array) -> jax.Array:
        partner = jnp.where(jnp.isnan(x[other]), x, x[other])  # which may be shorter
        return share * x + (1 - share) * partner

    mixed = batch._replace(
        inputs={name: blend(as_float(jnp.asarray(x))) for name, x in batch.inputs.items()}
    )
    target, weight = jnp.asarray(batch.target), batch.weight
    if kind_of(target) == "numbers":
        return mixed._replace(target=blend(target))
    shares = jnp.full(len(target), share)
    others = None if weight is None else weight[other]
    return mixed._replace(mixed=Mixed(target[other], others, shares))


def draw_partners(key: jax.Array, present: Mapping[str, Array]) -> jax.Array:
    """A random permutation, [batch], in which rows go to places of rows with the same modalities.

    Example:
        >>> draw_partners(jax.random.key(0), {"a": np.array([True, False, True])})[1].item()
        1
    """
    patterns = [present[name] for name in sorted(present)]
    draw = jax.random.bits(key, (len(patterns[0]),))
    ordered, shuffled = jnp.lexsort(patterns), jnp.lexsort([draw, *patterns])
    return jnp.zeros_like(ordered).at[ordered].set(shuffled)
