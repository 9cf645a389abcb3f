"""Acoustic functionals: statistics of spectrum, pitch and voicing over the speech of a clip, without a pretrained model."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import joblib
import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import binary_erosion, median_filter

from ..validation import check_flag, check_integer, check_real, shown
from ._base import SpeechFeaturizer
from .cache import FeatureCache
from .engine import ClipwiseEncoder, Encoder
from .fbank import FbankFeaturizer
from .mel import SAMPLING_RATE, FbankEncoder, slopes
from .pitch import pitch

N_MELS = 40
# Edges of the mel filters in Hz, so far apart that each filter holds frequencies of the spectrum.
MOST_F_MIN, LEAST_F_MAX = 500.0, 1500.0
SECONDS = 0.01  # from one frame to the next
# As in GeMAPS, in Hz.
SEMITONES_FROM = 27.5
# Speech is what is at most so much quieter than the loudest 50 ms, in dB.
SPEECH_RANGE = 30.0
# Frames whose periodicity is at least this are voiced, as in Praat.
VOICING_THRESHOLD = 0.45
# At least so many frames count as voiced, the most periodic ones: whispering has a row too.
LEAST_VOICED = 5
PROSODY = ("level", "periodicity", "pitch")
# So many of the first coefficients are described in detail, as level, periodicity and pitch are.
N_DETAILED = 8
STATISTICS = ("mean", "std", "slope")
PERCENTILES = (5, 20, 50, 80, 95)
LAGS = (5, 10, 20, 30)  # in frames
DETAILS = (
    *(f"p{percent}" for percent in PERCENTILES),
    "trend",
    "curve",
    *(f"autocorrelation_{round(1000 * SECONDS * lag)}ms" for lag in LAGS),
)
# A contour with a lower standard deviation is constant but for rounding.
ROUNDING = float(np.finfo(np.float32).eps)
# Added to the variances of standardised contours, so that their correlations have a logarithm.
RIDGE = 0.05
RHYTHM = ("voiced_share", "voiced_segments_per_second", "voiced_seconds_mean", "voiced_seconds_std")


@dataclass(eq=False, repr=False)
class AcousticFeaturizer(SpeechFeaturizer):
    """
    Statistics of spectrum, pitch and voicing over the speech of a clip, one vector per clip.

    They need neither a pretrained model nor a further package. Contours over time of level, periodicity, pitch and spectrum are
    summarised by their height, variation and course over the clip, and by their correlations. Only frames of speech count, not
    pauses.

    Parameters
    ----------
    n_mfcc : int, default=20
        Number of mel-frequency cepstral coefficients, from the first on, at most 39. Rows have 189 + 3 · n_mfcc values for 8
        or more.
    f0_min : float, default=75.0
        Lowest pitch to look for, in Hz; frames for it last three of its periods. A lower voice has no pitch.
    f0_max : float, default=600.0
        Highest pitch to look for, in Hz. A higher voice gets half its pitch or less.
    f_min : float, default=20.0
        Lower edge of the first mel filter, in Hz, below 500. Use 300, and `f_max=3400`, if telephone speech is among the clips
        of training or prediction.
    f_max : float, default=7600.0
        Upper edge of the last mel filter, in Hz, from 1500 to 8000.
    normalize_level : bool, default=True
        Whether to scale each clip to a root mean square of 26 dB below full scale first. Features then depend neither on
        the gain of the recording nor on how loud someone speaks.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz. With None, bare arrays raise an error: a wrong rate would go unnoticed.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are cached, as in `HubertFeaturizer`.
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
    SpeakerNormalizer : Removes differences between voices from these features.

    Notes
    -----
    Contours have a value every 10 ms:

    - level: energy of 40 mel filters as in `FbankFeaturizer`, in dB. With `normalize_level` it is relative to the whole
      clip, pauses included: the more pauses, the higher the level of speech;
    - periodicity: height of the peak of the autocorrelation (Boersma 1993), in [0, 1]. The harmonics-to-noise ratio is
      periodicity / (1 - periodicity);
    - pitch: of voiced frames, by the place of this peak, in semitones above 27.5 Hz, as the median of five frames;
    - mfcc1, mfcc2 and so on: orthonormal cosine transform of the natural logarithms of the 40 energies.

    Each is described by its mean, standard deviation (`std`) and root mean square slope per second. Level, periodicity,
    pitch and the first 8 coefficients are described in detail, by

    - percentiles (`p5` to `p95`);
    - `trend` and `curve`: the coefficients of the second and third Legendre polynomial fitted over the time from the first to
      the last frame;
    - autocorrelations, at 50 to 300 ms, which reflect the rhythm;
    - relations of each pair in voiced frames, such as `level_with_pitch`: elements of the logarithm of their matrix of
      correlations, to whose diagonal 0.05 is added.

    Frames are speech if their level is at most 30 dB below that of the loudest 50 ms, so pauses count in noise that is louder.
    They are voiced if their periodicity is at least 0.45 besides. If fewer than five are, as in a whisper, the five most
    periodic ones of speech count as voiced. Four values describe the rhythm: the share of voiced frames in speech, voiced
    segments per second of speech, and mean and standard deviation of their length in seconds. All clips are resampled to 16 kHz.

    References
    ----------
    P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
    sound", Proceedings of the Institute of Phonetic Sciences 17, 1993.

    V. Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion tensors", Magnetic Resonance in Medicine
    56, 2006.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
    >>> features = AcousticFeaturizer(cache=None).set_output(transform="pandas").transform([(tone, 16000)])
    >>> features["pitch_mean"].round(1).item()  # three octaves above 27.5 Hz
    36.0
    """

    n_mfcc: int = 20
    _: KW_ONLY
    f0_min: float = 75.0
    f0_max: float = 600.0
    f_min: float = 20.0
    f_max: float = 7600.0
    normalize_level: bool = True
    sampling_rate: float | None = None
    cache: bool | str | FeatureCache | None = True
    n_jobs: int | None = None
    on_error: Literal["raise", "nan", "skip_with_warning"] = "raise"
    verbose: int = 0

    def _encoders(self) -> list[Encoder]:
        return [self._encoder()] * joblib.effective_n_jobs(self.n_jobs)

    def _encoder(self) -> AcousticEncoder:
        """Check the parameters and return an encoder of clips."""
        check_integer("n_mfcc", self.n_mfcc, 1)
        if self.n_mfcc >= N_MELS:
            raise ValueError(f"Got n_mfcc={shown(self.n_mfcc)}, expected at most {N_MELS - 1}.")
        check_real("f0_max", self.f0_max, 0, SAMPLING_RATE / 4, low_open=True)
        check_real("f0_min", self.f0_min, 20, self.f0_max, high_open=True)
        check_real("f_min", self.f_min, 0, MOST_F_MIN, high_open=True)
        check_real("f_max", self.f_max, LEAST_F_MAX, SAMPLING_RATE / 2)
        check_flag("normalize_level", self.normalize_level)
        fbank = FbankFeaturizer(
            N_MELS,
            hop_seconds=SECONDS,
            f_min=self.f_min,
            f_max=self.f_max,
            normalize_level=self.normalize_level,
            pooling="none",
        ).encoder()
        return AcousticEncoder(fbank, int(self.n_mfcc), float(self.f0_min), float(self.f0_max))

    def _names(self) -> list[str]:
        cepstrum = [f"mfcc{i + 1}" for i in range(self._encoder().n_mfcc)]
        detailed = [*PROSODY, *cepstrum[:N_DETAILED]]
        names = [f"{contour}_{statistic}" for contour in detailed for statistic in (*STATISTICS, *DETAILS)]
        names += [f"{contour}_{statistic}" for contour in cepstrum[N_DETAILED:] for statistic in STATISTICS]
        return [*names, *(f"{a}_with_{b}" for a, b in combinations(detailed, 2)), *RHYTHM]


@dataclass
class AcousticEncoder(ClipwiseEncoder):
    """Acoustic functionals of samples at 16 kHz; the parameters are those of `AcousticFeaturizer`."""

    sampling_rate = SAMPLING_RATE

    fbank: FbankEncoder
    n_mfcc: int
    f0_min: float
    f0_max: float

    def __post_init__(self) -> None:
        detailed = len(PROSODY) + min(self.n_mfcc, N_DETAILED)
        width = len(STATISTICS) * (len(PROSODY) + self.n_mfcc) + len(DETAILS) * detailed
        self.row_shape = (width + detailed * (detailed - 1) // 2 + len(RHYTHM),)

    @property
    def identity(self) -> dict[str, Any]:
        return {"features": "acoustic", **asdict(self)}

    def _row(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        log_mel = self.fbank.log_mel(wave)  # (frames, mels)
        window, hop = self.fbank.window, self.fbank.hop
        f0, periodicity = pitch(wave, len(log_mel), self.f0_min, self.f0_max, center=window // 2, hop=hop)
        level = 10 / np.log(10) * np.logaddexp.reduce(log_mel, axis=1)
        speech = level >= median_filter(level, 5, mode="nearest").max() - SPEECH_RANGE  # a click is no speech
        heard = np.where(speech, periodicity, 0)
        voiced = speech & (heard >= min(VOICING_THRESHOLD, np.sort(heard)[-LEAST_VOICED:][0]))
        semitones = 12 * np.log2(median_filter(f0, 5, mode="nearest") / SEMITONES_FROM)
        cepstrum = dct(log_mel, axis=1, norm="ortho")[:, 1 : self.n_mfcc + 1]
        detailed = np.column_stack([level, periodicity, semitones, cepstrum[:, :N_DETAILED]])
        masks = [voiced if contour is semitones else speech for contour in (level, periodicity, semitones)]
        parts = [_statistics(detailed[:, [i]], mask, detailed=True) for i, mask in enumerate(masks)]
        parts += [_statistics(detailed[:, len(masks) :], speech, detailed=True)]
        parts += [_statistics(cepstrum[:, N_DETAILED:], speech), _relations(detailed[voiced]), _rhythm(speech, voiced)]
        return np.concatenate(parts).astype(np.float32)


def _statistics(contours: NDArray[np.float64], used: NDArray[np.bool_], detailed: bool = False) -> NDArray[np.float64]:
    """
    Statistics of each contour in the frames used: (frames, d) -> (d * statistics,).

    They are those of `STATISTICS`, and if detailed those of `DETAILS`.
    """
    values = contours[used]
    mean = values.mean(axis=0)
    # The slope at a frame depends on two frames on each side.
    steep = slopes(contours)[binary_erosion(used, iterations=2, border_value=1)] / SECONDS
    slope = np.sqrt((steep**2).sum(axis=0) / max(len(steep), 1))
    parts = [mean, values.std(axis=0), slope]
    if detailed:
        at = np.flatnonzero(used)
        at = 2 * (at - at[0]) / max(at[-1] - at[0], 1) - 1
        # Frames in two short groups far apart, as of a whisper, do not tell the curve.
        course = np.linalg.lstsq(legvander(at, 2), values - mean, rcond=0.1)[0]
        apart = np.where(used[:, None], contours - mean, 0)
        power = np.maximum((apart**2).sum(axis=0), len(values) * ROUNDING**2)
        parts += [*np.percentile(values, PERCENTILES, axis=0), *course[1:]]
        parts += [(apart[:-lag] * apart[lag:]).sum(axis=0) / power for lag in LAGS]
    return np.vstack(parts).T.ravel()


def _relations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Logarithm of the matrix of correlations between contours (frames, d), of which the part above the diagonal is returned.

    In the logarithm, distances between such matrices make sense (Arsigny et al. 2006).
    """
    values = values - values.mean(axis=0)
    values /= np.maximum(values.std(axis=0), ROUNDING)
    eigenvalues, vectors = np.linalg.eigh(values.T @ values / len(values) + RIDGE * np.eye(values.shape[1]))
    return ((vectors * np.log(eigenvalues)) @ vectors.T)[np.triu_indices(values.shape[1], 1)]


def _rhythm(speech: NDArray[np.bool_], voiced: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The values of `RHYTHM`, from masks of frames."""
    steps = np.diff(voiced.astype(int), prepend=0, append=0)
    seconds = (np.flatnonzero(steps < 0) - np.flatnonzero(steps > 0)) * SECONDS
    return np.array(
        [voiced.sum() / speech.sum(), len(seconds) / (speech.sum() * SECONDS), seconds.mean(), seconds.std()]
    )
