"""Segments of one file that overlap are kept on one side of a split, like copies."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import lfilter
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer
from gendiffclf.speech import audit, evaluate, passages
from gendiffclf.speech.folds import without_copies
from gendiffclf.speech.passages import Landmarks, cuts_of, landmarks_of
from gendiffclf.speech.recordings import measure
from gendiffclf.speech.table_checks import overlaps_of

from .conftest import RATE, codes, noise, write


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Forty sounds of a long file, each under a random label, cut four times under the names of four speakers."""
    rng, sounds = np.random.default_rng(0), []
    for _ in range(40):
        radius, angle = rng.uniform(0.5, 0.95), rng.uniform(0.2, 2.8)
        sounds.append(lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], rng.normal(0, 0.02, 12000)))
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate(sounds), 16000)
    labels = rng.permutation(["a", "b"] * 20)
    rows = [(0.75 * k + 0.02 * j, f"s{j}", label) for k, label in enumerate(labels) for j in range(4)]
    table = pd.DataFrame(rows, columns=["start", "speaker", "label"])
    return table.assign(path=str(path), end=table["start"] + 0.65)


def test_overlapping_speakers_are_one_voice(windows):
    found = audit(windows)
    assert set(found.voices) == {"s0"}
    (finding,) = (f for f in found.findings if f.code == "overlaps")
    assert str(finding).startswith(
        "160 clips overlap by more than half with another of the same recording, 240 of 240 pairs under"
    )
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), KNeighborsClassifier(1))
    with pytest.raises(ValueError, match="who count as one voice"):
        evaluate(pipeline, windows, accept=["overlaps"])


@pytest.mark.filterwarnings("ignore:Got 4 speakers on both sides")
def test_training_segments_that_are_tested_are_left_out(windows):
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), KNeighborsClassifier(1))
    with pytest.warns(
        UserWarning, match="among the training clips, or segments that overlap with them, .* are left out"
    ):
        found = evaluate(pipeline, windows, "random", accept=["overlaps"])
    assert found.mean["uar"] < 0.7  # 1.0 with them, though the labels are random


def test_windows_that_slide_keep_to_their_neighbours():
    """The first and the last of a chain of overlaps share nothing."""
    start = np.arange(100) / 4
    corpus = pd.DataFrame({"path": "a.wav", "start": start, "end": start + 1, "label": ["x", "y"] * 50, "speaker": "s"})
    found = audit(corpus.assign(path=["./a.wav", "a.wav"] * 50), sound=False)
    np.testing.assert_array_equal(found.overlaps, np.stack([np.arange(99), np.arange(1, 100)], axis=1))
    with pytest.warns(UserWarning, match="1 in all"):
        ((train, _),) = without_copies([(np.arange(80), np.arange(80, 100))], found)
    np.testing.assert_array_equal(train, np.arange(79))


def test_overlaps_are_found_under_several_paths_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.wav").touch()
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    paths = ["a.wav", str(tmp_path / "a.wav"), "link.wav"]
    table = pd.DataFrame({"path": paths, "start": [0.0, 0.1, 0.2], "end": [1.0, 1.1, 1.2], "speaker": list("abc")})
    assert set(audit(table.assign(label=list("xyx")), sound=False).voices) == {"a"}


def test_words_in_the_turn_of_another_speaker_are_no_overlaps():
    table = {"path": "a.wav", "start": [0.0, 2.0, None, 5.0], "end": [4.0, 2.5, 0.5, None], "speaker": list("abcd")}
    found = audit(pd.DataFrame(table).assign(label=list("xyxy")), sound=False)
    assert found.voices.tolist() == list("abcd")
    assert found.overlaps.shape == (0, 2)


def test_overlaps_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 40, 300) / 4
    end = start + rng.integers(1, 9, 300) / 4
    corpus = pd.DataFrame({"path": rng.choice(["a.wav", "b.wav"], 300), "start": start, "end": end})
    expected = set()
    for i, one in corpus.iterrows():
        for j, other in corpus[:i].iterrows():
            shared = min(one.end, other.end) - max(one.start, other.start)
            same = (one.start, one.end) == (other.start, other.end)
            if (
                one.path == other.path
                and not same
                and shared > (max(one.end, other.end) - min(one.start, other.start)) / 2
            ):
                expected.add((j, i))
    assert {tuple(sorted(pair)) for pair in overlaps_of(corpus).tolist()} == expected


