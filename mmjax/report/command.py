"""The command line that made a run folder."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from mmjax.arms import CORE
from mmjax.fusion import FUSIONS
from mmjax.settings import as_flags, parse_settings


def command(content: Mapping[str, Any], baselines: Collection[str]) -> str:
    """The command line of what run.json holds; folders are those of whoever runs it.

    Args:
        content: of run.json.
        baselines: strategies that every comparison has unasked.
    """
    settings = parse_settings(content)
    settings = replace(settings, data=settings.data and "DATA")
    fused = [name for name in content["strategies"] if name not in baselines]
    fusions = tuple(name for name in fused if "@" not in name)
    groups = {(): "", CORE: "", tuple(FUSIONS): "--fusions all"}
    chosen = groups.get(fusions, f"--fusions {','.join(fusions)}")
    subsets = "--subsets" if len(fusions) < len(fused) else ""
    return " ".join(filter(None, ["mmjax compare", as_flags(settings), chosen, subsets]))
