"""Background noise for speech."""

from collections.abc import Sequence

import numpy as np

RATE = 8000  # samples a second
TALKERS = 6  # voices in the babble
SLOPES = 0, 1, 2  # noises whose power falls as 1 / frequency ** slope


def make_noise(
    rng: np.random.Generator, waveforms: Sequence[np.ndarray], babblers: np.ndarray
) -> np.ndarray:
    """Babble, then one noise per slope, 16 s of unit power each: float32 [kinds, samples]."""
    size = 16 * RATE
    talk = lambda: np.resize(
        np.concatenate([waveforms[i] for i in rng.permutation(babblers)]), size
    )
    babble = np.sum([talk() for _ in range(TALKERS)], axis=0)
    white = np.fft.rfft(rng.standard_normal((len(SLOPES), size)))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 50)  # flat below 50 Hz
    coloured = np.fft.irfft(white / frequency ** (np.array(SLOPES)[:, None] / 2))
    noise = np.stack([babble, *coloured])
    return (noise / noise.std(axis=1, keepdims=True)).astype(np.float32)
