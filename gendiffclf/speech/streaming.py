"""Recordings of any length, decoded once, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..featurizers.audio import BLOCK_SECONDS, AudioError, Clip, native_blocks
from ..featurizers.inputs import as_clip
from ..optional import require

# Rates that the detector takes, and the length of the frames it judges.
DETECTOR_RATES = (8000, 16000, 32000, 48000)
DETECTOR_RATE = 16000
FRAME_SECONDS = 0.03
# The detector's modes run from 0, which takes most for speech, to 3.
DETECTOR_MODE = 2


def blocks(recording: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """
    Decode a recording once.

    Parameters
    ----------
    recording : path or (array, rate)
        A file, or samples and their rate in Hz.
    rate : int
        Rate wanted, in Hz.

    Yields
    ------
    samples : ndarray of shape (n,), float32
        Mono; one after the other they are the whole recording. What is in memory does not grow with its length.

    Raises
    ------
    AudioError
        If it is no audio, is truncated, breaks off, or holds NaN or infinity.
    """
    clip = as_clip(recording, None)
    resampler, given = None, 0.0
    for block, given in _native(clip):
        if not np.isfinite(block).all():
            raise AudioError("it holds NaN or infinite samples, expected finite ones", clip.name)
        if given == rate:
            yield block
            continue
        resampler = resampler or require("soxr").ResampleStream(given, rate, 1)
        yield resampler.resample_chunk(block)
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
    if not given:
        raise AudioError("it holds no samples, expected at least one", clip.name)


def _native(clip: Clip) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Mono blocks at the recording's own rate."""
    if clip.on_disk:
        yield from ((block.mean(axis=1), rate) for block, rate in native_blocks(clip))  # (n, channels) -> (n,)
        return
    given = float(clip.rate or 0)
    samples = clip.load(round(given))
    size = round(BLOCK_SECONDS * given)
    yield from ((samples[start : start + size], given) for start in range(0, len(samples), size))


@dataclass
class SpeechDetector:
    """
    Tells speech from other sound in frames of 30 ms: the detector of WebRTC, as the package webrtcvad-wheels has it.

    Parameters
    ----------
    rate : int
        Of the samples, in Hz.

    Attributes
    ----------
    flags : list of bool
        Whether each frame so far is speech.
    """

    rate: int
    flags: list[bool] = field(default_factory=list)
    _left: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __post_init__(self) -> None:
        """Prepare the detector, and a resampler for rates it does not take."""
        self._detector = require("webrtcvad").Vad(DETECTOR_MODE)
        self._own_rate = self.rate if self.rate in DETECTOR_RATES else DETECTOR_RATE
        streams = None if self._own_rate == self.rate else require("soxr").ResampleStream(self.rate, self._own_rate, 1)
        self._resampler = streams

    def add(self, samples: NDArray[np.float32]) -> None:
        """Judge the next samples, shape (n,)."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._left = np.concatenate([self._left, samples])
        size = round(FRAME_SECONDS * self._own_rate)
        count = len(self._left) // size
        pcm = (np.clip(self._left[: count * size], -1, 1) * 32767).astype("<i2").tobytes()
        frames = (pcm[2 * size * i : 2 * size * (i + 1)] for i in range(count))
        self.flags += [self._detector.is_speech(frame, self._own_rate) for frame in frames]
        self._left = self._left[count * size :]

    def share(self, start: float, end: float) -> float:
        """Share of the frames from `start` to `end`, in seconds, that are speech; 0 where there are none."""
        first = int(start / FRAME_SECONDS)
        found = self.flags[first : max(int(end / FRAME_SECONDS), first + 1)]
        return sum(found) / len(found) if found else 0.0
