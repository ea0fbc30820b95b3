"""The search space as plain values; imports no JAX."""

import math
from dataclasses import dataclass

from mmjax.errors import UsageError
from mmjax.registry import parse_pairs


@dataclass(frozen=True)
class Space:
    """The search space of `mmjax tune`: lists of choices, and ranges of numbers.

    Attributes:
        fusions: comma-separated names; `core`, ten of most kinds, or `all`.
        methods: training methods, for fusions that have none of their own.
        encoder_choices: encoders as MODALITY=NAME,NAME; other modalities keep theirs.
        widths: of the fusion.
        depths: numbers of layers, for fusions that have layers.
        batch_sizes: rows per step.
        learning_rates: lowest and highest, sampled log-uniformly.
        weight_decays: lowest and highest, sampled log-uniformly.
        dropouts: lowest and highest, sampled uniformly.
    """

    fusions: str = "core"
    methods: tuple[str, ...] = ("joint",)
    encoder_choices: tuple[str, ...] = ()
    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 2, 3)
    batch_sizes: tuple[int, ...] = (32, 64, 128)
    learning_rates: tuple[float, float] = (3e-4, 3e-2)
    weight_decays: tuple[float, float] = (1e-5, 1e-1)
    dropouts: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        for name in ("methods", "widths", "depths", "batch_sizes"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                got = " ".join(map(str, values)) or "none"
                raise UsageError(name, expected="one or more distinct values", got=got)
        for name in ("learning_rates", "weight_decays", "dropouts"):
            low, high = getattr(self, name)
            logarithmic = name != "dropouts" and low != high
            if not low <= high < math.inf or (logarithmic and low <= 0):
                expected = "a lowest and a highest value" + ", both above 0" * logarithmic
                raise UsageError(name, expected=expected, got=f"{low} {high}")


SEARCHED = {
    "method": "methods",
    "width": "widths",
    "num_layers": "depths",
    "batch_size": "batch_sizes",
    "learning_rate": "learning_rates",
    "weight_decay": "weight_decays",
    "dropout": "dropouts",
}
"""{setting that a search chooses: the attribute of ``Space`` with its values}."""


def parse_choices(space: Space) -> dict[str, list[str]]:
    """{modality: names of the encoders to choose from}.

    Raises:
        UsageError: a choice is not of the form MODALITY=NAME,NAME.

    Example:
        >>> from mmjax.runs.search.space import Space, parse_choices
        >>> parse_choices(Space(encoder_choices=("audio=gru,cnn1d",)))
        {'audio': ['gru', 'cnn1d']}
    """
    pairs = parse_pairs("encoder_choices", space.encoder_choices)
    return {modality: names.split(",") for modality, names in pairs.items()}
