"""Normalisation by speaker in training, evaluation, prediction and the folder of a model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.featurizers import SpeakerNormalizer
from gendiffclf.speech import evaluate, predict_clips, train


@pytest.fixture
def moods():
    """80 rows of 8 speakers; offset and gain of a speaker are many times what tells the moods apart."""
    rng = np.random.default_rng(0)
    speaker = np.repeat([f"s{i}" for i in range(8)], 10)
    label = np.tile(["calm", "angry"], 40)
    offset = np.repeat(rng.normal(size=(8, 4)) * 50, 10, axis=0)
    gain = np.repeat(rng.uniform(0.1, 10, size=(8, 1)), 10, axis=0)
    rows = ((label == "angry")[:, None] + 0.1 * rng.normal(size=(80, 4))) * gain + offset
    paths = [f"{i}.wav" for i in range(80)]
    return pd.DataFrame({"path": paths, "label": label, "speaker": speaker}), rows


def test_evaluation_hands_speakers_to_the_step_that_asks_for_them(moods):
    corpus, rows = moods
    plain = evaluate(LogisticRegression(), corpus, features=rows, n_folds=4).pooled["uar"]
    normalised = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    assert evaluate(normalised, corpus, features=rows, n_folds=4).pooled["uar"] == 1
    assert plain < 0.8
    causal = make_pipeline(SpeakerNormalizer(n_clips=4), LogisticRegression())
    assert evaluate(causal, corpus, features=rows, n_folds=4).pooled["uar"] == 1


def test_training_and_prediction_do_too(moods):
    corpus, rows = moods
    known = corpus["speaker"].isin(["s0", "s1", "s2", "s3"]).to_numpy()
    pipeline = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    fitted = train(pipeline, corpus[known].reset_index(drop=True), features=rows[known])
    assert fitted.speakers_ == ["s0", "s1", "s2", "s3"]
    others = corpus[~known].reset_index(drop=True)
    found = predict_clips(fitted, others, features=rows[~known])
    assert (found["predicted"] == others["label"]).all()
    assert (found["p_angry"] > 0.5).equals(others["label"] == "angry")
    with pytest.raises(ValueError, match="expected 'speaker' among them, since features are normalised by speaker"):
        predict_clips(fitted, others.drop(columns="speaker"), features=rows[~known])
    for unknown in ("", None, np.nan):
        with pytest.raises(ValueError, match="Got 40 of 40 clips without 'speaker'"):
            predict_clips(fitted, others.assign(speaker=unknown), features=rows[~known])
    with pytest.raises(ValueError, match=r"specify the column by speaker_column \(--speaker-column\)"):
        train(pipeline, corpus.drop(columns="speaker"), features=rows)


class Grouped(LogisticRegression):
    """Keeps the groups of the training rows."""

    def fit(self, X, y, groups=None):
        self.groups_ = groups
        return super().fit(X, y)


def test_speakers_who_share_a_clip_are_normalised_apart_and_split_together(moods):
    corpus, rows = moods
    rows[[1, 11]] = 0  # a clip of noise, of s0 and s1
    pipeline = make_pipeline(SpeakerNormalizer(), Grouped())
    normalised = SpeakerNormalizer().fit_transform(rows, groups=corpus["speaker"])
    half = np.arange(80) < 40
    with pytest.warns(UserWarning, match="copies"):
        fitted = train(pipeline, corpus[half], features=rows[half])
    assert set(fitted[-1].groups_) == {"s0", "s2", "s3"}
    expected = LogisticRegression().fit(normalised[half], corpus["label"][half])
    np.testing.assert_allclose(fitted[-1].coef_, expected.coef_)
    with pytest.warns(UserWarning, match="copies"):
        found = evaluate(pipeline, corpus, [(np.flatnonzero(~half), np.flatnonzero(half))], features=rows)
    other = LogisticRegression().fit(normalised[~half], corpus["label"][~half])
    np.testing.assert_allclose(found.predictions["p_calm"], other.predict_proba(normalised[half])[:, 1])
    assert found.predictions["voice"].nunique() == 3


def test_prediction_transforms_once_for_labels_and_novelty(moods):
    corpus, rows = moods
    passed = []
    counted = FunctionTransformer(lambda X: passed.append(len(X)) or X)
    fitted = train(
        make_pipeline(counted, SpeakerNormalizer(), GenerativeTransportClassifier(estimator="kernel", device="cpu")),
        corpus,
        features=rows,
    )
    far = rows.copy()
    far[::5] += 1e6  # two of ten clips of a speaker, so that the others are closer together than those of the training
    passed.clear()
    with pytest.warns(UserWarning, match="unlike the training clips"):
        predict_clips(fitted, corpus, features=far)
    assert passed == [80]


def test_broken_features_stay_out(moods):
    corpus, rows = moods
    rows[5] = np.nan
    with pytest.warns(UserWarning, match="Got 1 of 80 clips that are broken"):
        fitted = train(make_pipeline(SpeakerNormalizer(), LogisticRegression()), corpus, features=rows)
    with pytest.warns(UserWarning, match="Got 1 of 80 clips that are broken .*its features hold NaN"):
        found = predict_clips(fitted, corpus, features=rows)
    assert found["error"].notna().tolist() == [i == 5 for i in range(80)]
