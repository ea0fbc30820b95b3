"""The workloads in PyTorch: as its users write them, tuned by hand, and compiled."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch_models import initialise, make_module
from workloads import CLIP, LEARNING_RATE, WARMUP, Arrays, Case, Work, make_splits

Tensors = tuple[Tensor, Tensor, Tensor]


def make_work(case: Case, side: str) -> Work:
    """The work of a case.

    Args:
        case: what is done.
        side: ``eager``: with a DataLoader and the default optimiser; ``tuned``: in the layout that
            oneDNN likes, with the fused optimiser and batches cut from tensors; ``compile``: the
            tuned one through torch.compile.
    """
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs, as in JAX; no change on CPU
    train, valid = (as_tensors(rows, side) for rows in make_splits(case))
    if side != "eager":
        train = tuple(x.to(case.platform) for x in train)
    runs = [_Run(case, seed, side, train) for seed in range(case.seeds)]
    if case.work == "train":
        return lambda times: [run.take_steps(times) for run in runs]

    def work(times: int) -> None:
        for _ in range(times):
            if case.work == "first":
                runs[0].take_steps(case.steps)
            runs[0].predict(valid)

    return work


def as_tensors(rows: Arrays, side: str) -> Tensors:
    """Audio, images as floats in [0, 1], classes."""
    layout = torch.contiguous_format if side == "eager" else torch.channels_last
    image = torch.from_numpy(rows.image).permute(0, 3, 1, 2).float() / 255
    image = image.contiguous(memory_format=layout)
    return torch.from_numpy(rows.audio), image, torch.from_numpy(rows.target)


class _Run:
    """One seed: its model, its optimiser and its batches."""

    def __init__(self, case: Case, seed: int, side: str, train: Tensors) -> None:
        torch.manual_seed(seed)
        self.case, self.module = case, make_module(case.model)
        initialise(self.module)
        self.module.to(case.platform)
        if side != "eager":
            self.module.to(memory_format=torch.channels_last)
        self.call = torch.compile(self.module) if side == "compile" else self.module
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), LEARNING_RATE, weight_decay=0, fused=side != "eager"
        )
        share = lambda step: learning_rate_share(step, case.steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, share)
        batches = _load_batches if side == "eager" else _cut_batches
        self.batches = batches(train, case.batch_size)

    def take_steps(self, number: int) -> None:
        self.module.train()
        where, half = self.case.platform, self.case.dtype == "bfloat16"
        for batch in itertools.islice(self.batches, number):
            audio, image, target = (x.to(where) for x in batch)
            self.optimiser.zero_grad()
            with torch.autocast(where, torch.bfloat16, enabled=half):
                loss = F.cross_entropy(self.call(audio, image), target)
            loss.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
            self.optimiser.step()
            self.schedule.step()
        if where == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def predict(self, rows: Tensors) -> np.ndarray:
        self.module.eval()
        audio, image, _ = (x.to(self.case.platform).split(self.case.batch_size) for x in rows)
        chunks = zip(audio, image, strict=True)
        return torch.cat([self.call(*chunk) for chunk in chunks]).cpu().numpy()


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
