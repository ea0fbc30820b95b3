"""Feeds training rows to the device: all at once, or streamed in blocks of steps.

Either way, the rows of a step are a function of (seed, step). The results are therefore the same,
and a run can resume at any step without the state of an iterator.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mmjax.data.chunks import on_disk
from mmjax.data.task import Split
from mmjax.errors import UsageError, import_extra
from mmjax.training.epochs import (
    make_advance,
    steps_per_epoch,
    take_round,
    take_rows,
    take_steps,
)
from mmjax.training.lanes import over_seeds
from mmjax.training.mesh import block_sharding, deal_rows, replicate
from mmjax.training.predict import Chunks, cut
from mmjax.training.sampling import Order, shuffled
from mmjax.training.step import Step
from mmjax.types import Batch

VARIABLE = "MMJAX_FEED"
_HOW = ("device", "stream")
_SHARE = 0.5  # fraction of the device's memory that the rows may take
_BLOCK_BYTES = 1 << 23  # large enough to amortise a call, small enough to hold several
_THREADS, _AHEAD = 2, 2  # threads that read blocks, and blocks that are prefetched


class Block(NamedTuple):
    """The batches of consecutive steps, for each seed.

    Attributes:
        rows: a Batch of arrays [seeds, steps, batch, ...].
        first: [seeds] the first of the steps.
    """

    rows: Batch
    first: np.ndarray


Feed = Callable[[int, int], Iterable[tuple[Batch | Block, int, int]]]
"""Maps ``(first, last)``, steps of one round, to ``(rows, first, last)`` of the consecutive program
calls that together take them; one call if there are no steps."""


def make_all_advance(
    step: Step,
    batch_size: int,
    per_epoch: int | None = None,
    mesh: Mesh | None = None,
    effort: str = "normal",
    order: Order = shuffled,
) -> Callable:
    """Jits ``make_advance`` for all seeds: ``(carried, rows, first, last) -> carried``.

    Args:
        step: the train step.
        batch_size: rows of a step.
        per_epoch: steps of an epoch if rows are streamed, or None; ``make_feed`` yields both.
        mesh: the devices, if there is more than one.
        effort: of the compiler, as in ``platform.compiler_options``.
        order: of the rows, if they are not streamed.
    """
    if per_epoch is None:
        advance = make_advance(step, batch_size, mesh, order)
        return over_seeds(advance, mesh, effort=effort, donate_argnums=0)

    def advance_streamed(carried, block, first, last):
        batch_at = lambda i: deal_rows(take_rows(block.rows, i - block.first), mesh)
        take = lambda carry: take_steps(step, carry, batch_at, first, last)
        return take_round(take, carried, per_epoch, first)

    return over_seeds(advance_streamed, mesh, lanes=2, effort=effort, donate_argnums=0)


def make_feed(
    train: Split,
    seeds: Sequence[int],
    batch_size: int,
    steps: int,
    mesh: Mesh | None = None,
    order: Order = shuffled,
) -> Feed:
    """Makes the feed that supplies the rows of a run to its program.

    If several processes share the mesh axis ``data``, each reads its own part of every batch.

    Raises:
        UsageError: rows are to be streamed, but grain is not installed.
    """
    if streamed(train):
        part = slice(None)
        if mesh is not None and mesh.shape["data"] % jax.process_count() == 0:
            part = process_part(batch_size, jax.process_index(), jax.process_count())
        return Stream(train.batch(), seeds, batch_size, steps, part, mesh, order)
    rows = replicate(train.batch(), mesh)
    return lambda first, last: [(rows, first, last)]


def place(split: Split, chunk: int) -> Batch | Chunks:
    """All rows of a split for repeated prediction: in chunks on the device, unless streamed."""
    if streamed(split):
        return split.batch()
    size, parts = cut(split.batch(), chunk)
    return Chunks(size, jax.device_put(list(parts)))


def streamed(split: Split) -> bool:
    """Whether rows are streamed; the environment variable MMJAX_FEED overrides the default.

    By default rows are streamed if they are on disk, or larger than half of the device's memory.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        if chosen not in _HOW:
            raise UsageError(VARIABLE, expected=f"one of {', '.join(_HOW)}", got=repr(chosen))
        return chosen == "stream"
    arrays = split.inputs.values()
    # A CPU reports no limit: what is in memory is already on the device.
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)
    return any(map(on_disk, arrays)) or size > _SHARE * limit


