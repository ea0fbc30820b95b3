"""Files on disk: written atomically, read without trusting their headers.

``jsonl`` stores rows, ``manifest`` the checksum of every file of a folder, ``locks`` keeps other
processes out of a folder, and ``compile_cache`` keeps compiled programs between processes.
"""

__all__ = [
    "compile_cache",
    "files",
    "jsonl",
    "locks",
    "manifest",
    "reading",
    "trees",
]
