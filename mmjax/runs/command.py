"""The command lines of comparisons and trainings."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from mmjax.registry import CORE, EXAMINATIONS, FULL, FUSIONS
from mmjax.runs.settings import Settings, as_flags


def compare_command(
    settings: Settings,
    strategies: Sequence[str],
    baselines: Collection[str],
    examine: Sequence[str] = EXAMINATIONS,
) -> str:
    """The command line of a comparison, with DATA in place of the data folder.

    Args:
        settings: of the run.
        strategies: all of its arms.
        baselines: strategies that every comparison includes.
        examine: measurements of each arm, from ``parse_examine``.

    Example:
        >>> alone = ["image_only", "audio_only"]
        >>> compare_command(Settings(seeds=3), [*alone, "gmu"], alone, [*EXAMINATIONS, FULL])
        'mmjax compare --seeds 3 --fusions gmu --examine full'
    """
    settings = hide_data_folder(settings)
    fused = [name for name in strategies if name not in baselines]
    fusions = tuple(name for name in fused if "@" not in name)
    groups = {(): "", CORE: "", tuple(FUSIONS): "--fusions all"}
    chosen = groups.get(fusions, f"--fusions {','.join(fusions)}")
    subsets = "--subsets" if len(fusions) < len(fused) else ""
    asked = FULL if FULL in examine else " ".join(examine) or "scores"
    measured = f"--examine {asked}" if tuple(examine) != EXAMINATIONS else ""
    words = ["mmjax compare", as_flags(settings), chosen, subsets, measured]
    return " ".join(filter(None, words))


def train_command(settings: Settings, strategy: str) -> str:
    """The command line of the training of one strategy."""
    return f"mmjax train {strategy} {as_flags(settings)}".strip()


def hide_data_folder(settings: Settings) -> Settings:
    """The settings with DATA in place of a data folder, which elsewhere is another."""
    return replace(settings, data=settings.data and "DATA")