def test_cuts_of_one_recording_are_one_voice(tmp_path):
    sound = np.convolve(noise(4, seed=1, level=0.1), np.hanning(20) / 10)  # 4 s
    cuts = {"0.wav": sound[:40000], "1.wav": noise(2), "2.wav": -0.5 * sound[10000:50000], "3.wav": sound[24000:60000]}
    corpus = write(tmp_path, cuts, subtype="PCM_16")  # the first and the last have less than half in common
    corpus.loc[3, "label"] = "a"  # as the clip before, of the same speaker
    found = audit(corpus)
    np.testing.assert_array_equal(found.overlaps, [[0, 2], [2, 3]])
    assert found.voices.tolist() == ["s0"] * 4
    finding = codes(found)["overlaps"]
    assert "3 clips overlap by more than half with another of the same recording, 1 of 2 pairs under" in finding.message
    assert finding.rows == (0, 2, 3)
    assert len(audit(corpus.iloc[[0, 1, 3]]).overlaps) == 0
    twice = audit(corpus.iloc[[0, 0, 2]])  # copies are no overlaps of each other
    np.testing.assert_array_equal(twice.overlaps, [[0, 2], [1, 2]])


def test_all_pairs_of_many_cuts_are_found():
    """Though a landmark is in more cuts than it is compared with, and copies of one clip fill the nearest landmarks."""
    sound = noise(6, seed=1, level=0.1)
    starts = np.arange(0, 4 * RATE, RATE // 20)
    cuts = [sound[start : start + 2 * RATE] for start in starts]
    recordings = [measure(cut[:, None].astype(np.float32), RATE) for cut in [*[cuts[0]] * 9, *cuts[1:]]]
    starts = np.concatenate([np.zeros(8, int), starts])
    apart = np.abs(starts[:, None] - starts)
    expected = np.argwhere(np.triu((apart > 0) & (2 * RATE - apart > (2 * RATE + apart) / 2)))
    found = cuts_of(recordings, np.array([recording.content for recording in recordings]))
    np.testing.assert_array_equal(found, expected)


def test_cuts_share_most_landmarks_at_one_rate():
    sound = noise(1, seed=1).astype(np.float32)[:, None]
    rng = np.random.default_rng(0)
    places, sketches = np.arange(1, 9) * 1600, rng.normal(size=(8, 16)).astype(np.float32) / 4
    one = replace(measure(sound, RATE), landmarks=Landmarks(places, sketches))

    def found(n_same, n_landmarks=8, **changes):
        own = np.concatenate([sketches[:n_same], rng.normal(size=(8, 16)).astype(np.float32) / 4])[:n_landmarks]
        other = replace(one, landmarks=Landmarks(places[:n_landmarks], own), **changes)
        return len(cuts_of([one if n_landmarks == 8 else other, other], np.array(["a", "b"])))

    assert [found(n_same) for n_same in (5, 6)] == [0, 1]  # three quarters
    assert [found(n, n) for n in (2, 3)] == [0, 1]
    assert found(8, rate=12000) == 0


def test_landmarks_do_not_depend_on_blocks(monkeypatch):
    sound = noise(3, seed=1).astype(np.float32)
    expected = landmarks_of(sound, RATE)
    monkeypatch.setattr(passages, "SAMPLES", 1000)
    monkeypatch.setattr(passages, "BLOCK", 4)
    for found, value in zip(landmarks_of(sound, RATE), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    assert len(expected.places) > 8
    size = np.abs(sound)
    for place in expected.places:
        assert size[place] == size[max(place - RATE // 10, 0) : place + RATE // 10 + 1].max()


def test_clips_that_sound_alike_are_no_cuts():
    """Of tones, and of clips with the same beginning."""
    times, jingle = np.arange(2 * RATE) / RATE, noise(1, seed=9)
    tones = [np.sin(2 * np.pi * 200 * (times + shift)) for shift in (0, 0.0013)]
    begun = [np.concatenate([jingle, noise(1.2, seed=seed)]) for seed in range(20)]
    loop = np.tile(noise(0.3, seed=3), 10).astype(np.float32)
    assert len(landmarks_of(loop, RATE).places) == 0
    for clips in (tones, begun, [loop[2000:], loop[:-1000]]):
        recordings = [measure(clip[:, None].astype(np.float32), RATE) for clip in clips]
        assert len(cuts_of(recordings, np.array([recording.content for recording in recordings]))) == 0


@pytest.mark.parametrize("samples", [np.zeros(800), np.ones(1), np.float32([0, 1e38, -1e38]), noise(0.03)])
def test_landmarks_of_little_sound(samples):
    assert len(landmarks_of(samples.astype(np.float32), RATE).places) == 0
    assert len(landmarks_of(samples.astype(np.float32), 10).places) < 800