class Stream:
    """A Feed that prefetches in threads: memory holds a few blocks, whatever the number of rows.

    In addition it keeps the orders of two epochs, eight bytes per row and seed.
    """

    def __init__(
        self,
        rows: Batch,
        seeds: Sequence[int],
        batch_size: int,
        steps: int,
        part: slice = slice(None),
        mesh: Mesh | None = None,
        order: Order = shuffled,
    ) -> None:
        """Prepares to read; nothing is read yet.

        Args:
            rows: the training rows, in memory or on disk.
            seeds: of the run.
            batch_size: rows per step.
            steps: total number of steps of the run.
            part: which rows of each batch to read, if several processes share it.
            mesh: the devices to place them on, if there is more than one.
            order: of the rows.

        Raises:
            UsageError: grain is not installed.
        """
        self._grain = import_extra(VARIABLE, "grain", "grain")
        size = len(rows.target)
        self._rows, self._num_seeds, self._num_steps = rows, len(seeds), steps
        self._part, self._share = part, len(range(batch_size)[part])
        self._batch_size, self._mesh = batch_size, mesh
        self._per_epoch = steps_per_epoch(size, batch_size)
        row_bytes = sum(math.prod(x.shape[1:]) * x.dtype.itemsize for x in jax.tree.leaves(rows))
        most = max(1, _BLOCK_BYTES // (row_bytes * batch_size * len(seeds)))
        self._block_steps = math.ceil(self._per_epoch / math.ceil(self._per_epoch / most))
        keys = [jax.random.key(seed) for seed in seeds]

        @lru_cache(maxsize=2)  # prefetched blocks may belong to the next epoch
        def orders(epoch: int) -> np.ndarray:
            rows_of = np.stack([order(key, epoch, rows.target) for key in keys])
            whole = rows_of[:, : self._per_epoch * batch_size]
            return whole.reshape(len(keys), self._per_epoch, batch_size)

        self._orders = orders
        self._reader: Iterator[tuple[range, Block]] = iter(())
        self._held = range(-1, -1)  # no steps yet
        self._block: Block

    def __call__(self, first: int, last: int) -> Iterator[tuple[Block, int, int]]:
        """Yields the blocks of some steps, on the device."""
        if first == last:
            yield self._nothing(), first, last
        while first < last:
            block = self._find(first)
            stop = min(self._held.stop, last)
            yield block, first, stop
            first = stop

    def _find(self, step: int) -> Block:
        if step not in self._held:
            if step != self._held.stop:
                self._reader = self._read_from(step)
            self._held, block = next(self._reader)
            self._block = self._place(block)
        return self._block

    def _read_from(self, step: int) -> Iterator[tuple[range, Block]]:
        blocks = cut_steps(step, self._num_steps, self._per_epoch, self._block_steps)
        read = self._grain.MapDataset.source(blocks).map(lambda steps: (steps, self._read(steps)))
        return iter(read.to_iter_dataset(self._grain.ReadOptions(_THREADS, _AHEAD)))

    def _read(self, steps: range) -> Block:
        epoch, place = divmod(steps.start, self._per_epoch)
        places = place + np.arange(self._block_steps).clip(max=len(steps) - 1)  # padded
        index = self._orders(epoch)[:, places, self._part]
        first = np.full(self._num_seeds, steps.start, np.int32)
        return Block(jax.tree.map(lambda x: x[index], self._rows), first)

    def _nothing(self) -> Block:
        shape = (self._num_seeds, self._block_steps, self._share)
        zeros = jax.tree.map(lambda x: np.zeros(shape + x.shape[1:], x.dtype), self._rows)
        return self._place(Block(zeros, np.zeros(self._num_seeds, np.int32)))

    def _place(self, block: Block) -> Block:
        if self._mesh is None:
            return jax.device_put(block)
        return jax.tree.map(partial(self._place_on_mesh, self._mesh), block)

    def _place_on_mesh(self, mesh: Mesh, x: np.ndarray) -> jax.Array:
        whole = (*x.shape[:2], self._batch_size, *x.shape[3:]) if x.ndim > 1 else x.shape
        sharding = block_sharding(whole, mesh)
        return jax.make_array_from_process_local_data(sharding, x, whole)


def cut_steps(first: int, last: int, per_epoch: int, size: int) -> list[range]:
    """The steps ``first`` to ``last - 1`` in blocks of at most ``size``, each of one epoch.

    Example:
        >>> cut_steps(2, 9, per_epoch=4, size=3)
        [range(2, 4), range(4, 7), range(7, 8), range(8, 9)]
    """
    blocks = []
    while first < last:
        stop = min(first + size, last, (first // per_epoch + 1) * per_epoch)
        blocks.append(range(first, stop))
        first = stop
    return blocks


def process_part(batch_size: int, index: int, count: int) -> slice:
    """The rows of each batch for process ``index`` of ``count``.

    Raises:
        UsageError: the batch size is not divisible by the number of processes.
    """
    if batch_size % count:
        expected = f"a multiple of {count}, the number of processes"
        raise UsageError("batch_size", expected=expected, got=str(batch_size))
    share = batch_size // count
    return slice(index * share, (index + 1) * share)
