"""Run folders: what the commands write, and how it is read back, verified and used.

``settings`` and ``run_file`` hold the configuration of a run; ``compare``, ``train``, ``measure``
and ``search`` write a folder; ``verify``, ``studies``, ``result``, ``trained`` and ``export`` read
one.
"""

__all__ = [
    "arms",
    "columns",
    "command",
    "compare",
    "damage",
    "export",
    "folder",
    "from_settings",
    "inspect",
    "interrupt",
    "launchers",
    "launching",
    "measure",
    "result",
    "run_file",
    "search",
    "settings",
    "studies",
    "track",
    "train",
    "trained",
    "verify",
    "zoo",
]
