"""The command lines of comparisons and trainings."""

from collections.abc import Sequence
from dataclasses import replace

from mmjax.registry import CORE, EXAMINATIONS, FULL, FUSIONS
from mmjax.runs.plan import Asked
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
    measured = _examine_flag(examine) if tuple(examine) != EXAMINATIONS else ""
    flags = as_flags(hide_data_folder(settings))
    words = ["mmjax compare", flags, chosen, "--subsets" if subsets else "", measured]
    return " ".join(filter(None, words))


def ablate_command(settings: Settings, base: str, asked: Asked, examine: Sequence[str] = ()) -> str:
    """The command line of an ablation, with DATA in place of the data folder.

    Example:
        >>> from mmjax.runs.plan import Asked
        >>> ablate_command(Settings(seeds=3), "gmu", Asked({"width": ["32", "64"]}, ["dropout"]))
        'mmjax ablate gmu --vary width=32,64 --drop dropout --seeds 3'
    """
    listed = lambda values: ",".join(f"{value}" for value in values)
    flags = {
        "--vary": [f"{name}={listed(values)}" for name, values in asked.vary.items()],
        "--drop": [listed(asked.drop)] if asked.drop else [],
        "--design": [asked.design] if asked.design else [],
        "--runs": [f"{asked.runs}"] if asked.runs else [],
        "--learning-rates": [f"{rate:g}" for rate in asked.learning_rates],
        "--budget": [asked.budget] if asked.budget else [],
    }
    words = [word for flag, some in flags.items() if some for word in (flag, *some)]
    more = as_flags(hide_data_folder(settings)), _examine_flag(examine) if examine else ""
    return " ".join(filter(None, ["mmjax ablate", base, " ".join(words), *more]))


def _examine_flag(examine: Sequence[str]) -> str:
    return f"--examine {FULL if FULL in examine else ' '.join(examine) or 'scores'}"


def train_command(settings: Settings, strategy: str) -> str:
    """The command line of the training of one strategy."""
    return f"mmjax train {strategy} {as_flags(settings)}".strip()


def hide_data_folder(settings: Settings) -> Settings:
    """The settings with DATA in place of a data folder, which elsewhere is another."""
    return replace(settings, data=settings.data and "DATA")
