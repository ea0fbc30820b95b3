"""Checks shared by several encoders."""

from collections.abc import Sequence

import flax.linen as nn

from mmjax.errors import UsageError


def check_sides(encoder: nn.Module, sides: Sequence[int], least: int) -> None:
    """Raises UsageError if a side is too short to survive the encoder's downsampling."""
    if any(side < least for side in sides):
        raise UsageError(
            f"encoder {type(encoder).__name__}",
            expected=f"at least {least} along every side",
            got=" x ".join(map(str, sides)),
            fix="Use the encoder mlp.",
        )
