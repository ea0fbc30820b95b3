"""Corruptions of recordings, [rows, samples], before features are computed."""

import jax
import jax.numpy as jnp

from mmjax.analysis.corruptions.corruption import (
    SHARES,
    add_noise,
    row_wise,
    shifted,
    strength,
    stretch,
)

RT60 = (800, 1600, 3200, 5600, 8000)
"""Reverberation time in samples, until a decay of 60 dB: 0.1 to 1 s at 8 kHz."""


@row_wise
def background_noise(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Adds white Gaussian noise at a signal-to-noise ratio of 20, 15, 10, 5 or 0 dB.

    The ratio is that of the powers over the whole recording, exact for each row.
    """
    return add_noise(key, wave, severity)


@row_wise
def time_shift(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Shifts by 0.05, 0.1, 0.15, 0.2 or 0.25 of the length either way, padding with silence."""
    source = shifted(key, wave.size, severity)
    within = (source >= 0) & (source < wave.size)
    return jnp.where(within, wave[jnp.clip(source, 0, wave.size - 1)], 0)


@row_wise
def silencing(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Silences a stretch of 0.1, 0.2, 0.3, 0.4 or 0.5 of the length."""
    silenced = stretch(wave.size, strength(SHARES, severity), jax.random.uniform(key))
    return jnp.where(silenced, 0, wave)


@row_wise
def gain(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Amplifies or attenuates by 3, 6, 10, 15 or 20 dB, without clipping."""
    decibels = strength((3, 6, 10, 15, 20), severity) * jax.random.rademacher(key, (), jnp.float32)
    return wave * 10 ** (decibels / 20)


@row_wise
def reverberation(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Adds reverberation that decays by 60 dB in 0.1, 0.2, 0.4, 0.7 or 1 s, at 8 kHz.

    The impulse response is exponentially decaying Gaussian noise of energy 1; the tail after the
    end is cut. At another rate the times scale accordingly, as ``RT60`` is in samples.
    Reference: Polack, La transmission de l'énergie sonore dans les salles (thesis, Le Mans 1988).
    """
    decay = 10 ** (-3 * jnp.arange(wave.size) / strength(RT60, severity))
    response = jax.random.normal(key, wave.shape) * decay
    response /= jnp.sqrt((response**2).sum())
    # Twice the length keeps the circular convolution from wrapping around.
    spectrum = jnp.fft.rfft(wave, 2 * wave.size) * jnp.fft.rfft(response, 2 * wave.size)
    return jnp.fft.irfft(spectrum, 2 * wave.size)[: wave.size]


@row_wise
def band_stop(key: jax.Array, wave: jax.Array, severity: jax.Array) -> jax.Array:
    """Removes a randomly placed band of 0.1, 0.2, 0.3, 0.4 or 0.5 of all frequencies."""
    spectrum = jnp.fft.rfft(wave)
    stopped = stretch(spectrum.size, strength(SHARES, severity), jax.random.uniform(key))
    return jnp.fft.irfft(jnp.where(stopped, 0, spectrum), wave.size)
