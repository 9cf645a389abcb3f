"""Filterbank energies against the reference of transformers, and the statistics over them."""

import tracemalloc

import numpy as np
import pytest
import transformers
from transformers import audio_utils

from gendiffclf.featurizers import FbankFeaturizer
from gendiffclf.featurizers.mel import ENERGY_FLOOR, FbankEncoder, mel_filters, normalized_level, slopes

from .conftest import RATE, tone

DEFAULT = {"n_mels": 80, "window": 400, "hop": 160, "f_min": 20.0, "f_max": 7600.0, "pre_emphasis": 0.97, "dither": 1.0}
DEFAULT |= {"normalize_level": False}


def encoder(deltas=0, pooling="mean", **changed):
    return FbankEncoder(**DEFAULT | changed, deltas=deltas, pooling=pooling)


@pytest.mark.parametrize(
    "changed", [{}, {"n_mels": 23, "f_max": 8000.0}, {"window": 320, "hop": 100}, {"pre_emphasis": 0.5}]
)
def test_energies_agree_with_a_reference(changed):
    s = DEFAULT | changed
    wave = tone(0.5, 700)
    n_fft = 512  # the next power of two
    filters = mel_filters(s["n_mels"], n_fft, s["f_min"], s["f_max"])
    reference = audio_utils.spectrogram(
        wave.astype(np.float64),
        audio_utils.window_function(s["window"], "povey", periodic=False),
        frame_length=s["window"],
        hop_length=s["hop"],
        fft_length=n_fft,
        power=2.0,
        center=False,
        preemphasis=s["pre_emphasis"],
        mel_filters=filters,
        mel_floor=ENERGY_FLOOR,
        log_mel="log",
        remove_dc_offset=True,
        dtype=np.float64,
    ).T
    np.testing.assert_allclose(encoder(**changed, dither=0.0).log_mel(wave), reference, atol=1e-5)


def test_long_clips_are_encoded_in_blocks():
    wave = np.random.default_rng(0).normal(size=60 * RATE).astype(np.float32)
    tracemalloc.start()
    found = encoder().log_mel(wave)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * len(wave)  # a copy of all frames would be 2.5 times as long as the samples
    np.testing.assert_allclose(found[990:1010], encoder().log_mel(wave[990 * 160 : 1012 * 160])[:20], rtol=1e-12)


def test_dither_is_the_expected_energy_of_noise():
    noise = np.random.default_rng(0).normal(scale=500 / 32768, size=30 * RATE)  # well above Kaldi's floor
    measured = np.log(np.exp(encoder(dither=0.0).log_mel(noise)).mean(axis=0))
    added = encoder(dither=500.0).log_mel(np.zeros(RATE))[0]
    np.testing.assert_allclose(measured[10:], added[10:], atol=0.05)
    np.testing.assert_allclose(measured, added, atol=0.7)  # a frame's mean and the window's leakage are left out


def test_rounding_anew_changes_the_features_less_with_dither():
    hiss = np.random.default_rng(0).normal(scale=0.5 / 32768, size=RATE)
    quiet = 0.01 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE) + hiss
    clips = [(quiet, RATE), (np.round(quiet * 32768) / 32768, RATE)]
    first, second = FbankFeaturizer(dither=0, normalize_level=False).transform(clips)
    assert np.abs(first - second).max() > 0.2
    first, second = FbankFeaturizer(dither=4, normalize_level=False).transform(clips)
    assert np.abs(first - second).max() < 0.03


