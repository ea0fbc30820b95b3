"""Files on disk: written whole or not at all, read without believing what their headers say.

``jsonl`` holds rows, ``manifest`` the digest of every file of a folder, ``locks`` keeps other
processes out of one, and ``compile_cache`` keeps compiled programs between processes.
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
