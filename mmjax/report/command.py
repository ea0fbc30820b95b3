"""The command line that made a run folder."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from mmjax.arms import CORE
from mmjax.fusion import FUSIONS
from mmjax.settings import Settings, as_flags


def command(content: Mapping[str, Any], baselines: Collection[str]) -> str:
    """The command line of what run.json holds; folders are those of whoever runs it.

    Args:
        content: of run.json.
        baselines: strategies that every comparison has unasked.
    """
    known = {field.name for field in fields(Settings)}
    as_tuple = lambda value: tuple(value) if isinstance(value, list) else value
    values = {name: as_tuple(value) for name, value in content.items() if name in known}
    settings = Settings(**{**values, "data": values.get("data") and "DATA"})
    fused = [name for name in content["strategies"] if name not in baselines]
    fusions = tuple(name for name in fused if "@" not in name)
    groups = {(): "", CORE: "", tuple(FUSIONS): "--fusions all"}
    chosen = groups.get(fusions, f"--fusions {','.join(fusions)}")
    subsets = "--subsets" if len(fusions) < len(fused) else ""
    return " ".join(filter(None, ["mmjax compare", as_flags(settings), chosen, subsets]))
