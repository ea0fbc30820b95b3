"""Mel-frequency cepstral coefficients of speech, for NumPy and JAX arrays alike."""

import functools
from types import ModuleType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.fft import dct

NUM_MELS = 40
FLOOR, RANGE = 1e-10, 80.0  # smallest power, and dynamic range in decibels

A = TypeVar("A", np.ndarray, jax.Array)


def mfcc(
    waveform: A,
    rate: int = 8000,
    *,
    num_coefficients: int = 12,
    window: int = 400,
    hop: int = 210,
) -> A:
    """Energy and cepstral coefficients: ``[..., samples] -> [..., frames, 1 + num_coefficients]``.

    One second at 8 kHz gives 39 frames of 13 numbers, as in the published spoken digits: frames of
    50 ms every 26 ms. Column 0 is the log energy of the frame, in decibels, instead of the largely
    equivalent cepstral coefficient 0; column k is coefficient k.

    Columns from 1 equal ``librosa.feature.mfcc(y, sr=rate, n_mfcc=13, n_fft=window,
    hop_length=hop, n_mels=40)``: centred frames with zeros beyond the ends, periodic Hann window,
    40 Slaney mel bands up to half the rate, decibels of power clipped at 1e-10 and at 80 dB below
    the loudest band of the recording, orthonormal DCT-II.

    Args:
        waveform: samples in [-1, 1]; leading axes are separate recordings.
        rate: sampling rate in Hz.
        num_coefficients: cepstral coefficients after the energy.
        window: samples per frame.
        hop: samples from one frame to the next; there are ``1 + samples // hop`` frames.

    Returns:
        a float32 array of NumPy or JAX, as given.

    Example:
        >>> mfcc(np.zeros((2, 8000), np.float32)).shape
        (2, 39, 13)
    """
    xp = jnp if isinstance(waveform, jax.Array) else np
    windows = frames(xp, xp.asarray(waveform, xp.float32), window, hop)
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    spectrum = xp.fft.rfft(windows * xp.broadcast_to(taper, windows.shape))
    bands = decibels(xp, xp.abs(spectrum) ** 2 @ _mel_bands(rate, window).T)
    cosines = dct(np.eye(NUM_MELS, dtype=np.float32), norm="ortho", axis=0)
    energy = decibels(xp, (windows**2).sum(axis=-1, keepdims=True))
    return xp.concatenate([energy, bands @ cosines[1 : num_coefficients + 1].T], axis=-1)


def fit_length(waveform: np.ndarray, length: int = 8000) -> np.ndarray:
    """Pads ``[samples]`` with zeros to ``[length]``, or crops to the loudest stretch.

    A recording shorter than ``length`` is centred. Of a longer one, the ``length`` consecutive
    samples with the most energy are kept, because the word may be anywhere in the recording.

    Example:
        >>> fit_length(np.array([1.0, 2.0]), 4), fit_length(np.array([0.0, 0, 3, 4, 0]), 2)
        (array([0., 1., 2., 0.]), array([3., 4.]))
    """
    missing = length - len(waveform)
    if missing >= 0:
        return np.pad(waveform, (missing // 2, missing - missing // 2))
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return waveform[start : start + length]


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Standardises every column by its mean and standard deviation in ``train``.

    Args:
        train: [rows, ..., columns]; all axes but the last are averaged over.
        others: arrays with the same columns, such as validation and test.

    Returns:
        ``(train, *others)`` as float32; a column that is constant in ``train`` is only centred.
    """
    mean, scale = moments(train)
    return tuple(((x - mean) / scale).astype(np.float32) for x in (train, *others))


def moments(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column, [1, ..., columns]; 1 for a constant one."""
    axes = tuple(range(train.ndim - 1))
    mean = train.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = train.std(axis=axes, keepdims=True, dtype=np.float64)
    return mean, np.where(deviation > 0, deviation, 1)


def frames(xp: ModuleType, waveform, window: int, hop: int):
    """``[..., samples] -> [..., frames, window]``, centred on multiples of ``hop``."""
    edge = window // 2
    padded = xp.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(edge, edge)])
    starts = np.arange(0, padded.shape[-1] - window + 1, hop)
    return padded[..., starts[:, None] + np.arange(window)]


def decibels(xp: ModuleType, power):
    """Decibels of ``[..., frames, bands]``, clipped at ``RANGE`` below each recording's maximum."""
    level = 10 * xp.log10(xp.maximum(power, FLOOR))
    return xp.maximum(level, level.max(axis=(-2, -1), keepdims=True) - RANGE)


@functools.cache
def _mel_bands(rate: int, window: int) -> np.ndarray:
    """[NUM_MELS, window // 2 + 1] triangles of equal area on Slaney's mel scale."""
    edges = _mel_to_hertz(np.linspace(0, _hertz_to_mel(rate / 2), NUM_MELS + 2))
    bins = np.arange(window // 2 + 1) * rate / window
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (edges[2:] - edges[:-2])[:, None]).astype(np.float32)


def _hertz_to_mel(hertz: float) -> float:
    """Slaney's scale: linear to 1 kHz (mel 15), 27 mels for each factor of 6.4 above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
