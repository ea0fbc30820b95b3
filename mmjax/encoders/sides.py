"""What two or more encoders share."""

from collections.abc import Sequence

import flax.linen as nn

from mmjax.errors import UsageError


def check_sides(encoder: nn.Module, sides: Sequence[int], least: int) -> None:
    """Raises UsageError where a side is so short that the encoder would leave nothing of it."""
    if any(side < least for side in sides):
        raise UsageError(
            f"encoder {type(encoder).__name__}",
            expected=f"at least {least} along every side",
            got=" x ".join(map(str, sides)),
            fix="Take mlp.",
        )
