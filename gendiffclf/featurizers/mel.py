"""Log-mel filterbank energies as in Kaldi, their slopes over time, and statistics of both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from sklearn.utils import gen_batches

from .engine import ClipwiseEncoder
from .pooling import POOLINGS, pooled

SAMPLING_RATE = 16000
# As in Kaldi: the floor of the energies is float32's epsilon, and the Povey window is a Hann window to this power.
ENERGY_FLOOR = float(np.finfo(np.float32).eps)
POVEY_POWER = 0.85
# One step of 16-bit audio, the unit of Kaldi's dither, for samples in [-1, 1].
DITHER_UNIT = 2.0**-15
# Root mean square after level normalisation: 26 dB below full scale, a common level of speech under ITU-T P.56.
SPEECH_LEVEL = 10 ** (-26 / 20)
# The slope of a least-squares fit to five frames, as a weighted sum of them.
DELTA_WEIGHTS = np.arange(-2, 3) / 10
# Frames at once, so that an hour fits in memory.
BLOCK_FRAMES = 1000


@dataclass
class FbankEncoder(ClipwiseEncoder):
    """Filterbank statistics of samples at 16 kHz; as `FbankFeaturizer`, with `window` and `hop` in samples."""

    sampling_rate = SAMPLING_RATE

    n_mels: int
    window: int
    hop: int
    f_min: float
    f_max: float
    pre_emphasis: float
    dither: float
    deltas: int
    pooling: str
    normalize_level: bool

    def __post_init__(self) -> None:
        width = self.n_mels * (1 + self.deltas)
        n_statistics = len(POOLINGS[self.pooling])
        self.row_shape = (width * n_statistics,) if n_statistics else (None, width)
        self._n_fft = 1 << (self.window - 1).bit_length()  # the next power of two
        self._window = np.hanning(self.window) ** POVEY_POWER
        self._noise = (self.dither * DITHER_UNIT) ** 2 * noise_power(self._window, self._n_fft, self.pre_emphasis)
        self._filters = mel_filters(self.n_mels, self._n_fft, self.f_min, self.f_max)

    @property
    def identity(self) -> dict[str, Any]:
        return {"features": "fbank", **asdict(self)}

    def _row(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        stack = [self.log_mel(wave)]  # (frames, n_mels)
        for _ in range(self.deltas):
            stack.append(slopes(stack[-1]))
        frames = np.concatenate(stack, axis=1)  # (frames, n_mels · (1 + deltas))
        return pooled(frames, self.pooling).astype(np.float32)

    def log_mel(self, wave: NDArray[np.float32]) -> NDArray[np.float64]:
        """Natural logarithms of the energies of the mel filters over time: (n_samples,) -> (frames, n_mels), float64."""
        # In near silence float32 would not have enough digits for the logarithms.
        samples = wave.astype(np.float64)
        if self.normalize_level:
            samples = normalized_level(samples)
        samples = np.pad(samples, (0, max(self.window - len(samples), 0)))
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]  # (frames, window)
        blocks = [self._log_energies(frames[part]) for part in gen_batches(len(frames), BLOCK_FRAMES)]
        return np.concatenate(blocks)  # (frames, n_mels)

    def _log_energies(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """(frames, window) -> (frames, n_mels)."""
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames = (frames - self.pre_emphasis * before) * self._window
        power = np.abs(np.fft.rfft(frames, self._n_fft)) ** 2 + self._noise  # (frames, n_fft / 2 + 1)
        return np.log(np.maximum(power @ self._filters, ENERGY_FLOOR))


def normalized_level(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove the mean of a clip, (n_samples,), and scale it to a root mean square of `SPEECH_LEVEL`, unless it is silent."""
    centred = samples - samples.mean()
    rms = np.sqrt((centred**2).mean())
    audible = rms > np.finfo(np.float32).eps * np.abs(samples).max()
    return np.asarray(centred * (SPEECH_LEVEL / rms)) if audible else centred


def noise_power(window: NDArray[np.float64], n_fft: int, pre_emphasis: float) -> NDArray[np.float64]:
    """
    Expected power spectrum of a frame of white noise of unit variance, after pre-emphasis and windowing.

    Of shape (n_fft / 2 + 1,). Pre-emphasis multiplies the spectrum by |1 - a exp(-iω)|²; the removal of each
    frame's mean and the smearing of this factor by the window are neglected.
    """
    omega = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    return np.asarray((window**2).sum() * np.abs(1 - pre_emphasis * np.exp(-1j * omega)) ** 2)


def mel_filters(n_mels: int, n_fft: int, f_min: float, f_max: float) -> NDArray[np.float64]:
    """Weights in [0, 1] of triangular filters equally spaced in mel, edges in Hz: (n_fft / 2 + 1, n_mels)."""
    edges = np.linspace(_mel(np.array(f_min)), _mel(np.array(f_max)), n_mels + 2)
    bins = _mel(np.arange(n_fft // 2 + 1) * SAMPLING_RATE / n_fft)[:, None]  # (bins, 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])  # (bins, n_mels)
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0)


def slopes(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares slopes per frame, over two frames on each side; edge frames are repeated: (frames, d) -> (frames, d)."""
    return np.asarray(correlate1d(frames, DELTA_WEIGHTS, axis=0, mode="nearest"))


def _mel(frequency: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(frequency / 700))
