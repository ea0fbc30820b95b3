"""The models of the workloads in PyTorch, and how parameters of mmjax go into them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from workloads import CLASSES

Params = Mapping[str, Any]
"""A tree of NumPy arrays."""


class Stage(nn.Module):
    """Convolution, pooling, ReLU."""

    def __init__(self, conv: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.conv, self.pool = conv, pool

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pool(self.conv(x)))


class Conv(nn.Module):
    """Two stages per modality, a vector of each, concatenated, one hidden layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        image = [(1, 32), (32, 64)]
        audio = [(13, 64), (64, 128)]
        self.image = nn.Sequential(
            *(Stage(nn.Conv2d(*io, 3, padding=1), nn.MaxPool2d(2)) for io in image),
            nn.Flatten(),
            nn.Linear(7 * 7 * 64, 128),
            nn.ReLU(),
        )
        self.audio = nn.Sequential(
            *(Stage(nn.Conv1d(*io, 5, padding=2), nn.MaxPool1d(2)) for io in audio),
            nn.Flatten(),
            nn.Linear(9 * 128, 128),
            nn.ReLU(),
        )
        self.joint, self.dropout = nn.Linear(256, 128), nn.Dropout(0.1)
        self.readout = nn.Linear(128, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        both = torch.cat([self.audio(audio.transpose(1, 2)), self.image(image)], dim=1)
        return self.readout(self.dropout(F.relu(self.joint(both))))


def sinusoids(length: int, width: int) -> Tensor:
    """Positions [length, width], as in Attention Is All You Need."""
    rate = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(length)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(length, width)


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward, with PyTorch's own fused attention."""

    def __init__(self, width: int, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.norm_0, self.norm_1 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_0(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.dropout(self.out(read.reshape(batch, length, width)))
        hidden = F.gelu(self.up(self.norm_1(x)), approximate="tanh")
        return x + self.dropout(self.down(hidden))


class Embed(nn.Module):
    """Frames to tokens of one width: an encoder without layers, and the fusion's projection."""

    def __init__(self, features: int, length: int, width: int) -> None:
        super().__init__()
        self.encode, self.norm = nn.Linear(features, width), nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Linear(width, width)
        self.register_buffer("positions", sinusoids(length, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.norm(self.encode(x) + self.positions)) + self.positions


class Tokens(nn.Module):
    """49 patches of the image and 39 frames of the sequence as tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.audio, self.image = Embed(13, 39, width), Embed(16, 49, width)

    def forward(self, audio: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        patches = F.unfold(image, 4, stride=4).transpose(1, 2)
        return self.audio(audio), self.image(patches)


class Transformer(nn.Module):
    """Self-attention over all tokens and one learned token that is read out."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.tokens, self.cls = Tokens(width), nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-6), nn.Dropout(0.1)
        self.readout = nn.Linear(width, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(len(audio), -1, -1), *self.tokens(audio, image)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.readout(self.dropout(self.norm(x[:, 0])))


class Bottleneck(nn.Module):
    """A transformer per modality; they share four tokens, the mean of what each has written."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.tokens = Tokens(width)
        self.cls = nn.ParameterList(torch.zeros(1, 1, width) for _ in range(2))
        self.shared = nn.Parameter(torch.zeros(1, 4, width))
        self.blocks = nn.ModuleList(nn.ModuleList(Block(width) for _ in range(2)) for _ in range(2))
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-6), nn.Dropout(0.1)
        self.readout = nn.Linear(width, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        batch = len(audio)
        tokens = zip(self.cls, self.tokens(audio, image), strict=True)
        streams = [torch.cat([cls.expand(batch, -1, -1), x], dim=1) for cls, x in tokens]
        shared = self.shared.expand(batch, -1, -1)
        for layer in self.blocks:
            inputs = [torch.cat([shared, x], dim=1) for x in streams]
            outputs = [block(x) for block, x in zip(layer, inputs, strict=True)]
            shared = torch.stack([x[:, :4] for x in outputs]).mean(dim=0)
            streams = [x[:, 4:] for x in outputs]
        cls = self.norm(torch.stack([x[:, 0] for x in streams], dim=1))
        return self.readout(self.dropout(cls)).mean(dim=1)


def make_module(name: str) -> nn.Module:
    """The module of a workload's model."""
    if name == "conv":
        return Conv(CLASSES)
    fusion, width = name.split("-")
    return {"transformer": Transformer, "bottleneck": Bottleneck}[fusion](CLASSES, int(width))


def initialise(module: nn.Module) -> None:
    """Draws parameters as mmjax does: truncated normal of variance 1 / fan-in, biases of zero."""
    for name, tensor in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(tensor)
        elif isinstance(owner(module, name), nn.LayerNorm):
            nn.init.ones_(tensor)
        else:
            wanted = 0.02 if "cls" in name or "shared" in name else tensor[0].numel() ** -0.5
            std = wanted / 0.8796  # cutting at two deviations narrows a normal distribution so
            nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def owner(module: nn.Module, name: str) -> nn.Module:
    """The part of a module that a parameter belongs to."""
    return module.get_submodule(name.rpartition(".")[0])


def copy_params(module: nn.Module, params: Params) -> None:
    """Gives a module the parameters of the same model in mmjax: what both compute is equal."""
    if isinstance(module, Conv):
        _copy_conv(module, params)
        return
    _copy_tokens(module, params)
    fusion = params["fusion"]
    if isinstance(module, Transformer):
        _set(module.cls, fusion["cls"])
        for i, block in enumerate(module.blocks):
            _copy_block(block, fusion[f"block_{i}"])
        return
    _set(module.shared, fusion["bottleneck"])
    for m, modality in enumerate(("audio", "image")):
        _set(module.cls[m], fusion[f"cls_{modality}"])
        for i, layer in enumerate(module.blocks):
            _copy_block(layer[m], fusion[f"{modality}_{i}"])


def _copy_conv(module: Conv, params: Params) -> None:
    for name, space in (("image", (7, 7)), ("audio", (9,))):
        layers, encoder = getattr(module, name), params[f"encoders_{name}"]
        for i in range(2):
            stage = encoder[f"_Stage_{i}"]
            _set(layers[i].conv.weight, np.moveaxis(stage["Conv_0"]["kernel"], (-1, -2), (0, 1)))
            _set(layers[i].conv.bias, stage["bias"])
        dense = encoder["_Summary_0"]["Dense_0"]
        # PyTorch flattens features before positions.
        kernel = np.moveaxis(np.reshape(dense["kernel"], (*space, -1, 128)), -2, 0)
        _set_linear(layers[3], {**dense, "kernel": kernel.reshape(-1, 128)})
    joint = params["fusion"]["joint"]
    kernel = np.concatenate([joint["audio"]["kernel"], joint["image"]["kernel"]])
    _set_linear(module.joint, {"kernel": kernel, "bias": joint["bias"]})
    _set_linear(module.readout, params["fusion"]["readout"])


def _copy_tokens(module: Transformer | Bottleneck, params: Params) -> None:
    for name in ("audio", "image"):
        part, encoder = getattr(module.tokens, name), params[f"encoders_{name}"]
        encoder = encoder.get("Transformer_0", encoder)
        _set_linear(part.encode, encoder["Dense_0"])
        _set_norm(part.norm, encoder["LayerNorm_0"])
        _set_linear(part.project, params["fusion"][f"project_{name}"])
    _set_norm(module.norm, params["fusion"]["norm"])
    _set_linear(module.readout, params["fusion"]["readout"])


def _copy_block(block: Block, params: Params) -> None:
    width = len(block.out.weight)
    attention = params["Attention_0"]
    flat = [attention[n]["kernel"].reshape(width, width) for n in ("query", "key", "value")]
    _set(block.qkv.weight, np.concatenate(flat, axis=1).T)
    _set(block.out.weight, attention["out"]["kernel"].reshape(width, width).T)
    _set_linear(block.up, params["Dense_1"])
    _set_linear(block.down, params["Dense_0"])
    _set_norm(block.norm_0, params["LayerNorm_0"])
    _set_norm(block.norm_1, params["LayerNorm_1"])


def _set(tensor: Tensor, value: np.ndarray) -> None:
    value = torch.tensor(np.array(value))
    tensor.data.copy_(value.reshape(tensor.shape))


def _set_linear(linear: nn.Linear, params: Params) -> None:
    _set(linear.weight, np.transpose(params["kernel"]))
    _set(linear.bias, params["bias"])


def _set_norm(norm: nn.LayerNorm, params: Params) -> None:
    _set(norm.weight, params["scale"])
    _set(norm.bias, params["bias"])
