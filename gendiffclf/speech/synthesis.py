"""Source-filter synthesis of vowels from published measurements, for demos and tests without downloads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import lfilter

from ..optional import require
from ..validation import check_choice, check_integer, check_real

if TYPE_CHECKING:
    import pandas as pd

RATE = 16000
"""Sampling rate of synthesised speech, in Hz."""


# G. E. Peterson and H. L. Barney, "Control methods used in a study of the vowels", JASA 24 (1952), Table II:
# averages over 33 men and 28 women of the vowels in these words, as
# pitch and three formants in Hz.
VOWELS: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "male": {
        "heed": (136, 270, 2290, 3010),
        "hid": (135, 390, 1990, 2550),
        "head": (130, 530, 1840, 2480),
        "had": (127, 660, 1720, 2410),
        "hod": (124, 730, 1090, 2440),
        "hawed": (129, 570, 840, 2410),
        "hood": (137, 440, 1020, 2240),
        "who'd": (141, 300, 870, 2240),
        "hud": (130, 640, 1190, 2390),
        "heard": (133, 490, 1350, 1690),
    },
    "female": {
        "heed": (235, 310, 2790, 3310),
        "hid": (232, 430, 2480, 3070),
        "head": (223, 610, 2330, 2990),
        "had": (210, 860, 2050, 2850),
        "hod": (212, 850, 1220, 2810),
        "hawed": (216, 590, 920, 2710),
        "hood": (232, 470, 1160, 2680),
        "who'd": (231, 370, 950, 2670),
        "hud": (221, 760, 1400, 2780),
        "heard": (218, 500, 1640, 1960),
    },
}
# Fourth and fifth resonance of a uniform tube, (2n - 1) c / 4L, for c = 350 m/s and a length of 17.5 or 14.7 cm.
HIGH_FORMANTS = {"male": (3500.0, 4500.0), "female": (4167.0, 5357.0)}
BANDWIDTHS = (60.0, 90.0, 150.0, 200.0, 250.0)
"""Bandwidths of the five formants, in Hz: round values in the measured range."""

OPENING, CLOSING = 0.4, 0.56
"""Ends of the opening and the closing phase of the glottis, as shares of a period (Rosenberg's pulse)."""
FADE_SECONDS = 0.02
DECLINATION = 0.1
"""Relative fall of the pitch over a vowel."""
JITTER, SHIMMER = 0.01, 0.03
PITCH_SPREAD, TRACT_SPREAD, TAKE_SPREAD = 0.1, 0.03, 0.02
"""Relative standard deviations of pitch and vocal tract length between voices, and of formants between takes."""


def synthesize_vowel(
    vowel: str,
    gender: str,
    *,
    seconds: float = 0.4,
    pitch: float = 1.0,
    tract: float = 1.0,
    breath: float = 0.01,
    level: float = 0.3,
    random_state: Any = None,
) -> np.ndarray:
    """
    Synthesise one vowel.

    Parameters
    ----------
    vowel : str
        Word with the vowel: heed, hid, head, had, hod, hawed, hood, who'd, hud or heard.
    gender : {"male", "female"}
        Selects average formants and pitch.
    seconds : float, default=0.4
        Length, in seconds.
    pitch, tract : float, default=1.0
        Factors on the pitch, and on the length of the vocal tract.
    breath : float, default=0.01
        Level of the added noise.
    level : float, default=0.3
        Peak of the samples, in (0, 1].
    random_state : int, Generator or None, default=None
        Seed of jitter, shimmer and noise.

    Returns
    -------
    samples : ndarray of shape (16000 * seconds,), float32
        In [-1, 1], at 16 kHz.

    Raises
    ------
    ValueError
        If there is no such vowel or gender, or a number is out of range.

    Notes
    -----
    Formants and pitch are the averages of Peterson and Barney (1952). The source is Rosenberg's glottal pulse with jitter,
    shimmer and falling pitch, differentiated for the radiation at the lips; the filter is a cascade of five resonances.

    Examples
    --------
    >>> from gendiffclf.speech import synthesize_vowel
    >>> synthesize_vowel("heed", "female", seconds=0.5, random_state=0).shape
    (8000,)
    """
    check_choice("gender", gender, VOWELS)
    check_choice("vowel", vowel, VOWELS[gender])
    for name, value in (("seconds", seconds), ("pitch", pitch), ("tract", tract)):
        check_real(name, value, 0, low_open=True)
    check_real("breath", breath, 0)
    check_real("level", level, 0, 1, low_open=True)
    rng = np.random.default_rng(random_state)
    mean_pitch, *formants = VOWELS[gender][vowel]
    n_samples = max(1, round(seconds * RATE))
    wave = _source(mean_pitch * pitch, n_samples, rng) + breath * rng.normal(size=n_samples)
    for formant, bandwidth in zip((*formants, *HIGH_FORMANTS[gender]), BANDWIDTHS, strict=True):
        wave = _resonance(wave, formant / tract, bandwidth)
    fade = min(round(FADE_SECONDS * RATE), n_samples // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))
    wave[:fade] *= ramp
    wave[n_samples - fade :] *= ramp[::-1]
    return (level * wave / max(np.abs(wave).max(), 1e-12)).astype(np.float32)


def synthesize_corpus(
    folder: str | os.PathLike[str],
    *,
    n_speakers: int = 12,
    n_takes: int = 2,
    vowels: tuple[str, ...] = tuple(VOWELS["male"]),
    random_state: int = 0,
) -> pd.DataFrame:
    """
    Write a small corpus of vowels as wav files.

    Parameters
    ----------
    folder : path-like
        Created if missing; gets a subfolder for each speaker.
    n_speakers : int >= 2, default=12
        Number of speakers, alternating men and women, with different pitch, vocal tract length and breathiness.
    n_takes : int >= 1, default=2
        Number of clips of each vowel by each speaker, with different length, pitch and level.
    vowels : tuple of str, optional
        By default all ten, see `synthesize_vowel`.
    random_state : int, default=0
        Seed of voices and takes.

    Returns
    -------
    corpus : DataFrame
        `path`, `label` (the word), `speaker`, `gender`, `take`.

    Examples
    --------
    >>> import tempfile
    >>> from gendiffclf.speech import synthesize_corpus
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = synthesize_corpus(folder, n_speakers=2, n_takes=1, vowels=("heed", "hod"))
    >>> corpus[["label", "speaker", "gender"]]
      label speaker  gender
    0  heed     m01    male
    1   hod     m01    male
    2  heed     f02  female
    3   hod     f02  female
    """
    pandas, soundfile = require("pandas"), require("soundfile")
    check_integer("n_speakers", n_speakers, 2)
    check_integer("n_takes", n_takes, 1)
    rng = np.random.default_rng(random_state)
    rows = []
    for number, voice in enumerate(list(_voices(n_speakers, rng)), 1):
        name = f"{voice['gender'][0]}{number:02}"
        for vowel, take in itertools.product(vowels, range(n_takes)):
            own = {
                "seconds": rng.uniform(0.25, 0.5),
                "pitch": voice["pitch"] * rng.normal(1, PITCH_SPREAD / 2),
                "tract": voice["tract"] * rng.normal(1, TAKE_SPREAD),
                "level": rng.uniform(0.1, 0.8),
            }
            samples = synthesize_vowel(vowel, **{**voice, **own}, random_state=rng)
            path = Path(folder) / name / f"{vowel.replace(chr(39), '')}_{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE)
            rows.append((str(path), vowel, name, voice["gender"], take))
    return pandas.DataFrame(rows, columns=["path", "label", "speaker", "gender", "take"])


def _voices(n_speakers: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield parameters of `synthesize_vowel` for voices around the averages, alternating men and women."""
    for i in range(n_speakers):
        pitch, tract = 1 + np.array((PITCH_SPREAD, TRACT_SPREAD)) * rng.normal(size=2).clip(-2, 2)
        yield {"gender": ("male", "female")[i % 2], "pitch": pitch, "tract": tract, "breath": rng.uniform(0.002, 0.03)}


def _source(pitch: float, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Derivative of the glottal flow with unit peak, of shape (n_samples,)."""
    n_periods = int(n_samples * pitch / RATE) + 2
    jitter = 1 + JITTER * rng.normal(size=n_periods)
    shimmer = 1 + SHIMMER * rng.normal(size=n_periods)
    fall = 1 + DECLINATION * (0.5 - np.arange(n_periods) / n_periods)
    starts = np.concatenate([[0], np.cumsum(RATE / (pitch * jitter * fall))])  # first sample of each period
    time = np.arange(n_samples)
    period = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, n_periods - 1)
    phase = (time - starts[period]) / (starts[period + 1] - starts[period])
    opening = 0.5 - 0.5 * np.cos(np.pi * phase / OPENING)
    closing = np.cos(0.5 * np.pi * (phase - OPENING) / (CLOSING - OPENING))
    flow = np.where(phase < OPENING, opening, np.where(phase < CLOSING, closing, 0.0)) * shimmer[period]
    slope = np.diff(flow, prepend=0.0)
    return slope / max(np.abs(slope).max(), 1e-12)


def _resonance(wave: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Filter by a formant: two poles, with unit gain at 0 Hz."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2
    return lfilter([1 + a1 + a2], [1, a1, a2], wave)
