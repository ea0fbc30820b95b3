"""File readers, which check what each format claims before they trust it.

``formats`` reads the formats of published datasets, ``files`` a sample by its extension, and
``sound`` and ``mfcc`` recordings, ``features`` what other models computed, ``pickles`` and
``split_pickles`` pickles of data, which are not unpickled, and ``labels`` the table beside them;
``samples`` and ``columns`` join samples into arrays.
"""

from mmjax.tasks.readers.files import pixels_of, read_array, read_picture, read_table
from mmjax.tasks.readers.formats import read_csv_column, read_flac, read_idx, read_npy, read_wav

__all__ = [
    "pixels_of",
    "read_array",
    "read_csv_column",
    "read_flac",
    "read_idx",
    "read_npy",
    "read_picture",
    "read_table",
    "read_wav",
]
