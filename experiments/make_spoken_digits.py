"""Makes ``mmjax/tasks/spoken_digits.npz``, the recordings of the built-in task ``digits``.

Every voice variant of the synthesiser eSpeak NG is one speaker, with one English accent, and says
every digit twice, at drawn speeds and pitches. docs/spoken_digits.md describes the arrays.

    pip install espeakng-loader==0.2.4
    python experiments/make_spoken_digits.py          # writes the file, about 6 s
    python experiments/make_spoken_digits.py --check  # makes it again and compares

Both print the sha256 of the arrays. eSpeak NG carries state from one utterance to the next, so only
a fresh process that makes all recordings in this order gets the same bytes.
"""

import argparse
import ctypes
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from mmjax.tasks.spoken_digits import RECORDINGS, to_mu_law

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = [
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-us",
    "en-us-nyc",
]
SEED = 0
TAKES = 2  # recordings of each digit by each speaker
SPEED = 140, 260  # words a minute
PITCH = 25, 75  # eSpeak NG's scale, from 0 to 100, around the speaker's own pitch
LONGEST = 6000  # samples; a few voices have a long echo
SILENCE = 0.02  # of the peak; what is quieter is cut from both ends

AUDIO_OUTPUT_SYNCHRONOUS, SET_RATE, SET_PITCH, CHARS_UTF8 = 2, 1, 3, 1  # espeak-ng/speak_lib.h
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Synthesiser:
    """eSpeak NG through ctypes; ``speakers`` are the names of its voice variants."""

    def __init__(self) -> None:
        import espeakng_loader  # GPLv3: in this process only, never in the library

        data = espeakng_loader.get_data_path()
        self.speakers = sorted(file.name for file in Path(data, "voices", "!v").iterdir())
        self._chunks = []
        self._callback = CALLBACK(self._receive)  # ctypes keeps no reference of its own
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        if self._lib.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), 0) != 22050:
            raise SystemExit("eSpeak NG did not start at 22,050 Hz: install espeakng-loader==0.2.4")
        self._lib.espeak_SetSynthCallback(self._callback)
        self._call("espeak_ng_SetRandSeed", SEED)  # else breath and noise follow the clock

    def say(self, word: str, voice: str, *, speed: int, pitch: int) -> np.ndarray:
        """The word as int16 ``[samples]`` at 22,050 Hz."""
        self._chunks.clear()
        text = word.encode() + b"\0"
        self._call("espeak_SetVoiceByName", voice.encode())
        self._call("espeak_SetParameter", SET_RATE, speed, 0)
        self._call("espeak_SetParameter", SET_PITCH, pitch, 0)
        self._call("espeak_Synth", text, len(text), 0, 0, 0, CHARS_UTF8, None, None)
        return np.concatenate(self._chunks)

    def _call(self, name: str, *arguments) -> None:
        if status := getattr(self._lib, name)(*arguments):
            raise SystemExit(f"eSpeak NG: {name}{arguments} returned {status}")

    def _receive(self, samples, count: int, events) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on


def clean(waveform: np.ndarray) -> np.ndarray:
    """Resamples int16 at 22,050 Hz to 8 kHz, cuts silence, and brings the peak to 1."""
    waveform = resample_poly(waveform / 32768, 160, 441)
    loud = np.flatnonzero(np.abs(waveform) > SILENCE * np.abs(waveform).max())
    waveform = waveform[loud[0] : loud[-1] + 1][:LONGEST]
    return waveform / np.abs(waveform).max()


def record(synthesiser: Synthesiser, rng: np.random.Generator) -> Iterator[tuple]:
    """Yields (waveform, digit, speaker, accent, speed, pitch), in the one order that counts."""
    for speaker, name in enumerate(synthesiser.speakers):
        accent = speaker % len(ACCENTS)
        for _ in range(TAKES):
            for digit, word in enumerate(WORDS):
                speed = int(rng.integers(*SPEED, endpoint=True))
                pitch = int(rng.integers(*PITCH, endpoint=True))
                voice = f"{ACCENTS[accent]}+{name}"
                waveform = clean(synthesiser.say(word, voice, speed=speed, pitch=pitch))
                yield waveform, digit, speaker, accent, speed, pitch


def make() -> dict[str, np.ndarray]:
    """All arrays of the file."""
    synthesiser = Synthesiser()
    waveforms, digit, speaker, accent, speed, pitch = zip(
        *record(synthesiser, np.random.default_rng(SEED)), strict=True
    )
    return {
        "samples": to_mu_law(np.concatenate(waveforms)),
        "length": np.array([len(waveform) for waveform in waveforms], np.uint16),
        "digit": np.array(digit, np.uint8),
        "speaker": np.array(speaker, np.uint8),
        "accent": np.array(accent, np.uint8),
        "speed": np.array(speed, np.uint16),
        "pitch": np.array(pitch, np.uint8),
        "speaker_names": np.array(synthesiser.speakers),
        "accent_names": np.array(ACCENTS),
    }


def digest(arrays: dict[str, np.ndarray]) -> str:
    """sha256 over names, types, shapes and bytes; the zip around them may differ."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name}{array.dtype.str}{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file, write nothing")
    check = parser.parse_args().check
    arrays = make()
    if not check:
        np.savez_compressed(RECORDINGS, **arrays)
    made, shipped = digest(arrays), digest(dict(np.load(RECORDINGS, allow_pickle=False)))
    print(f"made    {made}\nshipped {shipped}")
    if made != shipped:
        raise SystemExit(f"The recordings made differ from {RECORDINGS}.")


if __name__ == "__main__":
    main()
