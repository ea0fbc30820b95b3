"""Readers of files: what each format holds, checked before it is believed.

``formats`` reads those that are published as data sets, ``files`` a sample by its extension,
``sound`` and ``mfcc`` recordings; ``samples`` and ``columns`` join samples into arrays.
"""

__all__ = [
    "columns",
    "files",
    "formats",
    "mfcc",
    "samples",
    "sound",
]
