"""Acoustic functionals: pitch against vowels of known pitch, and what the statistics depend on."""

import numpy as np
import pytest
import sklearn
from scipy.linalg import logm
from scipy.signal import butter, resample_poly, sosfiltfilt

from gendiffclf.featurizers import AcousticFeaturizer, acoustic
from gendiffclf.featurizers.acoustic import LAGS, LEAST_VOICED, PERCENTILES, RIDGE, VOICING_THRESHOLD
from gendiffclf.featurizers.pitch import pitch
from gendiffclf.speech.synthesis import VOWELS, synthesize_vowel

from .conftest import RATE, tone


def contour(wave, **changed):
    """Pitch and periodicity in frames of 25 ms every 10 ms that lie within a clip."""
    bounds = {"f0_min": 75.0, "f0_max": 600.0} | changed
    return pitch(wave, (len(wave) - 400) // 160 + 1, **bounds, center=200, hop=160)


def sine(frequency):
    """A second of a pure tone."""
    return np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE + 0.3).astype(np.float32)


def features(*clips, **parameters):
    """Table of features of clips at 16 kHz."""
    featurizer = AcousticFeaturizer(cache=None, **parameters).set_output(transform="pandas")
    return featurizer.transform([(clip, RATE) for clip in clips])


def vowel(word="hod", gender="female", seconds=0.5, **changed):
    return synthesize_vowel(word, gender, seconds=seconds, random_state=0, **changed)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.8])
@pytest.mark.parametrize("gender", VOWELS)
def test_the_pitch_of_vowels(gender, factor):
    for word, (f0, *_) in VOWELS[gender].items():
        found, periodicity = contour(vowel(word, gender, pitch=factor))
        # Jitter and the fall of the pitch over a vowel are 10 % in all.
        np.testing.assert_allclose(np.median(found[5:-5]), factor * f0, rtol=0.03)
        assert np.mean(np.abs(found[5:-5] / (factor * f0) - 1) > 0.2) < 0.03
        assert np.median(periodicity) > 0.9


@pytest.mark.parametrize("f0", [76, 110, 220.5, 441.3, 590])
def test_the_pitch_of_pulses(f0):
    np.testing.assert_allclose(contour(np.sign(sine(f0)))[0][5:-5], f0, rtol=0.01)


@pytest.mark.parametrize("lag", [27.5, 35.25, 100.75])
def test_pitch_and_periodicity_between_two_lags(lag):
    found, periodicity = contour(sine(RATE / lag))
    np.testing.assert_allclose(found[5:-5], RATE / lag, rtol=1e-4)
    np.testing.assert_allclose(periodicity[5:-5], 1, atol=1e-4)


def test_periodicity_is_at_most_one():
    assert contour(sine(76))[1].max() == 1  # the highest parabola reaches 1.0009


def test_a_constant_offset_changes_no_pitch():
    spoken = vowel()
    for shifted, plain in zip(contour(spoken + 0.5), contour(spoken), strict=True):
        np.testing.assert_allclose(shifted[5:-5], plain[5:-5], rtol=1e-3)


def test_bounds_of_the_pitch():
    found, _ = contour(tone(1, 220), f0_min=75, f0_max=180)
    np.testing.assert_allclose(found[5:-5], 110, rtol=0.01)


def test_noise_has_no_voice():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    assert contour(noise)[1].max() < VOICING_THRESHOLD


def test_long_clips_are_read_in_blocks():
    glide = np.sin(2 * np.pi * np.cumsum(np.linspace(100, 300, 25 * RATE)) / RATE).astype(np.float32)
    found, _ = contour(glide)
    np.testing.assert_allclose(found[5:-5], np.linspace(100, 300, 25 * RATE)[200::160][: len(found)][5:-5], rtol=0.01)
    np.testing.assert_allclose(found[990:1200], contour(glide[980 * 160 : 1220 * 160])[0][10:220], rtol=1e-5)


def test_statistics_of_a_glide():
    seconds = np.arange(RATE) / RATE
    glide = np.sin(2 * np.pi * 110 * 2**seconds * np.log2(np.e))  # an octave a second, from 110 Hz
    row = features(glide).iloc[0]
    assert abs(row["pitch_mean"] - 30) < 0.1  # half an octave above the second of 27.5 Hz
    assert abs(row["pitch_std"] - 12 / np.sqrt(12)) < 0.2
    assert abs(row["pitch_slope"] - 12) < 0.2
    np.testing.assert_allclose([row[f"pitch_p{p}"] for p in PERCENTILES], [24.6, 26.4, 30, 33.6, 35.4], atol=0.3)


def test_one_wrong_frame_changes_no_pitch(monkeypatch):
    def wrong(wave, n_frames, *bounds, **frames):
        f0 = np.full(n_frames, 220.0)
        f0[20] = 440
        return f0, np.ones(n_frames)

    monkeypatch.setattr(acoustic, "pitch", wrong)
    found = features(tone(0.5)).filter(regex="^pitch_(mean|std|slope|p|trend|curve|auto)").iloc[0].tolist()
    assert found == [36, 0, 0, 36, 36, 36, 36, 36, *[0] * (2 + len(LAGS))]


