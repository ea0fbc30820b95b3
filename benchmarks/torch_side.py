"""The workloads in PyTorch: as its users write them, tuned by hand, and compiled."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch_fusions import make_model
from torch_models import initialise, make_module
from workloads import (
    CLIP,
    COMPARISONS,
    LEARNING_RATE,
    PATIENCE,
    WARMUP,
    Arrays,
    Case,
    Comparison,
    Work,
    make_splits,
)

Tensors = Sequence[Tensor]
"""The inputs, sorted by modality, and the target."""
CHUNK = 256  # rows of a forward pass in validation, as in mmjax


def make_work(case: Case, side: str, rows: Path | None = None) -> Work:
    """The work of a case.

    Args:
        case: what is done.
        side: ``eager``: with a DataLoader and the default optimiser; ``tuned``: in the layout that
            oneDNN likes, with the fused optimiser and batches cut from tensors; ``compile``: the
            tuned one through torch.compile.
        rows: of a comparison, from ``mmjax_side.save_compared``.
    """
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs, as in JAX; no change on CPU
    if rows:
        return lambda times: [compare(COMPARISONS[case.model], side, rows) for _ in range(times)]
    train, valid = (as_tensors(rows, side) for rows in make_splits(case))
    if side != "eager":
        train = tuple(x.to(case.platform) for x in train)
    where = {"platform": case.platform, "dtype": case.dtype}
    runs = []
    for seed in range(case.seeds):
        torch.manual_seed(seed)
        module = make_module(case.model)
        runs.append(_Run(module, train, case.batch_size, case.steps, side, **where))
    if case.work == "train":
        return lambda times: [run.take_steps(times) for run in runs]

    def work(times: int) -> None:
        for _ in range(times):
            if case.work == "first":
                runs[0].take_steps(case.steps)
            runs[0].predict(valid, case.batch_size)

    return work


def as_tensors(rows: Arrays, side: str) -> Tensors:
    """Audio, images as floats in [0, 1], classes."""
    image = _lay_out(torch.from_numpy(rows.image).float() / 255, side)
    return torch.from_numpy(rows.audio), image, torch.from_numpy(rows.target)


def _lay_out(x: Tensor, side: str) -> Tensor:
    """Images with their channels where PyTorch expects them; other inputs as they are."""
    if x.ndim != 4:
        return x
    layout = torch.contiguous_format if side == "eager" else torch.channels_last
    return x.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def compare(comparison: Comparison, side: str, path: Path) -> None:
    """Trains and validates every strategy with every seed, one after another."""
    with np.load(path) as stored:
        arrays = dict(stored)
    start = "train_"
    names = sorted(key.removeprefix(start) for key in arrays if key.startswith(start))
    for strategy in (*(f"{name}_only" for name in names), *comparison.fusions):
        used = [name for name in names if strategy == f"{name}_only"] or names
        train, valid = (_read(arrays, part, used, side) for part in ("train", "valid"))
        shapes = {n: tuple(x.shape[1:]) for n, x in zip(used, train[:-1], strict=True)}
        batch_size = min(comparison.batch_size, len(train[-1]))
        for seed in range(comparison.seeds):
            torch.manual_seed(seed)
            module = make_model(strategy, shapes, int(arrays["classes"]))
            run = _Run(module, train, batch_size, comparison.steps, side)
            run.fit(comparison.steps, comparison.steps_per_round(len(train[-1])), valid)


def _read(arrays: Mapping[str, np.ndarray], part: str, names: list[str], side: str) -> Tensors:
    inputs = [_lay_out(torch.from_numpy(arrays[f"{part}_{name}"]), side) for name in names]
    return *inputs, torch.from_numpy(arrays[f"target_{part}"])


class _Run:
    """One seed: its model, initialised, its optimiser and its batches."""

    def __init__(
        self,
        module: nn.Module,
        train: Tensors,
        batch_size: int,
        steps: int,
        side: str,
        platform: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        self.module, self.platform, self.dtype = module, platform, dtype
        initialise(self.module)
        self.module.to(platform)
        if side != "eager":
            self.module.to(memory_format=torch.channels_last)
        self.call = torch.compile(self.module) if side == "compile" else self.module
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), LEARNING_RATE, weight_decay=0, fused=side != "eager"
        )
        share = lambda step: learning_rate_share(step, steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, share)
        batches = _load_batches if side == "eager" else _cut_batches
        self.batches = batches(train, batch_size)

    def take_steps(self, number: int) -> None:
        self.module.train()
        half = self.dtype == "bfloat16"
        for batch in itertools.islice(self.batches, number):
            *inputs, target = (x.to(self.platform) for x in batch)
            self.optimiser.zero_grad()
            with torch.autocast(self.platform, torch.bfloat16, enabled=half):
                loss = F.cross_entropy(self.call(*inputs), target)
            loss.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
            self.optimiser.step()
            self.schedule.step()
        if self.platform == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def predict(self, rows: Tensors, batch_size: int) -> np.ndarray:
        self.module.eval()
        *inputs, _ = (x.to(self.platform).split(batch_size) for x in rows)
        chunks = zip(*inputs, strict=True)
        return torch.cat([self.call(*chunk) for chunk in chunks]).cpu().numpy()

    def fit(self, steps: int, per_round: int, valid: Tensors) -> None:
        """Takes at most so many steps, and ends with the parameters that were best on validation.

        After each round validation decides: on accuracy, then on the loss. After ``PATIENCE``
        rounds that were no better, training ends.
        """
        best, kept, waited = (-math.inf, -math.inf), {}, 0
        for first in range(0, steps, per_round):
            self.take_steps(min(per_round, steps - first))
            scores = self.validate(valid)
            waited += 1
            if scores > best:
                best, kept, waited = scores, copy.deepcopy(self.module.state_dict()), 0
            if waited == PATIENCE:
                break
        self.module.load_state_dict(kept)

    def validate(self, rows: Tensors) -> tuple[float, float]:
        """Accuracy and log-likelihood."""
        logits, target = torch.from_numpy(self.predict(rows, CHUNK)), rows[-1]
        accuracy = (logits.argmax(dim=1) == target).double().mean().item()
        return accuracy, -F.cross_entropy(logits, target).item()


def _load_batches(rows: Tensors, batch_size: int) -> Iterator[Tensors]:
    loader = DataLoader(TensorDataset(*rows), batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def _cut_batches(rows: Tensors, batch_size: int) -> Iterator[Tensors]:
    while True:
        order = torch.randperm(len(rows[-1]), device=rows[-1].device)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            index = order[start : start + batch_size]
            yield tuple(x[index] for x in rows)


def learning_rate_share(step: int, steps: int) -> float:
    """The learning rate of a step as a share of the highest: warm-up, then a cosine to zero."""
    warmup = min(math.ceil(WARMUP * steps), steps - 1)
    if step < warmup:
        return step / warmup
    return (1 + math.cos(math.pi * min((step - warmup) / (steps - warmup), 1))) / 2
