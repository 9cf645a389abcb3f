"""A featuriser around any function from a waveform to features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..device import out_of_memory
from ..validation import check_real, shown
from ._base import SpeechFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .engine import ClipwiseEncoder, Encoder, Result, Rows


@dataclass(eq=False, repr=False)
class FunctionFeaturizer(SpeechFeaturizer):
    """
    Features computed by a function, for encoders that this package does not support itself: emotion2vec, Whisper, ECAPA.

    Parameters
    ----------
    encode : callable
        From the samples of one clip, a float32 array of shape `(n_samples,)` at `sampling_rate`, to its features, an array
        or tensor of shape `(d,)` or `(layers, d)`, the same for every clip. It is called by one thread at a time.
    name : str
        Name of the encoder and its version, part of the cache key. Change it whenever `encode` returns different values,
        since functions cannot be compared by content.
    sampling_rate : float
        Sampling rate that `encode` expects, in Hz. Clips are resampled to it; bare arrays are assumed to have it.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are cached, as in `HubertFeaturizer`.
    n_jobs : int or None, default=None
        Number of threads that read and decode clips ahead of `encode`; -1 means one per core. Under
        `joblib.parallel_config("dask")`, or another process-based backend, the number of workers; `encode` must then be
        picklable.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What to do with a clip that cannot be read, or for which `encode` raises an error or returns NaN or infinity, as
        in `HubertFeaturizer`.
    verbose : int, default=0
        If nonzero, show a progress bar with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        Clips that failed in the latest `transform`, each with its `index`, `source` and `reason`.

    See Also
    --------
    HubertFeaturizer : Encoders of transformers, in batches; lists the accepted forms of clips.

    Examples
    --------
    >>> import numpy as np
    >>> from gendiffclf.featurizers import FunctionFeaturizer
    >>> def zero_crossings(samples):
    ...     return [np.mean(samples[1:] * samples[:-1] < 0)]
    >>> featurizer = FunctionFeaturizer(zero_crossings, "zero-crossings-1", 8000, cache=None)
    >>> tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000 + 0.1)
    >>> featurizer.transform([tone, tone[:4000]]).round(3)
    array([[0.125],
           [0.125]], dtype=float32)
    """

    encode: Callable[[NDArray[np.float32]], Any]
    name: str
    sampling_rate: float
    _: KW_ONLY
    cache: bool | str | FeatureCache | None = True
    n_jobs: int | None = None
    on_error: Literal["raise", "nan", "skip_with_warning"] = "raise"
    verbose: int = 0

    def _encoders(self) -> list[Encoder]:
        if not callable(self.encode):
            raise ValueError(f"Got encode={shown(self.encode)}, expected a function from samples to features.")
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Got name={shown(self.name)}, expected a string with the encoder's name and version.")
        check_real("sampling_rate", self.sampling_rate, 0, low_open=True)
        return [FunctionEncoder(self.encode, self.name, int(self.sampling_rate))]

    def _rows(self, stored: Rows) -> Rows:
        self._shape = np.shape(stored)[1:]
        return stored

    def _names(self) -> list[str]:
        if not hasattr(self, "_shape"):
            raise ValueError(
                "Got get_feature_names_out before transform, expected it after: the number of features is not known yet."
            )
        return [f"{self.name}_{i}" for i in range(int(np.prod(self._shape)))]


@dataclass
class FunctionEncoder(ClipwiseEncoder):
    """A function from samples at `sampling_rate`, in Hz, to features as an encoder, identified by `name`."""

    function: Callable[[NDArray[np.float32]], Any]
    name: str
    sampling_rate: int

    @property
    def identity(self) -> dict[str, Any]:
        return {"features": "function", "name": self.name}

    def _row(self, wave: NDArray[np.float32]) -> Result:
        """Encode one clip; an `AudioError` if the function fails or returns no array."""
        try:
            features = self.function(wave)
            features = features.detach().cpu().float().numpy() if hasattr(features, "detach") else features
            row = np.asarray(features, dtype=np.float32)
        except Exception as error:  # the caller's own code may raise anything
            if out_of_memory(error):
                seconds = len(wave) / self.sampling_rate
                return AudioError(f"its {seconds:.1f} s do not fit in memory; pass shorter segments (path, start, end)")
            return AudioError(f"{self.name} failed ({type(error).__name__}: {error})")
        if row.ndim not in (1, 2) or not row.size:
            return AudioError(f"{self.name} returned features of shape {row.shape}, expected (d,) or (layers, d)")
        if not np.isfinite(row).all():
            return AudioError(f"{self.name} returned NaN or infinity, expected finite features")
        return row