def test_frames_that_do_not_count_change_no_statistic():
    rng = np.random.default_rng(0)
    contours, used = rng.normal(size=(100, 3)), np.repeat(rng.random(10) < 0.5, 10)
    changed = np.where(used[:, None], contours, 1e3)
    found = acoustic._statistics(changed, used, detailed=True)
    np.testing.assert_array_equal(found, acoustic._statistics(contours, used, detailed=True))
    np.testing.assert_array_equal(found.reshape(3, -1)[:, 0], contours[used].mean(axis=0))


def test_the_course_of_a_contour():
    used = np.repeat([False, True, False, True], [10, 41, 20, 30])
    at = np.linspace(-1, 1, 91)[used[10:]]  # from the first frame used to the last
    contours = np.full((101, 2), 1e3)
    contours[used] = np.column_stack([5 + 3 * at, 7 - 2 * at + 4 * (1.5 * at**2 - 0.5)])
    found = acoustic._statistics(contours, used, detailed=True).reshape(2, -1)[:, 8:10]
    np.testing.assert_allclose(found, [[3, 0], [-2, 4]], atol=1e-9)


def test_few_frames_far_apart_have_no_steep_course():
    used = np.zeros(200, bool)
    used[[0, 1, 2, 198, 199]] = True
    contours = np.random.default_rng(0).normal(size=(200, 3))
    found = acoustic._statistics(contours, used, detailed=True).reshape(3, -1)[:, 8:10]
    assert np.abs(found).max() < 3


def test_the_autocorrelation_of_a_contour():
    wave = np.sin(2 * np.pi * np.arange(2000) / 20)[:, None]  # a period of 200 ms
    found = acoustic._statistics(wave, np.ones(2000, bool), detailed=True)[-len(LAGS) :]
    np.testing.assert_allclose(found, np.cos(2 * np.pi * np.array(LAGS) / 20), atol=0.02)
    constant = acoustic._statistics(np.full((37, 1), 0.1), np.ones(37, bool), detailed=True)[-len(LAGS) :]
    np.testing.assert_allclose(constant, 0, atol=1e-9)  # whose mean is rounded


