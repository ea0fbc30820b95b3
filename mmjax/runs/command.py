"""The command lines of comparisons and trainings."""

from collections.abc import Sequence
from dataclasses import replace

from mmjax.registry import CORE, EXAMINATIONS, FULL, FUSIONS
from mmjax.runs.settings import Settings, as_flags


def compare_command(
    settings: Settings,
    fusions: Sequence[str],
    *,
    subsets: bool = False,
    examine: Sequence[str] = EXAMINATIONS,
) -> str:
    """The command line of a comparison, with DATA in place of the data folder.

    Args:
        settings: of the run.
        fusions: from ``parse_fusions``.
        subsets: whether each is also trained on every subset of the modalities.
        examine: measurements of each arm, from ``parse_examine``.

    Example:
        >>> compare_command(Settings(seeds=3), ["gmu"], examine=[*EXAMINATIONS, FULL])
        'mmjax compare --seeds 3 --fusions gmu --examine full'
    """
    groups = {(): "", CORE: "", tuple(FUSIONS): "--fusions all"}
    chosen = groups.get(tuple(fusions), f"--fusions {','.join(fusions)}")
    asked = FULL if FULL in examine else " ".join(examine) or "scores"
    measured = f"--examine {asked}" if tuple(examine) != EXAMINATIONS else ""
    flags = as_flags(hide_data_folder(settings))
    words = ["mmjax compare", flags, chosen, "--subsets" if subsets else "", measured]
    return " ".join(filter(None, words))


def train_command(settings: Settings, strategy: str) -> str:
    """The command line of the training of one strategy."""
    return f"mmjax train {strategy} {as_flags(settings)}".strip()


def hide_data_folder(settings: Settings) -> Settings:
    """The settings with DATA in place of a data folder, which elsewhere is another."""
    return replace(settings, data=settings.data and "DATA")
