"""Copies of clips: they are found by their samples, and no measure is better for them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import lfilter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from gendiffclf import FbankFeaturizer
from gendiffclf.speech import audit, evaluate, read_corpus, train
from gendiffclf.speech.folds import without_copies
from gendiffclf.speech.table_checks import voices_of

from .conftest import RATE, codes, good, noise, write

NONE = np.empty((0, 2), int)
"""No overlaps."""


def test_copies_are_known_by_their_samples(tmp_path):
    corpus = write(tmp_path, good(4), subtype="PCM_16")
    samples, _ = soundfile.read(corpus["path"][0])
    soundfile.write(tmp_path / "copy.flac", samples, RATE)
    soundfile.write(tmp_path / "stereo.wav", np.stack([samples, samples], axis=1), RATE)
    copies = [{"path": str(tmp_path / name), "label": "a", "speaker": "s0"} for name in ("copy.flac", "stereo.wav")]
    found = audit(pd.concat([corpus, pd.DataFrame(copies)], ignore_index=True))
    assert codes(found)["copies"].rows == (0, 4, 5)
    assert len(set(found.content)) == 4
    with pytest.warns(UserWarning, match="copies: 3 clips are copies of each other, of 1 recording\\."):
        found.enforce(ignore=("rare-class",))


def test_constant_clips_are_silent_and_no_copies(tmp_path):
    offsets = {f"offset{i}.wav": np.full(RATE // 2, 0.1, np.float32) for i in range(2)}
    found = audit(write(tmp_path, {**good(4), **offsets}))
    assert not found.errors
    assert codes(found)["silent"].rows == (4, 5)
    assert not {"copies", "clipped"} & set(codes(found))


@pytest.mark.parametrize("gain", [0.01, 0.7, 3, -1])
def test_copies_at_another_gain_are_no_new_clips(gain, tmp_path):
    """Features do not depend on the level, so that a classifier would know the labels of such copies, though they are random."""
    sounds = {f"{i}.wav": lfilter([1], [1, -0.04 * i], noise(0.2 + 0.01 * (i % 3), seed=i)) for i in range(24)}
    corpus = write(tmp_path, sounds, subtype="PCM_16")
    corpus["label"] = np.random.default_rng(0).permutation(corpus["label"])
    (tmp_path / "softer").mkdir()
    copied = {name: gain * soundfile.read(tmp_path / name)[0] for name in sounds}
    again = write(tmp_path / "softer", copied, subtype="PCM_16").assign(label=corpus["label"])
    again["speaker"] = np.roll(again["speaker"], 12)
    twice = pd.concat([corpus, again], ignore_index=True)
    found = audit(twice)
    assert len(set(found.content)) == 48
    assert found.copies[:24].tolist() == found.copies[24:].tolist()
    assert len(set(found.copies)) == 24
    assert sorted(codes(found)["copies-across-speakers"].rows) == list(range(48))
    assert len(set(found.voices)) == 6  # pairs of speakers
    if gain in (0.7, -1):
        pipeline = make_pipeline(FbankFeaturizer(n_mels=20), KNeighborsClassifier(1))
        with pytest.warns(UserWarning, match="copies-across-speakers"):
            assert evaluate(pipeline, twice).pooled["uar"] < 0.7


def test_clips_without_sound_are_no_copies_of_others(tmp_path):
    clips = {
        "silent.wav": np.zeros(RATE),
        "none.wav": np.zeros(RATE),
        "offset.wav": np.full(RATE, 0.25),
        "a.wav": noise(1),
    }
    found = audit(write(tmp_path, clips))
    assert len(set(found.copies)) == 4


def test_copies_under_other_labels_are_an_error(vowels, pipeline, encoded):
    vowels.loc[1, "path"] = vowels.loc[0, "path"]
    assert vowels["label"].nunique() == 3
    for use in (lambda: train(pipeline, vowels), lambda: evaluate(pipeline, vowels)):
        with pytest.raises(ValueError, match="2 clips are copies of each other under different labels"):
            use()
    assert not encoded  # said before the work


def duplicated(n_speakers=8, seed=0, shift=100):
    """Features of random labels, which nobody can learn, and the same again under other speakers."""
    rng = np.random.default_rng(seed)
    n = n_speakers * 10
    corpus = pd.DataFrame(
        {
            "path": [f"{i}.wav" for i in range(n)],
            "label": rng.permutation(np.repeat(["calm", "sad"], n // 2)),
            "speaker": np.repeat([f"s{i:03}" for i in range(n_speakers)], 10),
        }
    )
    features = rng.normal(size=(n, 40))
    again = corpus.assign(
        path="copy of " + corpus["path"], speaker=[f"s{int(s[1:]) + shift:03}" for s in corpus["speaker"]]
    )
    return corpus, features, pd.concat([corpus, again], ignore_index=True), np.concatenate([features, features])


class Memory(LogisticRegression):
    """The nearest training row's label: perfect wherever a tested clip was learnt from."""

    def fit(self, X, y):
        self.rows_, self.labels_, self.classes_ = X, np.asarray(y), np.unique(y)
        return self

    def predict_proba(self, X):
        nearest = np.square(X[:, None] - self.rows_[None]).sum(-1).argmin(1)
        return (self.labels_[nearest][:, None] == self.classes_).astype(float)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


