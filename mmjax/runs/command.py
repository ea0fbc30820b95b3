"""The command line that made a run folder."""

from collections.abc import Collection
from dataclasses import replace

from mmjax.comparison.arm import CORE
from mmjax.fusion import FUSIONS
from mmjax.runs.run_file import RunFile
from mmjax.runs.settings import as_flags


def command(run: RunFile, baselines: Collection[str]) -> str:
    """The command line of a run; folders are those of whoever runs it.

    Args:
        run: what run.json holds.
        baselines: strategies that every comparison has unasked.
    """
    settings = replace(run.settings, data=run.settings.data and "DATA")
    fused = [name for name in run.strategies if name not in baselines]
    fusions = tuple(name for name in fused if "@" not in name)
    groups = {(): "", CORE: "", tuple(FUSIONS): "--fusions all"}
    chosen = groups.get(fusions, f"--fusions {','.join(fusions)}")
    subsets = "--subsets" if len(fusions) < len(fused) else ""
    return " ".join(filter(None, ["mmjax compare", as_flags(settings), chosen, subsets]))
