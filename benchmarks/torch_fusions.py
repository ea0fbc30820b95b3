"""The models of comparisons in PyTorch: mmjax's core fusions and default encoders, for full rows.

A part that has parameters is called as in mmjax, so that ``torch_models.copy_named`` finds it.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_models import (
    Block,
    CrossBlock,
    Embedding,
    Params,
    Transformer,
    copy_encoder,
    copy_named,
    encode_frames,
    encode_images,
)

WIDTH, DROPOUT = 64, 0.1
TOKENS, TOKEN_WIDTH = 4, 32  # of the convolutional encoders

Sizes = Mapping[str, int]
"""Features of a vector, or of a token, of each modality, sorted by name."""


class Fusion(nn.Module):
    """Dropout and a dense layer on a joint representation, from ``fuse``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dropout, self.readout = nn.Dropout(DROPOUT), nn.Linear(WIDTH, classes)

    def forward(self, *x: Tensor) -> Tensor:
        return self.readout(self.dropout(self.fuse(*x)))

    def fuse(self, *x: Tensor) -> Tensor:
        raise NotImplementedError


class Concat(Fusion):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(classes)
        self.joint = nn.Linear(sum(sizes.values()), WIDTH)

    def fuse(self, *x: Tensor) -> Tensor:
        return F.relu(self.joint(torch.cat(x, dim=1)))


class Early(Concat):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(sizes, classes)
        self.hidden_1 = nn.Linear(WIDTH, WIDTH)

    def fuse(self, *x: Tensor) -> Tensor:
        return F.relu(self.hidden_1(self.dropout(super().fuse(*x))))


class Sum(Fusion):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(classes)
        self.project = nn.ModuleDict({n: nn.Linear(size, WIDTH) for n, size in sizes.items()})

    def projected(self, x: tuple[Tensor, ...]) -> list[Tensor]:
        return [torch.tanh(f(one)) for f, one in zip(self.project.values(), x, strict=True)]

    def fuse(self, *x: Tensor) -> Tensor:
        first, second = self.projected(x)
        return first + second


class Product(Sum):
    def fuse(self, *x: Tensor) -> Tensor:
        first, second = self.projected(x)
        return first * second


class AttentionPool(Sum):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(sizes, classes)
        self.score = nn.Linear(sum(sizes.values()), len(sizes))

    def fuse(self, *x: Tensor) -> Tensor:
        weights = self.score(torch.cat(x, dim=1)).softmax(dim=1)
        first, second = self.projected(x)
        return weights[:, :1] * first + weights[:, 1:] * second


class GMU(Sum):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(sizes, classes)
        self.gate = nn.Linear(sum(sizes.values()), WIDTH)

    def fuse(self, *x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(torch.cat(x, dim=1)))
        first, second = self.projected(x)
        return gate * first + (1 - gate) * second


class LateMean(nn.Module):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__()
        self.readout = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(size, WIDTH),
                    nn.ReLU(),
                    nn.Dropout(DROPOUT),
                    nn.Linear(WIDTH, classes),
                )
                for name, size in sizes.items()
            }
        )

    def logits(self, x: tuple[Tensor, ...]) -> list[Tensor]:
        return [f(one) for f, one in zip(self.readout.values(), x, strict=True)]

    def forward(self, *x: Tensor) -> Tensor:
        first, second = self.logits(x)
        return (first + second) / 2


class ProductOfExperts(LateMean):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(sizes, classes)
        self.prior = nn.Parameter(torch.zeros(classes))

    def forward(self, *x: Tensor) -> Tensor:
        first, second = self.logits(x)
        return F.log_softmax(first + second - self.prior, dim=1)


class SelfAttention(Transformer):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__(classes, WIDTH, Embedding(sizes, TOKENS, WIDTH))


class CrossAttention(nn.Module):
    def __init__(self, sizes: Sizes, classes: int) -> None:
        super().__init__()
        self.tokens = Embedding(sizes, TOKENS, WIDTH)
        self.audio_from_image_0, self.image_from_audio_0 = CrossBlock(WIDTH), CrossBlock(WIDTH)
        self.audio_0, self.image_0 = Block(WIDTH), Block(WIDTH)
        self.norm_audio = nn.LayerNorm(WIDTH, eps=1e-6)
        self.norm_image = nn.LayerNorm(WIDTH, eps=1e-6)
        self.readout = nn.Linear(2 * WIDTH, classes)

    def forward(self, *x: Tensor) -> Tensor:
        audio, image = self.tokens(*x)
        heard = self.norm_audio(self.audio_0(self.audio_from_image_0(audio, image)))
        seen = self.norm_image(self.image_0(self.image_from_audio_0(image, audio)))
        return self.readout(torch.cat([heard.mean(dim=1), seen.mean(dim=1)], dim=1))


FUSIONS: dict[str, Any] = {
    "early": Early,
    "concat": Concat,
    "sum": Sum,
    "product": Product,
    "attention_pool": AttentionPool,
    "gmu": GMU,
    "transformer": SelfAttention,
    "cross_attention": CrossAttention,
    "late_mean": LateMean,
    "product_of_experts": ProductOfExperts,
}
OF_TOKENS = ("transformer", "cross_attention")


class Mean(nn.Module):
    """The mean of tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


class Model(nn.Module):
    """An encoder for each modality, sorted by name, and a fusion."""

    def __init__(self, encoders: Mapping[str, nn.Module], fusion: nn.Module) -> None:
        super().__init__()
        self.encoders, self.fusion = nn.ModuleDict(encoders), fusion

    def forward(self, *inputs: Tensor) -> Tensor:
        encoders = self.encoders.values()
        return self.fusion(*(f(x) for f, x in zip(encoders, inputs, strict=True)))

    def copy(self, params: Params) -> None:
        """Takes over the parameters of the same model in mmjax."""
        for name, encoder in self.encoders.items():
            if isinstance(encoder, nn.Sequential):
                copy_encoder(encoder, params[f"encoders_{name}"])
        copy_named(self.fusion, params["fusion"])


def make_model(strategy: str, shapes: Mapping[str, tuple[int, ...]], classes: int) -> Model:
    """The model of a fusion, or of a unimodal baseline, ``NAME_only``.

    Args:
        strategy: a key of ``FUSIONS``, or a baseline.
        shapes: {modality: of a row of its input}, of those that it uses, sorted by name.
        classes: number of classes.
    """
    fusion = FUSIONS.get(strategy, Concat)
    if fusion is Early:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        return Model({name: nn.Flatten() for name in shapes}, Early(sizes, classes))
    encoders = {n: _make_encoder(shape, strategy in OF_TOKENS) for n, shape in shapes.items()}
    sizes = {n: 64 if len(shape) == 1 else TOKEN_WIDTH for n, shape in shapes.items()}
    return Model(encoders, fusion(sizes, classes))


def _make_encoder(shape: tuple[int, ...], tokens: bool) -> nn.Sequential:
    if len(shape) == 1:
        return nn.Sequential(nn.Linear(*shape, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    layers = encode_frames(32, 64) if len(shape) == 2 else encode_images(16, 32)
    layers.append(nn.Unflatten(1, (TOKENS, TOKEN_WIDTH)))
    return layers if tokens else layers.append(Mean())
