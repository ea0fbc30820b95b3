"""Folders of runs: what the commands write, and how it is read back, checked and used.

``settings`` and ``run_file`` say what was asked for; ``compare``, ``train``, ``measure`` and
``search`` fill a folder; ``verify``, ``studies``, ``trained`` and ``export`` start from one.
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
