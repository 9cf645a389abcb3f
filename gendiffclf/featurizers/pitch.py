"""Pitch by autocorrelation, after Boersma (1993)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from sklearn.utils import gen_batches

from .mel import BLOCK_FRAMES, SAMPLING_RATE

# Of the lowest pitch in a window.
PERIODS = 3
# A multiple of the period is a period too, so a peak at twice the lag must be higher by this. Praat, which follows the pitch from
# frame to frame besides, takes 0.01.
OCTAVE_COST = 0.03


def pitch(
    wave: NDArray[np.float32], n_frames: int, f0_min: float, f0_max: float, *, center: int, hop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Find the pitch in frames of a clip at 16 kHz.

    The autocorrelation of a windowed frame is divided by that of the window. Its highest peak tells the period; its place and
    height are those of a parabola through three lags. Boersma interpolates by sinc functions, which is slower.

    Parameters
    ----------
    wave : ndarray of shape (n_samples,)
    n_frames : int
    f0_min, f0_max : float
        Lowest and highest pitch, in Hz, rounded to lags of whole samples.
    center : int
        Middle of the first frame, in samples.
    hop : int
        From one frame to the next, in samples.

    Returns
    -------
    f0 : ndarray of shape (n_frames,)
        In Hz; also of frames without a voice.
    periodicity : ndarray of shape (n_frames,)
        Height of the peak, in [0, 1].
    """
    length = round(PERIODS * SAMPLING_RATE / f0_min)
    first, last = int(SAMPLING_RATE / f0_max), int(np.ceil(SAMPLING_RATE / f0_min))
    n_fft = next_fast_len(length + last + 2, real=True)
    window = np.hanning(length).astype(np.float32)
    lags = slice(first - 1, last + 2)  # one more on each side, for the peaks at the ends
    of_window = _autocorrelation(window, n_fft)
    of_window = of_window[lags] / of_window[0]
    end = center + (n_frames - 1) * hop + length
    samples = np.pad(wave, (length // 2, max(end - len(wave), 0)))[center:]
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop][:n_frames]
    cost = OCTAVE_COST * np.log2(np.arange(first, last + 1) * f0_min / SAMPLING_RATE)
    f0, periodicity = np.empty(n_frames), np.empty(n_frames)
    for part in gen_batches(n_frames, BLOCK_FRAMES):
        block = frames[part]
        block = (block - block.mean(axis=1, keepdims=True)) * window
        r = _autocorrelation(block, n_fft)
        r = r[:, lags] / (np.maximum(r[:, :1], np.finfo(np.float32).tiny) * of_window)  # (frames, lags)
        before, at, after = r[:, :-2], r[:, 1:-1], r[:, 2:]
        is_peak = (at >= before) & (at > after)
        # A parabola through three lags has its peak so many lags later, and so high.
        shift = np.where(is_peak, (before - after) / np.where(is_peak, 2 * (before - 2 * at + after), 1), 0)
        height = np.where(is_peak, at - (before - after) * shift / 4, 0)
        best = (height - cost * is_peak).argmax(axis=1)
        rows = np.arange(len(best))
        f0[part] = SAMPLING_RATE / (first + best + shift[rows, best])
        periodicity[part] = np.clip(height[rows, best], 0, 1)
    return f0, periodicity


def _autocorrelation(frames: NDArray[np.float32], n_fft: int) -> NDArray[np.float32]:
    """Of frames (..., samples), at lags (..., n_fft)."""
    return np.asarray(irfft(np.abs(rfft(frames, n_fft)) ** 2, n_fft))
