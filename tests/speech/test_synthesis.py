"""Synthesised vowels have the pitch and the formants of the measurements."""

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from gendiffclf.speech import synthesize_corpus, synthesize_vowel
from gendiffclf.speech.synthesis import RATE, VOWELS


def pitch(samples):
    """Of the highest peak of the autocorrelation between 80 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(samples)]
    lags = np.arange(RATE // 400, RATE // 80)
    return RATE / lags[correlation[lags].argmax()]


def formants(samples):
    """Of a linear prediction of order 12."""
    wave = np.diff(samples) * np.hamming(len(samples) - 1)
    correlation = np.correlate(wave, wave, "full")[len(wave) - 1 :]
    roots = np.roots([1, *-solve_toeplitz(correlation[:12], correlation[1:13])])
    narrow = roots[(roots.imag > 0) & (np.abs(roots) > 0.85)]
    return np.sort(np.angle(narrow) * RATE / 2 / np.pi)


@pytest.mark.parametrize("gender", VOWELS)
@pytest.mark.parametrize("vowel", ["heed", "had", "hod", "hud", "heard"])
def test_pitch_and_formants(gender, vowel):
    samples = synthesize_vowel(vowel, gender, seconds=0.4, breath=0.001, random_state=0)[1600:4800]
    mean_pitch, f1, f2, _ = VOWELS[gender][vowel]
    assert pitch(samples) == pytest.approx(mean_pitch, rel=0.08)
    found = formants(samples)
    for formant in (f1, f2):
        assert np.abs(found - formant).min() < 0.15 * formant + 40


def test_factors_move_pitch_and_formants():
    plain, high, short = (
        synthesize_vowel("hod", "male", random_state=0, **changes) for changes in ({}, {"pitch": 1.5}, {"tract": 0.8})
    )
    assert pitch(high) == pytest.approx(1.5 * pitch(plain), rel=0.05)
    assert pitch(short) == pytest.approx(pitch(plain), rel=0.05)
    assert formants(short[1600:4800])[0] > 1.1 * formants(plain[1600:4800])[0]


def test_samples_are_as_asked():
    samples = synthesize_vowel("hid", "female", seconds=0.25, level=0.7, random_state=1)
    assert samples.shape == (4000,)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() == pytest.approx(0.7)
    np.testing.assert_array_equal(samples, synthesize_vowel("hid", "female", seconds=0.25, level=0.7, random_state=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vowel": "hay"}, "Got vowel='hay'"),
        ({"gender": "child"}, "Got gender='child'"),
        ({"seconds": 0}, "Got seconds=0"),
        ({"pitch": -1}, "Got pitch=-1"),
        ({"tract": 0}, "Got tract=0"),
        ({"breath": -1}, "Got breath=-1"),
        ({"level": 2}, "Got level=2"),
    ],
)
def test_wrong_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        synthesize_vowel(**{"vowel": "hid", "gender": "male", **changes})


def test_the_corpus_repeats_itself(tmp_path):
    first, second = (synthesize_corpus(tmp_path / name, n_speakers=2, n_takes=1, vowels=("hid",)) for name in "ab")
    assert [Path(path).read_bytes() for path in first["path"]] == [Path(path).read_bytes() for path in second["path"]]
    assert first["gender"].tolist() == ["male", "female"]
    with pytest.raises(ValueError, match="Got n_speakers=1"):
        synthesize_corpus(tmp_path, n_speakers=1)
    with pytest.raises(ValueError, match="Got n_takes=0"):
        synthesize_corpus(tmp_path, n_takes=0)
