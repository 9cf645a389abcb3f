"""Acoustic features of openSMILE: eGeMAPS and ComParE."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import joblib
import numpy as np
from numpy.typing import NDArray

from ..optional import require
from ..validation import check_choice
from ._base import SpeechFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .engine import ClipwiseEncoder, Encoder, Result

logger = logging.getLogger(__name__)

FEATURE_SETS = ("eGeMAPSv02", "GeMAPSv01b", "ComParE_2016")
# openSMILE's names of the levels.
LEVELS = {"functionals": "Functionals", "lld": "LowLevelDescriptors"}
SAMPLING_RATE = 16000


@dataclass(eq=False, repr=False)
class EgemapsFeaturizer(SpeechFeaturizer):
    """
    Pitch, loudness, formants, voice quality and spectral features of openSMILE, one vector per clip.

    openSMILE is free for research and education only: its licence forbids use in commercial products. Install it with
    `pip install -e '.[egemaps]'`.

    Parameters
    ----------
    feature_set : {"eGeMAPSv02", "GeMAPSv01b", "ComParE_2016"}, default="eGeMAPSv02"
        88, 62 or 6373 functionals.
    level : {"functionals", "lld"}, default="functionals"
        "functionals" are statistics over the clip. "lld" are the low-level descriptors that they summarise: `transform`
        then returns a list with an array of shape `(frames, d)` for each clip, with 25, 18 or 65 values every 10 ms.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz. With None, bare arrays raise an error: a wrong rate would go unnoticed.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are cached, as in `HubertFeaturizer`.
    n_jobs : int or None, default=None
        Number of threads; -1 means one per core. Under `joblib.parallel_config("dask")`, or another process-based
        backend, the number of workers.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What to do with a clip that cannot be read or is too short for openSMILE, as in `HubertFeaturizer`.
    verbose : int, default=0
        If nonzero, show a progress bar with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        Clips that failed in the latest `transform`, each with its `index`, `source` and `reason`.

    See Also
    --------
    HubertFeaturizer : Features of a pretrained encoder; lists the accepted forms of clips.
    SpeakerNormalizer : Removes differences between voices from these features.

    Notes
    -----
    All clips are resampled to 16 kHz. The features include loudness, so they depend on the gain of a recording.

    References
    ----------
    F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing",
    IEEE Transactions on Affective Computing, 2016. F. Eyben, M. Wöllmer, B. Schuller, "openSMILE: The Munich Versatile and
    Fast Open-Source Audio Feature Extractor", ACM Multimedia, 2010.

    Examples
    --------
    >>> from gendiffclf.featurizers import EgemapsFeaturizer
    >>> features = EgemapsFeaturizer(n_jobs=2).fit_transform(["a.wav", "b.wav"])  # doctest: +SKIP
    """

    feature_set: Literal["eGeMAPSv02", "GeMAPSv01b", "ComParE_2016"] = "eGeMAPSv02"
    _: KW_ONLY
    level: Literal["functionals", "lld"] = "functionals"
    sampling_rate: float | None = None
    cache: bool | str | FeatureCache | None = True
    n_jobs: int | None = None
    on_error: Literal["raise", "nan", "skip_with_warning"] = "raise"
    verbose: int = 0

    def _encoders(self) -> list[Encoder]:
        check_choice("feature_set", self.feature_set, FEATURE_SETS)
        check_choice("level", self.level, LEVELS)
        self._check_container(2 if self.level == "lld" else 1)
        return [SmileEncoder(self.feature_set, self.level) for _ in range(joblib.effective_n_jobs(self.n_jobs))]

    @contextlib.contextmanager
    def _session(self, encoders: list[Encoder]) -> Iterator[None]:
        with warnings.catch_warnings():
            # `SmileEncoder` turns the NaN that this warning is about into an error of the clip.
            warnings.filterwarnings("ignore", message="Segment too short")
            yield

    def _names(self) -> list[str]:
        (encoder, *_) = self._encoders()
        return list(encoder.smile.feature_names)  # type: ignore[attr-defined]


class SmileEncoder(ClipwiseEncoder):
    """An openSMILE extractor for one of `FEATURE_SETS` and one of `LEVELS`; each thread needs its own."""

    sampling_rate = SAMPLING_RATE

    def __init__(self, feature_set: str, level: str) -> None:
        opensmile = load_opensmile()
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[feature_set], feature_level=opensmile.FeatureLevel[LEVELS[level]]
        )
        self.level = level
        self.identity = {"features": "opensmile", "set": feature_set, "level": level, "version": opensmile.__version__}
        width = len(self.smile.feature_names)
        self.row_shape = (None, width) if level == "lld" else (width,)

    def _row(self, wave: NDArray[np.float32]) -> Result:
        """Encode one clip; an `AudioError` if it is too short for a frame."""
        frames = self.smile(wave, SAMPLING_RATE)[0].T.astype(np.float32)  # (1, d, frames) -> (frames, d)
        if not np.isfinite(frames).all():
            seconds = len(wave) / SAMPLING_RATE
            return AudioError(f"its {seconds:.3g} s are too short for openSMILE, expected at least about 60 ms")
        return frames if self.level == "lld" else frames[0]


@functools.cache
def load_opensmile() -> Any:
    """Import openSMILE and log its licence terms once."""
    opensmile = require("opensmile", "egemaps")
    logger.warning("openSMILE is free for research and education only; its licence forbids commercial products.")
    return opensmile
