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


class FeaturesFirst(nn.Module):
    """Frames [batch, length, features] in the layout of PyTorch's convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def encode_images(first: int, second: int) -> nn.Sequential:
    """Two stages on images of 28 x 28, summarised in 128 numbers."""
    return nn.Sequential(
        Stage(nn.Conv2d(1, first, 3, padding=1), nn.MaxPool2d(2)),
        Stage(nn.Conv2d(first, second, 3, padding=1), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(7 * 7 * second, 128),
        nn.ReLU(),
    )


def encode_frames(first: int, second: int) -> nn.Sequential:
    """Two stages on 39 frames of 13 features, summarised in 128 numbers."""
    return nn.Sequential(
        FeaturesFirst(),
        Stage(nn.Conv1d(13, first, 5, padding=2), nn.MaxPool1d(2)),
        Stage(nn.Conv1d(first, second, 5, padding=2), nn.MaxPool1d(2)),
        nn.Flatten(),
        nn.Linear(9 * second, 128),
        nn.ReLU(),
    )


class Conv(nn.Module):
    """Two stages per modality, a vector of each, concatenated, one hidden layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.audio, self.image = encode_frames(64, 128), encode_images(32, 64)
        self.joint, self.dropout = nn.Linear(256, 128), nn.Dropout(0.1)
        self.readout = nn.Linear(128, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        both = torch.cat([self.audio(audio), self.image(image)], dim=1)
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

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        read = F.scaled_dot_product_attention(*self.attend(x, *context)).transpose(1, 2)
        x = x + self.dropout(self.out(read.reshape(x.shape)))
        hidden = F.gelu(self.up(self.norm_1(x)), approximate="tanh")
        return x + self.dropout(self.down(hidden))

    def attend(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [batch, heads, length, width of a head]."""
        return self.split(self.qkv(self.norm_0(x)), 3)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Splits the last dimension into parts, and each into heads."""
        return x.view(*x.shape[:2], parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()


class CrossBlock(Block):
    """The same with keys and values from a context; one matrix for all, as in PyTorch's own."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm_context = nn.LayerNorm(width, eps=1e-6)

    def attend(self, x: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        width = x.shape[-1]
        query, key_value = self.qkv.weight.split([width, 2 * width])
        q = self.split(F.linear(self.norm_0(x), query), 1)
        return *q, *self.split(F.linear(self.norm_context(context), key_value), 2)


class Mark(nn.Linear):
    """Projects tokens; its bias marks their modality, and positions are added."""

    def __init__(self, features: int, length: int, width: int) -> None:
        super().__init__(features, width)
        self.register_buffer("positions", sinusoids(length, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.positions


class Embedding(nn.Module):
    """Tokens of all modalities, projected to one width."""

    def __init__(self, sizes: Mapping[str, int], length: int, width: int) -> None:
        super().__init__()
        self.project = nn.ModuleDict({n: Mark(size, length, width) for n, size in sizes.items()})

    def forward(self, *x: Tensor) -> list[Tensor]:
        return [f(one) for f, one in zip(self.project.values(), x, strict=True)]


class Embed(nn.Module):
    """Frames to tokens of one width: an encoder without layers, and the fusion's projection."""

    def __init__(self, features: int, length: int, width: int) -> None:
        super().__init__()
        self.encode, self.norm = nn.Linear(features, width), nn.LayerNorm(width, eps=1e-6)
        self.project = Mark(width, length, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.norm(self.encode(x) + self.project.positions))


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

    def __init__(self, classes: int, width: int, tokens: nn.Module) -> None:
        super().__init__()
        self.tokens, self.cls = tokens, nn.Parameter(torch.zeros(1, 1, width))
        self.block = nn.ModuleList(Block(width) for _ in range(2))
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-6), nn.Dropout(0.1)
        self.readout = nn.Linear(width, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(len(audio), -1, -1), *self.tokens(audio, image)], dim=1)
        for block in self.block:
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
    if fusion == "transformer":
        return Transformer(CLASSES, int(width), Tokens(int(width)))
    return Bottleneck(CLASSES, int(width))


def initialise(module: nn.Module) -> None:
    """Draws parameters as mmjax does: truncated normal of variance 1 / fan-in, biases of zero."""
    for name, tensor in module.named_parameters():
        if isinstance(owner(module, name), Mark) and name.endswith("bias"):
            nn.init.normal_(tensor, std=0.02)
        elif name.endswith(("bias", "prior")):
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
        copy_named(module, fusion)
        return
    _set(module.shared, fusion["bottleneck"])
    for m, modality in enumerate(("audio", "image")):
        _set(module.cls[m], fusion[f"cls_{modality}"])
        for i, layer in enumerate(module.blocks):
            _copy_block(layer[m], fusion[f"{modality}_{i}"])


def copy_named(module: nn.Module, params: Params, prefix: str = "") -> None:
    """Copies into the parts of a module those parameters that have the same name in mmjax."""
    for own, part in module.named_children():
        name = f"{prefix}{own}"
        match part:
            case Embedding():
                copy_named(part, params, prefix)
            case nn.ModuleDict() | nn.ModuleList():
                copy_named(part, params, f"{name}_")
            case Block():
                _copy_block(part, params[name])
            case nn.LayerNorm():
                _set_norm(part, params[name])
            case nn.Sequential():
                _copy_mlp(part, params[name])
            case nn.Linear():
                _set_linear(part, _join(params, name))
    for name, tensor in module.named_parameters(recurse=False):
        _set(tensor, params[name])


def _join(params: Params, name: str) -> Params:
    """What is one dense layer in PyTorch: in mmjax maybe one per input, output or both."""
    if name not in params:
        parts = [_join(params, n) for n in sorted(params) if n.startswith(f"{name}_")]
        kernel, bias = ([part[key] for part in parts] for key in ("kernel", "bias"))
        return {"kernel": np.concatenate(kernel, axis=1), "bias": np.concatenate(bias)}
    layer = params[name]
    if "kernel" in layer:
        return layer
    kernels = [layer[n]["kernel"] for n in sorted(layer) if n != "bias"]
    return {"kernel": np.concatenate(kernels), "bias": layer["bias"]}


def copy_encoder(encoder: nn.Sequential, params: Params) -> None:
    """Copies the parameters of an encoder."""
    stages = [part for part in encoder if isinstance(part, Stage)]
    if not stages:
        _copy_mlp(encoder, params["MLP_0"])
        return
    for i, stage in enumerate(stages):
        own = params[f"_Stage_{i}"]
        _set(stage.conv.weight, np.moveaxis(own["Conv_0"]["kernel"], (-1, -2), (0, 1)))
        _set(stage.conv.bias, own["bias"])
    (linear,) = (part for part in encoder if isinstance(part, nn.Linear))
    dense = params["_Summary_0"]["Dense_0"]
    # PyTorch flattens features before positions.
    kernel = np.reshape(dense["kernel"], (-1, stages[-1].conv.out_channels, linear.out_features))
    kernel = kernel.swapaxes(0, 1).reshape(-1, linear.out_features)
    _set_linear(linear, {**dense, "kernel": kernel})


def _copy_mlp(layers: nn.Sequential, params: Params) -> None:
    for i, linear in enumerate(part for part in layers if isinstance(part, nn.Linear)):
        _set_linear(linear, params[f"Dense_{i}"])


def _copy_conv(module: Conv, params: Params) -> None:
    for name in ("audio", "image"):
        copy_encoder(getattr(module, name), params[f"encoders_{name}"])
    copy_named(nn.ModuleDict({"joint": module.joint, "readout": module.readout}), params["fusion"])


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
    if isinstance(block, CrossBlock):
        _set_norm(block.norm_context, params["norm_context"])


def _set(tensor: Tensor, value: np.ndarray) -> None:
    value = torch.tensor(np.array(value))
    tensor.data.copy_(value.reshape(tensor.shape))


def _set_linear(linear: nn.Linear, params: Params) -> None:
    _set(linear.weight, np.transpose(params["kernel"]))
    _set(linear.bias, params["bias"])


def _set_norm(norm: nn.LayerNorm, params: Params) -> None:
    _set(norm.weight, params["scale"])
    _set(norm.bias, params["bias"])
