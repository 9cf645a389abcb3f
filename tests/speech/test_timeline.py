"""Labels over time: segments by brute force, windows by hand, and recordings that are decoded once."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from gendiffclf.featurizers import AudioError, FbankFeaturizer, FunctionFeaturizer, SpeakerNormalizer
from gendiffclf.speech import synthesize_vowel, timeline
from gendiffclf.speech.segments import most_probable_segments
from gendiffclf.speech.streaming import SpeechDetector, blocks
from gendiffclf.speech.timelines import overlap_add

RATE = 16000


def tone(seconds, frequency, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture(scope="module")
def pitch():
    """A pipeline that tells low tones from high ones."""
    clips = [(tone(1, f), RATE) for f in (200, 250, 300, 1500, 2000, 2500)]
    return make_pipeline(FbankFeaturizer(20), LogisticRegression()).fit(clips, ["low"] * 3 + ["high"] * 3)


@pytest.fixture
def recording(tmp_path):
    """5 s low, 5 s high, 2.5 s low."""
    path = tmp_path / "r.wav"
    soundfile.write(path, np.concatenate([tone(5, 220), tone(5, 2200), tone(2.5, 260)]), RATE)
    return path


def test_labels_change_where_the_sound_does(pitch, recording):
    found = timeline(pitch, recording, window=1, hop=0.5, min_duration=1, detect_speech=False)
    assert found.segments["label"].tolist() == ["low", "high", "low"]
    np.testing.assert_allclose(found.segments["start"], [0, 5, 10], atol=0.5)
    np.testing.assert_allclose(found.segments["end"].iloc[-1], 12.5)
    assert found.duration == 12.5
    assert len(found.table) == 25
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert str(found).count("low") == 2


def test_a_segment_is_a_recording_of_its_own(pitch, recording):
    found = timeline(pitch, (recording, 4.0, 7.0), window=1, hop=0.5, min_duration=1, detect_speech=False)
    assert found.duration == 3
    assert found.segments["label"].tolist() == ["low", "high"]
    assert found.name == f"{recording}, 4 s to 7 s"
    with pytest.raises(AudioError, match=r"its segment from 12 s to 14 s is outside the 12.5 s of the file"):
        timeline(pitch, (recording, 12, 14))


def test_recordings_in_memory(pitch, recording):
    wave, rate = soundfile.read(recording, dtype="float32")
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=wave[None], sample_rate=rate))
    settings = {"window": 1, "hop": 0.5, "detect_speech": False}
    expected = timeline(pitch, recording, **settings)
    for item, name in ((recording.read_bytes(), "bytes"), (decoder, "SimpleNamespace"), ((wave, rate), "array")):
        found = timeline(pitch, item, **settings)
        assert found.name == name
        pd.testing.assert_frame_equal(found.table, expected.table)


def test_windows_are_those_of_the_clip_alone():
    starts = FunctionFeaturizer(lambda samples: [samples[0], len(samples)], "first", 1000, cache=None)
    pipeline = make_pipeline(starts, LogisticRegression()).fit([np.ones(9), np.zeros(9)] * 3, [0, 1] * 3)
    seen = []
    pipeline[-1].predict_proba = lambda X: seen.extend(X.tolist()) or np.full((len(X), 2), 0.5)
    wave = np.arange(47_250, dtype=np.float32) / 1000  # the value of a sample is its time
    timeline(pipeline, (wave, 1000), window=4, hop=1.5, detect_speech=False)
    expected = [*np.arange(0, 43.25 + 1e-9, 1.5).tolist(), 43.25]
    np.testing.assert_allclose(seen, [(start, 4000) for start in expected], rtol=1e-6)


def test_a_recording_shorter_than_the_window_is_one_window(pitch):
    found = timeline(pitch, (tone(0.7, 2000), RATE), window=3, hop=1, detect_speech=False)
    assert found.segments[["start", "end", "label"]].to_numpy().tolist() == [[0, pytest.approx(0.7), "high"]]


def test_overlap_add_by_hand():
    proba = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = overlap_add(np.arange(5.0), np.array([0.0, 2.0]), 2.0, proba, np.ones(2))
    np.testing.assert_allclose(found, [[1, 0], [1, 0], [0, 1], [0, 1]])
    found = overlap_add(np.arange(4.0), np.array([0.0, 1.0]), 2.0, proba, np.array([3.0, 1.0]))
    np.testing.assert_allclose(found[1], [0.75, 0.25])  # both windows are as far from their middles
    assert np.isnan(overlap_add(np.arange(4.0), np.array([0.0]), 2.0, proba[:1], np.ones(1))[2]).all()


@given(
    proba=hnp.arrays(np.float64, st.tuples(st.integers(1, 7), st.just(3)), elements=st.floats(0.01, 1)),
    least=st.integers(1, 4),
)
def test_segments_are_the_best_of_all_that_are_long_enough(proba, least):
    found = most_probable_segments(proba, least)
    assert [a for a, _, _ in found] == [0, *[b for _, b, _ in found[:-1]]]
    n, least = len(proba), min(least, len(proba))
    score = sum(np.log(proba[a:b, k]).sum() for a, b, k in found)

    def long_enough(labels):
        return all(len(list(run)) >= least for _, run in itertools.groupby(labels))

    best = max(
        sum(np.log(proba[i, k]) for i, k in enumerate(labels))
        for labels in itertools.product(range(3), repeat=n)
        if long_enough(labels)
    )
    assert score == pytest.approx(best)
    assert all(b - a >= least for a, b, _ in found)


def test_silence_parts_segments():
    proba = np.array([[0.9, 0.1]] * 2 + [[np.nan] * 2] + [[0.9, 0.1], [0.2, 0.8]])
    assert most_probable_segments(proba, 1) == [(0, 2, 0), (3, 4, 0), (4, 5, 1)]
    assert most_probable_segments(np.full((3, 2), np.nan), 1) == []


def vowels(seconds):
    made = [
        synthesize_vowel(v, "male", seconds=0.4, random_state=i) for i, v in enumerate(["heed", "hod", "who'd"] * 9)
    ]
    return np.concatenate(made)[: round(seconds * RATE)]


def test_speech_is_found_and_silence_left_out(pitch, tmp_path):
    noise = np.random.default_rng(0).normal(scale=1e-4, size=4 * RATE)
    wave = np.concatenate([noise, vowels(6), noise]).astype(np.float32)
    found = timeline(pitch, (wave, RATE), window=1, hop=0.5)
    assert (found.table["speech"][2:6] == 0).all()
    assert found.segments["start"].min() == pytest.approx(4, abs=0.6)
    assert found.segments["end"].max() == pytest.approx(10, abs=1.1)
    assert np.isnan(found.probabilities[3]).all()
    assert str(timeline(pitch, (noise.astype(np.float32), RATE))) == "No speech was found."


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_the_detector_takes_any_rate_and_any_blocks(rate):
    import soxr

    wave = soxr.resample(np.concatenate([np.zeros(2 * RATE), vowels(2)]), RATE, rate).astype(np.float32)
    whole, parts = SpeechDetector(rate), SpeechDetector(rate)
    whole.add(wave)
    for part in np.array_split(wave, 7):
        parts.add(part)
    assert abs(len(whole.flags) - len(parts.flags)) <= 1
    assert whole.share(0.2, 1.8) == 0
    assert parts.share(2.3, 3.8) > 0.6


@pytest.mark.parametrize(("ending", "rate"), [("wav", 44100), ("mp3", 44100), ("flac", 16000), ("ogg", 16000)])
def test_blocks_are_the_recording(tmp_path, ending, rate):
    wave = np.stack([tone(45.3, 300, rate), tone(45.3, 500, rate)], axis=1)
    soundfile.write(tmp_path / f"a.{ending}", wave, rate)
    whole = FunctionFeaturizer(lambda samples: samples, "samples", RATE, cache=None)
    path = tmp_path / f"a.{ending}"
    for clip in (path, (path, 15, 42.5), (path, None, 20), (path, 21, None)):
        parts = list(blocks(clip, RATE))
        np.testing.assert_allclose(np.concatenate(parts), whole.transform([clip])[0], atol=1e-4)
    assert len(list(blocks(path, RATE))) > 2


def test_the_file_is_decoded_once(pitch, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.mp3", tone(65, 300), RATE)
    frames, read = [], soundfile.SoundFile.read

    def counted(self, *args, **kwargs):
        found = read(self, *args, **kwargs)
        frames.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    timeline(pitch, tmp_path / "a.mp3", window=3, hop=1, detect_speech=False)
    assert sum(frames) == pytest.approx(65 * RATE, rel=0.01)
    assert max(frames) <= 20 * RATE


def test_memory_does_not_grow_with_the_recording(pitch, tmp_path):
    import tracemalloc

    peaks = []
    for minutes in (3, 9):
        soundfile.write(tmp_path / "a.wav", tone(60 * minutes, 300), RATE)
        tracemalloc.start()
        timeline(pitch, tmp_path / "a.wav", window=2, hop=2, detect_speech=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_speaker_normalizer_takes_the_recording_for_one_speaker(recording):
    clips = [(tone(1, f), RATE) for f in (200, 250, 300, 1500, 2000, 2500)]
    features = FbankFeaturizer(20).transform(clips)
    featurizer, normalizer = FbankFeaturizer(20), SpeakerNormalizer()
    rows = normalizer.fit_transform(features, groups=["a"] * 6)
    pipeline = make_pipeline(featurizer, normalizer, LogisticRegression())
    pipeline[-1].fit(rows, ["low"] * 3 + ["high"] * 3)
    found = timeline(pipeline, recording, window=1, hop=0.5, detect_speech=False)
    assert found.segments["label"].tolist() == ["low", "high", "low"]


def test_every_form_of_output(pitch, recording, tmp_path):
    pytest.importorskip("matplotlib")
    found = timeline(pitch, recording, window=1, hop=0.5, detect_speech=False)
    for ending in ("csv", "json", "txt", "png", "svg"):
        found.save(tmp_path / "out" / f"t.{ending}")
    table = pd.read_csv(tmp_path / "out" / "t.csv")
    assert list(table.columns) == ["start", "end", "speech", "p_high", "p_low"]
    np.testing.assert_allclose(table["p_low"], found.table["p_low"], rtol=1e-4)
    content = json.loads((tmp_path / "out" / "t.json").read_text())
    assert content["classes"] == ["high", "low"]
    assert len(content["steps"]) == 25
    assert content["segments"][1]["label"] == "high"
    lines = (tmp_path / "out" / "t.txt").read_text().splitlines()
    assert [line.split("\t")[2] for line in lines] == ["low", "high", "low"]
    assert (tmp_path / "out" / "t.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "out").iterdir())) == 5
    with pytest.raises(ValueError, match=r"t.xlsx, expected a name ending in one of .csv, .json, .txt, .png"):
        found.save(tmp_path / "t.xlsx")


def test_dollar_signs_in_names_are_no_formulas(pitch, recording, tmp_path):
    pytest.importorskip("matplotlib")
    found = timeline(pitch, recording, window=1, hop=0.5, detect_speech=False)
    table, segments = found.table.rename(columns={"p_high": r"p_$\high$"}), found.segments.replace("high", r"$\high$")
    odd = replace(found, name=r"$\t$.wav", classes=np.array([r"$\high$", "low"]), table=table, segments=segments)
    odd.save(tmp_path / "t.svg")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "Got window=0, expected a number in"),
        ({"window": 1, "hop": 2}, r"Got hop=2, expected a number in \(0, 1\]"),
        ({"min_duration": -1}, "Got min_duration=-1"),
        ({"detect_speech": 2}, "Got detect_speech=2, expected True or False"),
    ],
)
def test_bad_settings(settings, message, pitch, recording):
    with pytest.raises(ValueError, match=message):
        timeline(pitch, recording, **settings)


def test_recordings_that_cannot_be_read(pitch, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    for name in ("cut.wav", "cut.mp3"):
        soundfile.write(tmp_path / name, tone(8, 300), RATE)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    for item, message in (
        (tmp_path / "a.wav", "cannot be read as audio"),
        (tmp_path / "b.wav", "there is no such file"),
        ((np.full(RATE, np.nan, dtype=np.float32), RATE), "holds NaN"),
        ((np.empty(0, dtype=np.float32), RATE), "holds no samples"),
        (tmp_path / "cut.wav", "is truncated: 50% of the samples declared"),
        (tmp_path / "cut.mp3", "is truncated"),
    ):
        with pytest.raises(AudioError, match=message):
            timeline(pitch, item)


def test_a_classifier_without_probabilities(recording):
    from sklearn.svm import LinearSVC

    clips = [(tone(1, f), RATE) for f in (200, 2000)]
    pipeline = make_pipeline(FbankFeaturizer(20), LinearSVC()).fit(clips, ["low", "high"])
    with pytest.raises(ValueError, match="Got a LinearSVC, expected a classifier with predict_proba"):
        timeline(pipeline, recording)
