"""Recordings, decoded by libsndfile, with checks for faults that it silently tolerates."""

import io
import struct
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
import soundfile

MAX_SAMPLES = 1 << 24
"""Most samples of a recording, over all channels."""

LOUDEST = 1.25
"""Largest sample: resampling overshoots the edges of a full-scale square wave by 0.18 (Gibbs)."""

_STREAMED = 0x7FFFF000  # a header with this many bytes or more was written before they were known
_BLOCK = 1 << 16  # samples decoded at a time
_PLAIN = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)  # PCM, float, A-law, u-law, extensible

Refuse = Callable[[str], NoReturn]


class Sound(NamedTuple):
    """A recording.

    Attributes:
        samples: float32 [samples], the mean over channels. Full scale is 1; small overshoots, as
            from resampling, are kept.
        rate: sampling rate in Hz.
    """

    samples: np.ndarray
    rate: int


def decode(content: bytes, formats: tuple[str, ...], refuse: Refuse) -> Sound:
    """Decodes a recording block by block, because its header may claim any length.

    Args:
        content: of the file.
        formats: the accepted formats, by libsndfile's names.
        refuse: called with what is wrong.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            claims = f"{file.frames} samples in {file.channels} channels"
            if file.format not in formats:
                refuse(f"a file of format {file.format}")
            if not 0 < file.frames * file.channels <= MAX_SAMPLES:
                refuse(f"a header that states {claims}")
            size = max(1, _BLOCK // file.channels)
            blocks = [_mean(block, refuse) for block in file.blocks(size, always_2d=True)]
            if (found := sum(map(len, blocks))) != file.frames:
                refuse(f"{found} samples per channel, though the header states {claims}")
            return Sound(np.concatenate(blocks), file.samplerate)
    except soundfile.LibsndfileError:  # its message is about a Python object, not the file
        refuse("corrupted content, or an unknown encoding")


def _mean(block: np.ndarray, refuse: Refuse) -> np.ndarray:
    """The mean of float64 [samples, channels], float32 [samples]."""
    peak = np.abs(block).max()
    if not np.isfinite(peak):
        refuse("NaN or infinity")
    if peak > LOUDEST:
        refuse(f"samples up to {peak:g}, where full scale is 1")
    return block.mean(axis=1).astype(np.float32)


def check_wav(content: bytes, refuse: Refuse) -> None:
    """Rejects a WAV file that is truncated, or whose header contradicts itself.

    A length of 0xFFFFFFFF, which ffmpeg writes to a pipe, or of 0x7FFFF000, as sox does, means
    unknown. The length of the whole file is ignored, as many programs get it wrong.
    """
    if content[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        refuse(f"content that begins with {content[:12]!r}")
    order = ">" if content[:4] == b"RIFX" else "<"
    chunks = _chunks(content, order)
    if not chunks.keys() >= {b"fmt ", b"data"}:
        refuse("no data chunk, or no fmt chunk before it")
    at, size = chunks[b"fmt "]
    if size < 16:
        refuse(f"a fmt chunk of {size} bytes")
    code, _, rate, speed, block = struct.unpack_from(f"{order}HHIIH", content, at)
    if code in _PLAIN and speed != rate * block:
        refuse(f"{speed} bytes per second, though {rate} Hz with {block} bytes per sample")
    at, claimed = chunks[b"data"]
    there = len(content) - at
    if content[:4] == b"RF64":
        at, size = chunks.get(b"ds64", (0, 0))
        claimed = struct.unpack_from("<Q", content, at + 8)[0] if size >= 16 else 0
    elif claimed >= _STREAMED:
        claimed = there
    if not 0 < claimed <= there:
        refuse(f"{there} bytes of samples, though the header states {claimed}")


def _chunks(content: bytes, order: str) -> dict[bytes, tuple[int, int]]:
    """{name: (start of its content, stated size)} of the chunks up to the samples."""
    found, at = {}, 12
    while b"data" not in found and at + 8 <= len(content):
        name, size = struct.unpack_from(f"{order}4sI", content, at)
        found[name] = (at + 8, size)
        at += 8 + size + size % 2
    return found
