"""Statistics of log-mel filterbank energies: a baseline that needs no pretrained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import joblib

from ..validation import check_choice, check_flag, check_integer, check_real, shown
from ._base import SpeechFeaturizer
from .engine import Encoder
from .mel import SAMPLING_RATE, FbankEncoder
from .pooling import POOLINGS, statistic_suffixes

if TYPE_CHECKING:
    from .cache import FeatureCache


class FbankFeaturizer(SpeechFeaturizer):
    """
    Statistics over time of log-mel filterbank energies, one vector for each clip.

    Parameters
    ----------
    n_mels : int, default=80
        Number of mel filters.
    window_seconds : float, default=0.025
        Length of a frame, in seconds.
    hop_seconds : float, default=0.01
        Step from one frame to the next, in seconds.
    f_min, f_max : float, default=20.0 and 7600.0
        Lower edge of the first filter and upper edge of the last, in Hz; at most 8000.
    pre_emphasis : float, default=0.97
        Share of the sample before that is taken from each, in [0, 1].
    dither : float, default=1.0
        Standard deviation, in steps of 16-bit audio, of white noise whose expected energy is added to that of the clip,
        after its level was normalised.
        Without it, what is left in near silence is rounding, and the same recording rounded anew has other features.
    deltas : int, default=0
        Append slopes over time: 1 those of the energies, 2 also the slopes of the slopes.
    normalize_level : bool, default=True
        Whether each clip is brought to the same root mean square, 26 dB below full scale, before anything else. Features
        then do not depend on the gain of the recording, nor on how loud someone speaks. With False they do: a factor on
        the samples moves every mean of the energies.
    pooling : {"mean_std", "mean", "std", "max", "none"}, default="mean_std"
        Statistic over the clip's frames; "mean_std" puts both side by side. "none" gives the frames themselves: `transform`
        returns a list with an array of shape `(frames, d)` for each clip.
    sampling_rate : float or None, default=None
        Rate of bare arrays, in Hz. Without it they are refused, since a wrong rate shows in nothing but wrong results.
    cache : bool, str, Path, FeatureCache or None, default=None
        Where features are kept; True is the folder `$GENDIFFCLF_CACHE`, or `~/.cache/gendiffclf/features`, of at most
        10 GiB. None keeps nothing, since these features take little longer to compute than to find.
    n_jobs : int or None, default=None
        Threads; -1 is one for each core. Inside `joblib.parallel_config("dask")`, or another backend of processes, it
        is the number of workers instead.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What a clip that cannot be read does. "raise" stops there. "nan" and "skip_with_warning" go on and leave NaN in
        its row, the latter with one warning that names the clips: the number of rows stays that of the clips, as
        pipelines need.
    verbose : int, default=0
        Whether to show progress, with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        What went wrong in the latest `transform`, with `index`, `source` and `reason` of each clip.

    See Also
    --------
    HubertFeaturizer : Features of a pretrained encoder; lists what a clip may be.

    Notes
    -----
    The energies are Kaldi's "fbank" of samples in [-1, 1]: frames without padding at the edges, their mean removed,
    pre-emphasised, under a Povey window, power spectrum, triangular filters equally spaced on the scale
    mel(f) = 1127 ln(1 + f / 700), natural logarithm. Kaldi dithers by random noise; here its expected energy is added
    instead, so that a clip always has the same features. Slopes are the least-squares ones over two frames on each side.
    All clips are brought to 16 kHz. One shorter than a frame is padded with zeros to one.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> FbankFeaturizer(n_mels=40).transform([(tone, 16000), (tone[:8000], 16000)]).shape
    (2, 80)
    """

    def __init__(
        self,
        n_mels: int = 80,
        *,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.01,
        f_min: float = 20.0,
        f_max: float = 7600.0,
        pre_emphasis: float = 0.97,
        dither: float = 1.0,
        deltas: int = 0,
        normalize_level: bool = True,
        pooling: Literal["mean_std", "mean", "std", "max", "none"] = "mean_std",
        sampling_rate: float | None = None,
        cache: bool | str | FeatureCache | None = None,
        n_jobs: int | None = None,
        on_error: Literal["raise", "nan", "skip_with_warning"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.n_mels = n_mels
        self.window_seconds = window_seconds
        self.hop_seconds = hop_seconds
        self.f_min = f_min
        self.f_max = f_max
        self.pre_emphasis = pre_emphasis
        self.dither = dither
        self.deltas = deltas
        self.normalize_level = normalize_level
        self.pooling = pooling
        self.sampling_rate = sampling_rate
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    def _encoders(self) -> list[Encoder]:
        self._check_filters()
        self._check_container(2 if self.pooling == "none" else 1)
        encoder = FbankEncoder(
            n_mels=int(self.n_mels),
            window=round(self.window_seconds * SAMPLING_RATE),
            hop=round(self.hop_seconds * SAMPLING_RATE),
            f_min=float(self.f_min),
            f_max=float(self.f_max),
            pre_emphasis=float(self.pre_emphasis),
            dither=float(self.dither),
            deltas=int(self.deltas),
            pooling=self.pooling,
            normalize_level=self.normalize_level,
        )
        return [encoder] * joblib.effective_n_jobs(self.n_jobs)

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