def test_a_duplicated_corpus_cannot_lift_the_figure():
    corpus, features, twice, twice_features = duplicated()
    honest = evaluate(Memory(), corpus, "leave-one-speaker-out", features=features)
    with pytest.warns(
        UserWarning, match="160 clips are copies of each other under the names of 16 speakers.* one voice"
    ):
        found = evaluate(Memory(), twice, "leave-one-speaker-out", features=twice_features)
    assert honest.pooled["uar"] < 0.65
    assert found.pooled["uar"] == pytest.approx(honest.pooled["uar"])
    assert found.pooled["wa"] <= honest.pooled["wa"] + 1e-9
    pd.testing.assert_frame_equal(found.intervals, honest.intervals)  # no narrower for the copies
    assert found.predictions["voice"].nunique() == 8
    assert found.predictions.groupby("voice")["fold"].nunique().max() == 1


def test_a_folder_copied_to_other_speakers_cannot_lift_the_figure(clip_folder, pipeline):
    """The same with files: each voice again in a folder of another name, in another format."""
    pattern = "{speaker}/{label}_*"
    rng = np.random.default_rng(0)
    for path in sorted(clip_folder.glob("*/*.wav")):  # labels by chance, which nobody can learn
        path.rename(path.with_name(f"{rng.choice(['calm', 'sad'])}_{path.name}"))
    memory = Pipeline([("features", pipeline[0]), ("nearest", Memory())])
    honest = evaluate(memory, read_corpus(clip_folder, pattern=f"{pattern}.wav"), "leave-one-speaker-out")
    for path in sorted(clip_folder.glob("*/*.wav")):
        copy = clip_folder / f"other_{path.parent.name}" / path.with_suffix(".flac").name
        copy.parent.mkdir(exist_ok=True)
        soundfile.write(copy, *soundfile.read(path))
    twice = read_corpus(clip_folder, pattern=pattern)
    assert len(twice) == 36
    # Folds by name alone, as other tools make them, put a copy of every tested clip among those learnt from.
    features = pipeline[0].transform(twice["path"])
    careless = cross_val_score(
        Memory(), features, twice["label"], groups=twice["speaker"], cv=LeaveOneGroupOut(), scoring="accuracy"
    )
    assert careless.mean() == 1
    with pytest.warns(
        UserWarning, match="36 clips are copies of each other under the names of 12 speakers.* one voice"
    ):
        found = evaluate(memory, twice, "leave-one-speaker-out")
    assert honest.pooled["uar"] < 0.8
    for name in ("wa", "uar"):
        assert found.pooled[name] == pytest.approx(honest.pooled[name])
    assert found.intervals.loc["wa"].tolist() == pytest.approx(honest.intervals.loc["wa"].tolist())


def test_copies_that_link_all_speakers_are_an_error():
    corpus, features, _, _ = duplicated(n_speakers=4)
    again = corpus.assign(speaker=np.roll(corpus["speaker"], 10))  # each speaker again under the next one's name
    twice = pd.concat([corpus, again], ignore_index=True)
    with (
        pytest.warns(UserWarning, match="copies"),
        pytest.raises(ValueError, match=r"4 speakers .* count as one voice"),
    ):
        evaluate(Memory(), twice, features=np.concatenate([features, features]))


@pytest.mark.filterwarnings("ignore:.* speakers on both sides", "ignore:.*copies of each other")
def test_copies_stay_on_one_side_of_random_and_published_splits():
    _, _, twice, features = duplicated()
    with pytest.warns(UserWarning, match="copies of tested clips among the training clips"):
        found = evaluate(Memory(), twice, "random", features=features)
    assert found.pooled["uar"] < 0.65
    split = np.repeat(["train", "test"], 80)
    with (
        pytest.warns(UserWarning, match="copies of tested clips"),
        pytest.raises(ValueError, match="whose training clips are all copies of tested ones"),
    ):
        evaluate(Memory(), twice.assign(split=split), "split", features=features)
    rows = [(np.array([0, 1, 2]), np.array([3]))]
    ((train_rows, _),) = without_copies(rows, SimpleNamespace(copies=np.array(list("abcd")), overlaps=NONE))
    assert train_rows.tolist() == [0, 1, 2]


def test_voices_connect_over_clips_and_spellings():
    corpus = pd.DataFrame({"speaker": ["c", "b", "b", "a", "x", "X "]})
    content = np.array(["1", "1", "2", "2", "3", "4"])
    assert voices_of(corpus, content, NONE).tolist() == ["a", "a", "a", "a", "X ", "X "]
    assert voices_of(corpus.drop(columns="speaker"), content, NONE).tolist() == content.tolist()
