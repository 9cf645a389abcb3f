"""Any function from a waveform to features, with the inputs, cache and errors of the other featurisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..device import out_of_memory
from ..validation import check_real, shown
from ._base import SpeechFeaturizer
from .audio import AudioError
from .engine import Encoder, Result, Rows, RowShape

if TYPE_CHECKING:
    from .cache import FeatureCache

BATCH_SECONDS = 60.0


class FunctionFeaturizer(SpeechFeaturizer):
    """
    Features of an encoder that is a function, for encoders that this package does not know: emotion2vec, Whisper, ECAPA.

    Parameters
    ----------
    encode : callable
        From the samples of one clip, a float32 array of shape `(n_samples,)` at `sampling_rate`, to its features, an array
        or tensor of shape `(d,)` or `(layers, d)`, the same for every clip. It is called by one thread at a time.
    name : str
        What features are cached under, beside the clip: the encoder's name and version, say. Choose another whenever
        `encode` changes what it returns, since a function's content cannot be compared.
    sampling_rate : float
        Rate that `encode` expects, in Hz. Clips are resampled to it; bare arrays are taken to have it.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are kept; True is the folder `$GENDIFFCLF_CACHE`, or `~/.cache/gendiffclf/features`, of at most
        10 GiB; None keeps nothing.
    n_jobs : int or None, default=None
        Threads that read and decode clips ahead of `encode`; -1 is one for each core. Inside
        `joblib.parallel_config("dask")`, or another backend of processes, it is the number of workers instead; `encode`
        must then be picklable.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What a clip that cannot be read does, as in `HubertFeaturizer`. So does a clip for which `encode` raises, or returns
        NaN or infinity.
    verbose : int, default=0
        Whether to show progress, with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        What went wrong in the latest `transform`, with `index`, `source` and `reason` of each clip.

    See Also
    --------
    HubertFeaturizer : Encoders of transformers, in batches; lists what a clip may be.

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

    def __init__(
        self,
        encode: Callable[[NDArray[np.float32]], Any],
        name: str,
        sampling_rate: float,
        *,
        cache: bool | str | FeatureCache | None = True,
        n_jobs: int | None = None,
        on_error: Literal["raise", "nan", "skip_with_warning"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.encode = encode
        self.name = name
        self.sampling_rate: float = sampling_rate
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    def _encoders(self) -> list[Encoder]:
        if not callable(self.encode):
            raise ValueError(f"Got encode={shown(self.encode)}, expected a function from samples to features.")
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Got name={shown(self.name)}, expected a text that names the encoder and its version.")
        check_real("sampling_rate", self.sampling_rate, 0, low_open=True)
        return [FunctionEncoder(self.encode, self.name, int(self.sampling_rate))]

    def _rows(self, stored: Rows) -> Rows:
        self._shape = np.shape(stored)[1:]  # known only now
        return stored

    def _names(self) -> list[str]:
        if not hasattr(self, "_shape"):
            raise ValueError(
                "Got a call before transform, expected one after it: only then is the number of values known."
            )
        return [f"{self.name}_{i}" for i in range(int(np.prod(self._shape)))]


class FunctionEncoder:
    """
    One function as an encoder.

    Parameters
    ----------
    function : callable
        From samples to features.
    name : str
        What identifies it.
    sampling_rate : int
        What it expects, in Hz.
    """

    batch_seconds = BATCH_SECONDS
    row_shape: RowShape | None = None

    def __init__(self, function: Callable[[NDArray[np.float32]], Any], name: str, sampling_rate: int) -> None:
        self.function = function
        self.name = name
        self.sampling_rate = sampling_rate

    @property
    def identity(self) -> dict[str, Any]:
        """Everything besides the audio that the features depend on."""
        return {"features": "function", "name": self.name}

    def encode(self, waves: list[NDArray[np.float32]]) -> list[Result]:
        """
        Encode clips one by one.

        Parameters
        ----------
        waves : list of ndarray of shape (n_samples,), float32
            At `sampling_rate`.

        Returns
        -------
        rows : list of ndarray of shape (d,) or (layers, d), float32
            In order; an `AudioError` where the function raises, or returns something else.
        """
        return [self._row(wave) for wave in waves]

    def _row(self, wave: NDArray[np.float32]) -> Result:
        try:
            found = self.function(wave)
            found = found.detach().cpu().float().numpy() if hasattr(found, "detach") else found
            row = np.asarray(found, dtype=np.float32)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                return AudioError(f"{self.name} fails ({type(error).__name__}: {error})")
            seconds = len(wave) / self.sampling_rate
            return AudioError(f"its {seconds:.1f} s do not fit in memory; give shorter segments, (path, start, end)")
        except Exception as error:  # the caller's own code may raise anything
            return AudioError(f"{self.name} fails ({type(error).__name__}: {error})")
        if row.ndim not in (1, 2) or not row.size:
            return AudioError(f"{self.name} returns features of shape {row.shape}, expected (d,) or (layers, d)")
        if not np.isfinite(row).all():
            return AudioError(f"{self.name} returns NaN or infinity, expected finite features")
        return row