def test_filters_agree_with_a_reference():
    reference = audio_utils.mel_filter_bank(
        257, 80, 20.0, 7600.0, RATE, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    if int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip("older versions take 257 bins for 514 samples")
    np.testing.assert_allclose(mel_filters(80, 512, 20.0, 7600.0), reference, atol=1e-9)


def test_a_tone_is_loudest_in_its_own_filter():
    filters = mel_filters(80, 512, 20.0, 7600.0)
    for frequency in (300, 1000, 4000):
        energies = encoder().log_mel(tone(0.3, frequency)).mean(axis=0)
        expected = filters[round(frequency * 512 / RATE)].argmax()
        assert abs(int(energies.argmax()) - int(expected)) <= 1


def test_louder_speech_moves_every_mean_by_the_same_amount_and_no_deviation():
    rng = np.random.default_rng(0)
    wave = rng.normal(scale=0.1, size=RATE)
    quiet, loud = FbankFeaturizer(normalize_level=False).transform([(wave, RATE), (2 * wave, RATE)])
    np.testing.assert_allclose(loud[:80] - quiet[:80], np.log(4), rtol=1e-5)
    np.testing.assert_allclose(loud[80:], quiet[80:], rtol=1e-4)


@pytest.mark.parametrize("gain", [0.1, 1e-3, 7.0])
def test_features_do_not_depend_on_the_level_of_the_recording(gain):
    wave = tone(0.5, 300)
    original, changed = FbankFeaturizer().transform([(wave, RATE), (gain * wave + 0.01, RATE)])
    np.testing.assert_allclose(changed, original, atol=1e-4)


def test_the_normalised_level_is_26_db_below_full_scale():
    found = normalized_level(tone(0.5).astype(np.float64) + 0.2)
    assert 20 * np.log10(np.sqrt((found**2).mean())) == pytest.approx(-26)
    assert found.mean() == pytest.approx(0, abs=1e-12)
    for silence in (np.zeros(10), np.full(1001, 0.1)):
        np.testing.assert_allclose(normalized_level(silence), 0, atol=1e-15)


def test_slopes_of_a_line_are_its_slope():
    frames = np.outer(np.arange(10.0), [1.0, -2.0])
    np.testing.assert_allclose(slopes(frames)[2:-2], np.tile([1.0, -2.0], (6, 1)))
    np.testing.assert_allclose(slopes(np.ones((1, 3))), 0)


@pytest.mark.parametrize("deltas", [0, 1, 2])
@pytest.mark.parametrize("pooling", ["mean", "std", "mean_std", "max"])
def test_statistics_and_their_names(deltas, pooling):
    featurizer = FbankFeaturizer(10, deltas=deltas, pooling=pooling)
    (row,) = featurizer.transform([(tone(0.3), RATE)])
    stack = [encoder(n_mels=10, normalize_level=True).log_mel(tone(0.3))]
    for _ in range(deltas):
        stack.append(slopes(stack[-1]))
    frames = np.concatenate(stack, axis=1)
    parts = {"mean": frames.mean(0), "std": frames.std(0), "max": frames.max(0)}
    wanted = np.concatenate([parts[name] for name in pooling.split("_")])
    np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-6)
    names = featurizer.get_feature_names_out()
    assert len(names) == len(row) == len(set(names))
    assert names[0] == f"mel0_{pooling.split('_')[0]}"


def test_clips_shorter_than_a_frame_are_padded_to_one():
    wave = tone(0.01)
    featurizer = FbankFeaturizer(pooling="mean", normalize_level=False)
    (row,) = featurizer.transform([(wave, RATE)])
    (padded,) = featurizer.transform([(np.pad(wave, (0, 400 - len(wave))), RATE)])
    np.testing.assert_array_equal(row, padded)


def test_silence_is_finite():
    assert np.isfinite(FbankFeaturizer().transform([(np.zeros(4000), RATE)])).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_mels", 0, "Got n_mels=0, expected an integer >= 1"),
        ("window_seconds", 0, "Got window_seconds=0, expected a number in"),
        ("hop_seconds", 0, "Got hop_seconds=0, expected a number in"),
        ("f_max", 9000, r"Got f_max=9000, expected a number in \(0, 8000.0\]"),
        ("f_min", 7600, r"Got f_min=7600, expected a number in \[0, 7600.0\)"),
        ("pre_emphasis", 2, r"Got pre_emphasis=2, expected a number in \[0, 1\]"),
        ("dither", -1, r"Got dither=-1, expected a number in \[0, inf\)"),
        ("deltas", 3, "Got deltas=3, expected 0, 1 or 2"),
        ("normalize_level", 1, "Got normalize_level=1, expected True or False"),
        ("deltas", -1, "Got deltas=-1, expected an integer >= 0"),
        ("pooling", "median", "Got pooling='median', expected one of 'mean', 'std', 'mean_std', 'max'"),
    ],
)
def test_bad_parameters(name, value, message):
    with pytest.raises(ValueError, match=message):
        FbankFeaturizer(**{name: value}).fit([(tone(0.1), RATE)])
