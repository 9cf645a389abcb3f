"""Block-wise decoding of recordings of any length, and speech detection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..featurizers.audio import BLOCK_SECONDS, AudioError, native_blocks
from ..featurizers.inputs import as_clip
from ..optional import require

# Sampling rates that the detector supports, and the length of its frames.
DETECTOR_RATES = (8000, 16000, 32000, 48000)
DETECTOR_RATE = 16000
FRAME_SECONDS = 0.03
# Aggressiveness of the detector, from 0, which accepts most sounds as speech, to 3.
DETECTOR_MODE = 2


def blocks(recording: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """
    Decode a recording, in one of the forms listed at `HubertFeaturizer`, into mono blocks (n,) with `rate` in Hz.

    Memory does not grow with the length of a file.
    Raises an AudioError if it is not audio, is truncated, cannot be decoded, or holds NaN or infinity.
    """
    clip = as_clip(recording, None)
    if not (clip.on_disk or isinstance(clip.source, bytes)):
        samples, size = clip.load(rate), round(BLOCK_SECONDS * rate)
        yield from (samples[start : start + size] for start in range(0, len(samples), size))
        return
    resampler, native_rate = None, 0.0
    for channels, native_rate in native_blocks(clip):
        block = channels.mean(axis=1)  # (n, channels) -> (n,)
        if not np.isfinite(block).all():
            raise AudioError("it holds NaN or infinite samples, expected finite ones", clip.name)
        if native_rate == rate:
            yield block
            continue
        resampler = resampler or require("soxr").ResampleStream(native_rate, rate, 1)
        yield resampler.resample_chunk(block)
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
    if not native_rate:
        raise AudioError("it holds no samples, expected at least one", clip.name)


class SpeechDetector:
    """
    Detects speech in frames of 30 ms by the voice activity detector of WebRTC (package webrtcvad-wheels).

    `rate` is the sampling rate in Hz, which is resampled if the detector does not support it; `flags` says of each frame so far
    whether it is speech.
    """

    def __init__(self, rate: int) -> None:
        self.flags: list[bool] = []
        self._rest: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._detector = require("webrtcvad").Vad(DETECTOR_MODE)
        self._own_rate = rate if rate in DETECTOR_RATES else DETECTOR_RATE
        self._resampler = None if self._own_rate == rate else require("soxr").ResampleStream(rate, self._own_rate, 1)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Process the next samples, of shape (n,)."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._rest = np.concatenate([self._rest, samples])
        size = round(FRAME_SECONDS * self._own_rate)
        count = len(self._rest) // size
        pcm = (np.clip(self._rest[: count * size], -1, 1) * 32767).astype("<i2").tobytes()
        frames = (pcm[2 * size * i : 2 * size * (i + 1)] for i in range(count))
        self.flags += [self._detector.is_speech(frame, self._own_rate) for frame in frames]
        self._rest = self._rest[count * size :]

    def share(self, start: float, end: float) -> float:
        """Share of speech among the frames from `start` to `end`, in seconds; 0 if there are none."""
        first = int(start / FRAME_SECONDS)
        flags = self.flags[first : max(int(end / FRAME_SECONDS), first + 1)]
        return sum(flags) / len(flags) if flags else 0.0
