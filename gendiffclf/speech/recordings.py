"""Measurements of recordings: length, level, clipping, bandwidth, silence, and a digest and a sketch of the content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..featurizers.audio import AudioError, Clip, reading
from ..featurizers.inputs import as_clip
from ..featurizers.parts import group_by_file
from .passages import Landmarks, landmarks_of, sketches_of

FLAT_TOP = 3
"""Number of consecutive samples at the peak value that counts as clipping; speech passes its peaks in one or two."""
SPECTRUM_FLOOR = 70.0
"""Level below the strongest band, in dB, at which the spectrum counts as empty."""
QUIET = 0.01
"""Share of the largest sample, at -40 dB, below which the beginning and end of a clip count as silence."""
_FRAME = 1024
_MAX_FRAMES = 500
CACHE_SIZE = 100_000


@dataclass(frozen=True)
class Recording:
    """
    Measurements of one clip.

    `content` is a digest of the decoded samples, rounded to 16 bits, and the sampling rate; it is the same for copies under
    other names, in other lossless formats, or with other metadata. `sketch` holds 16 random projections of the mono mix at norm
    1, which are close for copies at another gain and far apart for other clips; zeros without sound. `rate` and `bandwidth`,
    above which the average spectrum is at least 70 dB below its strongest band, are in Hz. Without the constant offset of each
    channel, `peak` is the largest absolute sample, 1 for full scale; `level` is the root mean square of the mono mix in dB below
    full scale, -inf for digital silence. Two shares in [0, 1]: `clipped` of samples in runs of at least three at the peak, and
    `cancelled` of the channels' mean energy that is lost in the mono mix, 1 for anti-phase. `lead` and `tail` are the seconds
    before and after the sound of the mono mix, NaN without sound. `landmarks` find other cuts of the same recording.
    """

    content: str
    sketch: tuple[float, ...]
    rate: int
    seconds: float
    peak: float
    level: float
    clipped: float
    bandwidth: float
    cancelled: float
    lead: float
    tail: float
    landmarks: Landmarks = field(compare=False)


def measure_recordings(clips: Sequence[Any], n_jobs: int | None = None) -> list[Recording | AudioError]:
    """Measure clips, as returned by `corpora.clips`, in threads; the result has an error for each that cannot be read."""
    workers = n_jobs if n_jobs is not None and n_jobs > 0 else os.cpu_count() or 1
    results: dict[int, Recording | AudioError] = {}
    valid: dict[int, Clip] = {}
    for i, item in enumerate(clips):
        try:
            valid[i] = as_clip(item, None)
        except AudioError as error:
            results[i] = error
    with ThreadPoolExecutor(workers) as pool:
        for group in group_by_file(valid):
            results |= zip(group, pool.map(_measured, group.values()), strict=True)
    return [results[i] for i in range(len(clips))]


def _measured(clip: Clip) -> Recording | AudioError:
    try:
        with reading(clip.name):
            status = os.stat(clip.source)
            return _measured_file(clip, status.st_size, status.st_mtime_ns)
    except AudioError as error:
        return error


@lru_cache(CACHE_SIZE)  # so that the audits of several evaluations decode clips once
def _measured_file(clip: Clip, size: int, modified: int) -> Recording:
    """Measure a clip of a file; its size and time of modification only tell whether a cached result is of this file."""
    return measure(*clip.native_samples())


def measure(samples: NDArray[np.float32], rate: float) -> Recording:
    """Measure decoded samples of shape (n_frames, n_channels), with the rate in Hz; an AudioError for NaN or infinity."""
    if not np.isfinite(samples).all():
        raise AudioError("it holds NaN or infinite samples, expected finite ones")
    offset = samples.mean(axis=0, dtype=np.float64)  # exact for constant channels, as sums in float32 are not
    centred = samples - offset.astype(samples.dtype)
    mono = centred.mean(axis=1)  # (n_frames, n_channels) -> (n_frames,)
    energy = float(np.mean(np.square(centred, dtype=np.float64)))
    mixed = float(np.mean(np.square(mono, dtype=np.float64)))
    peak = float(np.abs(centred).max())
    heard = np.flatnonzero(np.abs(mono) > QUIET * np.abs(mono).max())
    return Recording(
        content=_content(samples, rate),
        sketch=tuple(sketches_of(mono[None])[0].tolist()),
        rate=round(rate),
        seconds=len(samples) / rate,
        peak=peak,
        level=10 * float(np.log10(mixed)) if mixed else -np.inf,
        clipped=max(_clipped_share(channel) for channel in centred.T),
        bandwidth=bandwidth(mono, rate),
        cancelled=1 - mixed / energy if energy else 0.0,
        lead=heard[0] / rate if len(heard) else np.nan,
        tail=(len(mono) - 1 - heard[-1]) / rate if len(heard) else np.nan,
        landmarks=landmarks_of(mono, rate),
    )


def _content(samples: NDArray[np.float32], rate: float) -> str:
    rounded = np.rint(samples * 32768.0).astype(np.int64)
    if (rounded == rounded[:, :1]).all():
        rounded = rounded[:, :1]  # so that a mono clip saved with two channels counts as a copy
    state = hashlib.blake2b(f"{rate!r} {rounded.shape} ".encode(), digest_size=16)
    state.update(np.ascontiguousarray(rounded).data)
    return state.hexdigest()


def _clipped_share(channel: NDArray[np.float32]) -> float:
    """Share of samples in runs of `FLAT_TOP` or more within a 16-bit step of the largest value of a centred channel."""
    if np.abs(channel).max() < 0.01:  # too soft to tell clipping from the rounding to 16 bits
        return 0.0
    share = 0
    for side in (channel, -channel):
        top = side >= side.max() - 1.5 / 32768
        edges = np.flatnonzero(np.diff(np.concatenate(([0], top.view(np.int8), [0]))))
        runs = edges[1::2] - edges[::2]
        share += int(runs[runs >= FLAT_TOP].sum())
    return share / len(channel)


def bandwidth(mono: NDArray[np.float32], rate: float) -> float:
    """Upper end of the average spectrum, in Hz; NaN for clips of less than 1,024 samples or without sound."""
    if len(mono) < _FRAME:
        return float("nan")
    frames = np.lib.stride_tricks.sliding_window_view(mono, _FRAME)[::_FRAME]
    windowed = frames[:: -(-len(frames) // _MAX_FRAMES)] * np.hanning(_FRAME)
    power = np.square(np.abs(np.fft.rfft(windowed, axis=1))).mean(axis=0)  # (n_frames, bins) -> (bins,)
    power = power[1:].reshape(-1, 8).mean(axis=1)  # 64 bands
    rounding = np.square(np.hanning(_FRAME)).sum() / 12 / 32768**2  # power of the rounding noise of 16 bits
    floor = max(power.max() * 10 ** (-SPECTRUM_FLOOR / 10), 2 * rounding)
    above = np.flatnonzero(power > floor)
    if not len(above):
        return float("nan")
    return float((above[-1] + 1) / len(power) * rate / 2)
