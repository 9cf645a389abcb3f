"""openSMILE's features are those of the package, with this package's inputs, cache and errors."""

import logging

import numpy as np
import pytest

from gendiffclf.featurizers import EgemapsFeaturizer, egemaps

from .conftest import RATE, tone

opensmile = pytest.importorskip("opensmile")


def reference(wave, feature_set, level):
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[level])
    return smile.process_signal(wave, RATE)


@pytest.mark.parametrize(("feature_set", "count"), [("eGeMAPSv02", 88), ("GeMAPSv01b", 62), ("ComParE_2016", 6373)])
def test_functionals_are_those_of_the_package(feature_set, count):
    wave = tone(0.6, 180)
    featurizer = EgemapsFeaturizer(feature_set, cache=None)
    found = featurizer.transform([(wave, RATE)])
    expected = reference(wave, feature_set, "Functionals")
    assert found.shape == (1, count)
    np.testing.assert_allclose(found, expected.to_numpy(), rtol=1e-6)
    assert list(featurizer.get_feature_names_out()) == list(expected.columns)


def test_descriptors_are_frames(clips):
    found = EgemapsFeaturizer(level="lld", cache=None).transform(clips)
    assert [frames.shape[1] for frames in found] == [25] * len(clips)
    expected = reference(clips[5][0], "eGeMAPSv02", "LowLevelDescriptors").to_numpy()
    np.testing.assert_allclose(found[5], expected, rtol=1e-6)


def test_pitch_is_the_tones():
    pulses = (np.arange(RATE) % 100 == 0).astype(np.float32)  # 160 Hz
    featurizer = EgemapsFeaturizer(cache=None).set_output(transform="pandas")
    semitones = featurizer.transform([(pulses, RATE)])["F0semitoneFrom27.5Hz_sma3nz_amean"]
    assert semitones[0] == pytest.approx(12 * np.log2(160 / 27.5), abs=0.3)


def test_a_clip_too_short_is_a_broken_clip(clips):
    featurizer = EgemapsFeaturizer(cache=None, on_error="nan")
    found = featurizer.transform([clips[0], (tone(0.01), RATE)])
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert "its 0.01 s are too short for openSMILE, expected at least about 60 ms" in featurizer.failures_[0].reason


def test_the_licence_is_said_once(clips, caplog):
    egemaps.load_opensmile.cache_clear()
    with caplog.at_level(logging.WARNING, "gendiffclf"):
        EgemapsFeaturizer(cache=None).transform(clips)
        EgemapsFeaturizer(cache=None).transform(clips)
    assert sum("research and education only" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"feature_set": "IS09"}, "Got feature_set='IS09', expected one of 'eGeMAPSv02'"),
        ({"level": "frames"}, "Got level='frames', expected one of 'functionals', 'lld'"),
    ],
)
def test_bad_parameters(parameters, message, clips):
    with pytest.raises(ValueError, match=message):
        EgemapsFeaturizer(**parameters).fit(clips)


def test_the_package_is_named_when_it_is_missing(monkeypatch, clips):
    import sys

    egemaps.load_opensmile.cache_clear()
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ImportError, match=r"'opensmile', which is not installed: `pip install -e '.\[egemaps\]'`"):
        EgemapsFeaturizer().fit(clips)
