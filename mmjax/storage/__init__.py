"""Files on disk: written atomically, read without trusting their headers.

``jsonl`` stores rows, ``manifest`` the checksum of every file of a folder, ``locks`` keeps other
processes out of a folder, ``compile_cache`` keeps compiled programs between processes, and
``array_cache`` arrays that take long to compute.
"""

__all__ = [
    "array_cache",
    "compile_cache",
    "files",
    "jsonl",
    "locks",
    "manifest",
    "reading",
    "trees",
]
