"""Segments of one file that overlap are kept on one side of a split, like copies."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import lfilter
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer
from gendiffclf.speech import audit, evaluate

ACCEPTED = ("copies-across-labels", "copies-across-speakers")


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
    (finding,) = (f for f in found.findings if f.code == "copies-across-speakers")
    assert str(finding).startswith(
        "160 clips are copies of each other or overlap by more than half under the names of 4"
    )
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), KNeighborsClassifier(1))
    with pytest.raises(ValueError, match="who count as one voice"):
        evaluate(pipeline, windows, accept=ACCEPTED)


@pytest.mark.filterwarnings("ignore:Got 4 speakers on both sides", "ignore:copies")
def test_training_segments_that_are_tested_are_left_out(windows):
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), KNeighborsClassifier(1))
    with pytest.warns(UserWarning, match="Got folds with copies of tested clips among the training clips"):
        found = evaluate(pipeline, windows, "random", accept=ACCEPTED)
    assert found.mean["uar"] < 0.7  # 1.0 with them, though the labels are random


def test_segments_under_several_labels_are_an_error(windows):
    corpus = windows.assign(label=["a", "b"] * 80)
    with pytest.raises(
        ValueError, match="160 clips are copies of each other or overlap by more than half under different"
    ):
        audit(corpus).raise_errors()


def test_words_in_the_turn_of_another_speaker_are_no_copies():
    table = {"path": "a.wav", "start": [0.0, 2.0, None, 5.0], "end": [4.0, 2.5, 0.5, None], "speaker": list("abcd")}
    corpus = pd.DataFrame(table).assign(label=list("xyxy"))
    assert audit(corpus, sound=False).voices.tolist() == list("abcd")
