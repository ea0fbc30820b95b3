"""Audiovisual MNIST: written digits stripped of most of their energy, and spoken ones in noise."""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.noise import make_noise
from mmjax.tasks.readers.mfcc import decibels, frames
from mmjax.tasks.real_digits import Part, read_parts, remove_energy

SNR_DB = -10.0, 10.0
"""Lowest and highest signal-to-noise ratio of the word."""
SIZE = 112
"""Frequencies, and frames, of the spectrogram."""
DEPTH = 40.0
"""Dynamic range in decibels: beyond it, noise is so bright that networks hardly learn."""

_CHUNK = 256  # spectrograms at a time


def av_mnist(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which digit is written, with 75 % of its energy removed, and spoken, in noise?

    ``image`` is float32 [28, 28, 1]: the image projected onto the fewest principal components of
    the training images that hold a quarter of their variance. ``audio`` is uint8 [112, 112, 1]: a
    spectrogram of one second, 112 frequencies (descending) by 112 frames, from 40 dB below the
    loudest (0) to the loudest (255). Images and recordings are paired and split as in `mnist_fsdd`
    with ``split="official"``; ``group`` is the recording, and ``meta`` has ``snr_db``.

    The papers use recordings of TIDIGITS and sounds of ESC-50. Here the recordings are those of the
    Free Spoken Digit Dataset, and the noise, 10 dB weaker to 10 dB stronger than they are, is
    babble of training recordings or noise with a power spectrum of 1, :math:`1/f` or :math:`1/f^2`.
    Scores are therefore not comparable with those of the papers.

    Reference: Vielzeuf et al., CentralNet (arXiv:1808.07275, 2018); Perez-Rua et al., MFAS
    (arXiv:1903.06496, 2019); Liang et al., MultiBench (arXiv:2107.07502, 2021).

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the pairs and the noise.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` is not a non-negative integer.
    """
    rng, parts = make_rng(seed), read_parts(data)
    train = parts["train"]
    words, babblers = [np.trim_zeros(wave) for wave in train.waveform], np.arange(len(train.said))
    images = remove_energy(parts)

    def split(part: Part) -> Split:
        noise = sliding_window_view(make_noise(rng, words, babblers), 8000, axis=1)
        recording = part.recordings_of(part.written, rng)
        snr_db = rng.uniform(*SNR_DB, len(recording)).astype(np.float32)
        kind, start = (rng.integers(0, n, len(recording)) for n in noise.shape[:2])
        audio = np.empty((len(recording), SIZE, SIZE, 1), np.uint8)
        for begin in range(0, len(recording), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            word = part.waveform[recording[rows]]
            power = np.square(word).mean(axis=1, keepdims=True)
            level = np.sqrt(power) * 10 ** (-snr_db[rows, None] / 20)
            audio[rows, ..., 0] = spectrogram(word + level * noise[kind[rows], start[rows]])
        return Split(
            inputs={"image": images[part.name], "audio": audio},
            target=part.written,
            group=recording,
            meta={"snr_db": snr_db},
        )

    splits = {role: split(part) for role, part in parts.items()}
    return Task("av_mnist", splits["train"], splits["valid"], splits["test"], out_dim=10)


def spectrogram(waveform: np.ndarray) -> np.ndarray:
    """Log spectrograms of [rows, 8000], uint8 [rows, SIZE, SIZE], highest frequency first."""
    window = 2 * (SIZE - 1)
    hop = waveform.shape[-1] // SIZE
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(frames(np, waveform, window, hop)[:, :SIZE] * taper)
    power = decibels(np, np.abs(spectrum) ** 2)  # [rows, frames, frequencies]
    height = (power - power.max(axis=(1, 2), keepdims=True)) / DEPTH + 1
    return np.round(255 * height.clip(0)).astype(np.uint8)[:, :, ::-1].swapaxes(1, 2)
