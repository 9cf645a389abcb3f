"""Statistics of log-mel filterbank energies: a baseline that needs no pretrained model."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import joblib

from ..validation import check_choice, check_flag, check_integer, check_real, shown
from ._base import SpeechFeaturizer
from .cache import FeatureCache
from .engine import Encoder
from .mel import SAMPLING_RATE, FbankEncoder
from .pooling import POOLINGS, statistic_suffixes


@dataclass(eq=False, repr=False)
class FbankFeaturizer(SpeechFeaturizer):
    """
    Statistics over time of log-mel filterbank energies, one vector per clip.

    Parameters
    ----------
    n_mels : int, default=80
        Number of mel filters.
    window_seconds : float, default=0.025
        Length of a frame, in seconds.
    hop_seconds : float, default=0.01
        Step from one frame to the next, in seconds.
    f_min : float, default=20.0
        Lower edge of the first filter, in Hz.
    f_max : float, default=7600.0
        Upper edge of the last filter, in Hz; at most 8000.
    pre_emphasis : float, default=0.97
        Coefficient of the pre-emphasis filter `x[t] - pre_emphasis * x[t - 1]`, in [0, 1].
    dither : float, default=1.0
        Standard deviation of white noise, in steps of 16-bit audio, whose expected energy is added after the level was
        normalised. Without it, features of near silence would be those of rounding errors.
    deltas : int, default=0
        Number of time derivatives to append: 1 for the slopes of the energies, 2 also for the slopes of the slopes.
    normalize_level : bool, default=True
        Whether to scale each clip to a root mean square of 26 dB below full scale first. Features then depend neither on
        the gain of the recording nor on how loud someone speaks.
    pooling : {"mean_std", "mean", "std", "max", "none"}, default="mean_std"
        Statistic over the frames of a clip; "mean_std" concatenates both. "none" keeps the frames: `transform`
        returns a list with an array of shape `(frames, d)` for each clip.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz. With None, bare arrays raise an error: a wrong rate would go unnoticed.
    cache : bool, str, Path, FeatureCache or None, default=None
        Where features are cached, as in `HubertFeaturizer`. None disables the cache: these features are computed almost
        as fast as they are read.
    n_jobs : int or None, default=None
        Number of threads; -1 means one per core. Under `joblib.parallel_config("dask")`, or another process-based
        backend, the number of workers.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What to do with a clip that cannot be read, as in `HubertFeaturizer`.
    verbose : int, default=0
        If nonzero, show a progress bar with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        Clips that failed in the latest `transform`, each with its `index`, `source` and `reason`.

    See Also
    --------
    HubertFeaturizer : Features of a pretrained encoder; lists the accepted forms of clips.

    Notes
    -----
    The energies are Kaldi's "fbank" for samples in [-1, 1]: frames without padding at the edges, removal of the mean,
    pre-emphasis, Povey window, power spectrum, triangular filters equally spaced on the scale
    mel(f) = 1127 ln(1 + f / 700), natural logarithm. Kaldi dithers with random noise; here its expected energy is added
    instead, so that features are deterministic. Slopes are least-squares fits over two frames on each side. All clips
    are resampled to 16 kHz; one shorter than a frame is zero-padded to a frame.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> FbankFeaturizer(n_mels=40).transform([(tone, 16000), (tone[:8000], 16000)]).shape
    (2, 80)
    """

    n_mels: int = 80
    _: KW_ONLY
    window_seconds: float = 0.025
    hop_seconds: float = 0.01
    f_min: float = 20.0
    f_max: float = 7600.0
    pre_emphasis: float = 0.97
    dither: float = 1.0
    deltas: int = 0
    normalize_level: bool = True
    pooling: Literal["mean_std", "mean", "std", "max", "none"] = "mean_std"
    sampling_rate: float | None = None
    cache: bool | str | FeatureCache | None = None
    n_jobs: int | None = None
    on_error: Literal["raise", "nan", "skip_with_warning"] = "raise"
    verbose: int = 0

    def _encoders(self) -> list[Encoder]:
        self._check_container(2 if self.pooling == "none" else 1)
        return [self.encoder()] * joblib.effective_n_jobs(self.n_jobs)

    def encoder(self) -> FbankEncoder:
        """Check the parameters and return an encoder of clips."""
        self._check_filters()
        return FbankEncoder(
            n_mels=int(self.n_mels),
            window=round(self.window_seconds * SAMPLING_RATE),
            hop=round(self.hop_seconds * SAMPLING_RATE),
            f_min=float(self.f_min),
            f_max=float(self.f_max),
            pre_emphasis=float(self.pre_emphasis),
            dither=float(self.dither),
            deltas=int(self.deltas),
            pooling=self.pooling,
            normalize_level=bool(self.normalize_level),
        )

    def _check_filters(self) -> None:
        check_integer("n_mels", self.n_mels, 1)
        check_real("window_seconds", self.window_seconds, 2 / SAMPLING_RATE)
        check_real("hop_seconds", self.hop_seconds, 1 / SAMPLING_RATE)
        check_real("f_max", self.f_max, 0, SAMPLING_RATE / 2, low_open=True)
        check_real("f_min", self.f_min, 0, self.f_max, high_open=True)
        check_real("pre_emphasis", self.pre_emphasis, 0, 1)
        check_real("dither", self.dither, 0)
        check_choice("pooling", self.pooling, POOLINGS)
        check_flag("normalize_level", self.normalize_level)
        check_integer("deltas", self.deltas, 0)
        if self.deltas > 2:
            raise ValueError(f"Got deltas={shown(self.deltas)}, expected 0, 1 or 2.")

    def _names(self) -> list[str]:
        self._check_filters()
        kinds = ("mel", "delta", "delta2")[: self.deltas + 1]
        return [
            f"{kind}{i}{statistic}"
            for statistic in statistic_suffixes(self.pooling)
            for kind in kinds
            for i in range(self.n_mels)
        ]