def test_relations_are_the_logarithm_of_correlations():
    values = np.random.default_rng(0).normal(size=(200, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
    expected = logm(np.corrcoef(values.T) + RIDGE * np.eye(4))[np.triu_indices(4, 1)]
    np.testing.assert_allclose(acoustic._relations(values), expected, atol=1e-9)
    np.testing.assert_allclose(acoustic._relations(values * [1, 10, 100, 1e-3] + 5), expected, atol=1e-6)
    still = np.column_stack([values[:, 0], np.full(200, 0.1)])
    np.testing.assert_allclose(acoustic._relations(still), 0, atol=1e-12)


def test_what_relations_are_of():
    seconds = np.arange(RATE) / RATE
    louder = np.sin(2 * np.pi * 110 * 2**seconds * np.log2(np.e)) * np.exp(seconds)  # higher and louder
    softer = np.sin(2 * np.pi * 110 * 2**seconds * np.log2(np.e)) * np.exp(-seconds)
    rows = features(louder, softer)
    assert rows["level_with_pitch"][0] > 0.3
    assert rows["level_with_pitch"][1] < -0.3
    assert abs(rows["level_trend"].diff()[1] + 20 * np.log10(np.e)) < 0.5  # half of what they change over a second
    assert rows["pitch_trend"].min() > 5.5  # half of an octave


def test_spectrum_is_of_speech_and_relations_are_of_voiced_frames():
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE).astype(np.float32)
    spoken = (vowel(seconds=1.0) * np.exp(-2 * np.arange(RATE) / RATE)).astype(np.float32)
    both, voiced, unvoiced = features(np.concatenate([spoken, noise]), spoken, noise).iloc
    assert abs(both["mfcc1_mean"] - (voiced["mfcc1_mean"] + unvoiced["mfcc1_mean"]) / 2) < 1
    assert (both - voiced).filter(like="_with_").abs().max() < 0.2
    assert (both - unvoiced).filter(like="_with_").abs().max() > 1


def test_a_clip_of_three_frames_has_slopes():
    assert features(tone(0.05) * np.linspace(0.1, 1, RATE // 20))["level_slope"].item() > 10


def test_pauses_do_not_count():
    spoken = vowel(seconds=1.0)
    hiss = np.random.default_rng(0).normal(scale=1e-5, size=RATE).astype(np.float32)
    rows = features(spoken, np.concatenate([hiss, spoken, hiss]), normalize_level=False)
    steady = rows.drop(columns=[name for name in rows if name.endswith("slope")])
    # Frames at the ends of the vowel have parts of both.
    np.testing.assert_allclose(steady.iloc[1], steady.iloc[0], rtol=0.1, atol=1.0)
    assert rows["voiced_share"].min() > 0.9


def test_rhythm():
    gap = np.zeros(RATE // 5, np.float32)
    row = features(np.concatenate([vowel(seconds=0.3), gap, vowel(seconds=0.6), gap, vowel(seconds=0.3)])).iloc[0]
    speech = 1.2
    assert abs(row["voiced_segments_per_second"] - 3 / speech) < 0.3
    assert abs(row["voiced_seconds_mean"] - 0.4) < 0.05
    assert abs(row["voiced_seconds_std"] - np.std([0.3, 0.6, 0.3])) < 0.03
    assert row["voiced_share"] > 0.9


def test_frames_without_voice_have_periodicity_but_no_pitch():
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE).astype(np.float32)
    row, spoken = features(np.concatenate([vowel(seconds=1.0), noise]), vowel(seconds=1.0)).iloc
    assert 0.5 < row["periodicity_mean"] < 0.65
    assert abs(row["voiced_share"] - 0.5) < 0.05
    assert abs(row["pitch_mean"] - spoken["pitch_mean"]) < 0.1


def test_a_voice_in_noise_is_voiced():
    spoken = vowel()
    noise = np.random.default_rng(0).normal(scale=0.7 * spoken.std(), size=len(spoken))  # 3 dB below the voice
    assert features(spoken + noise)["voiced_share"].item() > 0.9


def test_the_most_periodic_frames_of_a_whisper_count_as_voiced():
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE).astype(np.float32)
    row = features(np.concatenate([1e-4 * tone(1), noise])).iloc[0]  # the tone is no speech
    assert round(row["voiced_share"] * 100) == LEAST_VOICED
    burst = np.pad(noise[:100], RATE // 2)
    assert features(burst)["voiced_share"].item() == 1  # of at most three frames of speech


def test_the_level_can_be_kept():
    loud, soft = vowel(level=0.5), vowel(level=0.05)
    rows = features(loud, soft)
    np.testing.assert_allclose(rows.iloc[0], rows.iloc[1], rtol=1e-2, atol=1e-2)
    kept = features(loud, soft, normalize_level=False)
    assert abs(kept["level_mean"].diff().iloc[1] + 20) < 0.1
    np.testing.assert_allclose(kept["pitch_mean"].diff().iloc[1], 0, atol=1e-3)


def test_a_click_is_no_speech():
    clicked = np.concatenate([np.zeros(RATE // 2, np.float32), 0.01 * vowel(seconds=1.0)])
    clicked[1000:1016] = 1.0
    pair = features(0.01 * vowel(seconds=1.0), clicked)
    np.testing.assert_allclose(pair["pitch_mean"].iloc[1], pair["pitch_mean"].iloc[0], atol=0.2)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(RATE, np.float32),
        np.ones(3, np.float32),
        np.random.default_rng(0).normal(size=RATE).astype(np.float32),
        np.full(RATE, 0.5, np.float32),
    ],
    ids=["silence", "three samples", "noise", "constant"],
)
def test_clips_without_voice_have_a_row(wave):
    assert np.isfinite(features(wave)).all(axis=None)


def test_a_row_has_the_width_that_is_documented():
    for n_mfcc, width in {1: 66, 8: 213, 20: 249, 39: 306}.items():
        assert features(tone(0.3), n_mfcc=n_mfcc).shape == (1, width)


def test_tables_for_all_of_scikit_learn():
    with sklearn.config_context(transform_output="pandas"):
        assert list(AcousticFeaturizer(1, cache=None).transform([(tone(0.3), RATE)]))[:2] == ["level_mean", "level_std"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_mfcc": 0}, "Got n_mfcc=0, expected an integer >= 1"),
        ({"n_mfcc": 40}, "Got n_mfcc=40, expected at most 39"),
        ({"f0_min": 600}, "Got f0_min=600"),
        ({"f0_min": 5}, "Got f0_min=5"),
        ({"f0_max": 5000}, "Got f0_max=5000"),
        ({"f_min": 500}, "Got f_min=500, expected a number in .0, 500.0"),
        ({"f_max": 9000}, "Got f_max=9000, expected a number in"),
        ({"f_max": 300}, "Got f_max=300, expected a number in .1500.0, 8000.0"),
        ({"normalize_level": 1}, "Got normalize_level=1, expected True or False"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(ValueError, match=message):
        features(tone(0.3), **wrong)
    with pytest.raises(ValueError, match=message):
        AcousticFeaturizer(**wrong).get_feature_names_out()


def test_a_band_makes_telephone_speech_alike():
    wide = vowel(seconds=1.0)
    passed = butter(4, (300, 3400), "bandpass", fs=RATE, output="sos")
    narrow = resample_poly(sosfiltfilt(passed, wide), 1, 2)
    differences = []
    for band in ({"f_min": 300, "f_max": 3400}, {}):
        featurizer = AcousticFeaturizer(**band, cache=None).set_output(transform="pandas")
        rows = featurizer.transform([(wide, RATE), (narrow, RATE // 2)]).filter(regex="mfcc.*mean")
        differences.append(rows.diff().iloc[1].abs().max())
    assert differences[0] < 1 < 5 < differences[1]
