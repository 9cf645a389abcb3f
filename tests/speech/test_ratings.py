"""Ratings in place of labels: concordance, intervals over speakers, broken clips, and wrong tables."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from gendiffclf import EmoSphereRegressor, FbankFeaturizer
from gendiffclf.featurizers import SpeakerNormalizer
from gendiffclf.metrics import concordance_correlation
from gendiffclf.speech.model_folder import load_model, save_model
from gendiffclf.speech.ratings import evaluate_ratings, predict_ratings, train_ratings
from gendiffclf.systems.emosphere_targets import DIMENSIONS

LEVELS = {"heed": (0.8, 0.5, 0.2), "hod": (0.2, 0.5, 0.9), "who'd": (0.5, 0.1, 0.4)}


@pytest.fixture
def rated(vowels):
    """Vowels with ratings in [0, 1] that follow from the vowel and a little from the row."""
    rows = np.array([LEVELS[label] for label in vowels["vowel" if "vowel" in vowels else "label"]])
    jitter = np.random.default_rng(0).uniform(-0.05, 0.05, rows.shape)
    return vowels.assign(**dict(zip(DIMENSIONS, (rows + jitter).T, strict=True)))


@pytest.fixture
def linear():
    return make_pipeline(FbankFeaturizer(n_mels=20), LinearRegression())


def test_concordance_of_folds_and_of_all(rated, linear, tmp_path):
    found = evaluate_ratings(linear, rated, n_folds=3)
    assert len(found.folds) == 3
    assert len(found.predictions) == 18
    predicted = found.predictions[[f"predicted_{name}" for name in DIMENSIONS]]
    each = concordance_correlation(found.predictions[list(DIMENSIONS)], predicted, multioutput="raw_values")
    assert [found.ccc[name] for name in DIMENSIONS] == pytest.approx(each.tolist())
    assert found.ccc["mean"] == pytest.approx(each.mean())
    for fold in range(3):
        part = found.predictions[found.predictions["fold"] == fold]
        tested = set(part["voice"])
        assert not tested & set(found.predictions[found.predictions["fold"] != fold]["voice"])
        expected = concordance_correlation(part["valence"], part["predicted_valence"])
        assert found.folds.loc[fold, "valence"] == pytest.approx(expected)
    assert "18 clips, 6 voices, 3 folds" in str(found)
    found.to_json(tmp_path / "found.json")
    stored = json.loads((tmp_path / "found.json").read_text())
    assert stored["ccc"] == pytest.approx(found.ccc)
    assert len(stored["intervals"]["mean"]) == 2


def test_a_speaker_with_a_single_clip_has_no_concordance(rated, linear):
    speakers = rated["speaker"].unique()
    few = rated[rated["speaker"].isin(speakers[:3])].drop(rated.index[rated["speaker"] == speakers[0]][1:])
    found = evaluate_ratings(linear, few, "leave-one-speaker-out")
    single = found.folds["n_test"] == 1
    assert single.sum() == 1
    assert found.folds.loc[single, list(DIMENSIONS)].isna().all(axis=None)
    assert found.folds.loc[~single, list(DIMENSIONS)].notna().all(axis=None)
    assert np.isfinite(list(found.ccc.values())).all()


def test_ratings_that_are_all_equal_are_named(rated, linear):
    with pytest.warns(
        UserWarning, match="Got 0.5 in the column 'dominance' for all 18 clips, expected different ratings"
    ):
        found = evaluate_ratings(linear, rated.assign(dominance=0.5), n_folds=3)
    assert found.ccc["arousal"] < 1


def test_features_normalised_by_speaker(rated):
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), SpeakerNormalizer(), LinearRegression())
    features = SpeakerNormalizer().fit_transform(pipeline[0].transform(rated["path"].tolist()), groups=rated["speaker"])
    expected = LinearRegression().fit(features, rated[list(DIMENSIONS)]).predict(features)
    fitted = train_ratings(pipeline, rated)
    assert [name for name, _ in fitted.steps] == ["fbankfeaturizer", "speakernormalizer", "linearregression"]
    np.testing.assert_allclose(predict_ratings(fitted, rated, DIMENSIONS)[list(DIMENSIONS)], expected, atol=1e-4)
    assert len(evaluate_ratings(pipeline, rated, n_folds=3).folds) == 3
    with pytest.raises(ValueError, match="expected 'speaker' among them, since features are normalised by speaker"):
        predict_ratings(fitted, rated.drop(columns="speaker"), DIMENSIONS)


def test_one_dimension(rated, linear):
    found = evaluate_ratings(linear, rated, n_folds=3)
    one = evaluate_ratings(linear, rated, dimensions=["arousal"], n_folds=3)
    assert one.ccc["mean"] == pytest.approx(found.ccc["arousal"])
    pipeline = make_pipeline(FbankFeaturizer(n_mels=20), DummyRegressor())  # predicts (n_clips,)
    constant = evaluate_ratings(pipeline, rated, dimensions=["arousal"], n_folds=3).predictions
    for fold, part in constant.groupby("fold"):
        assert part["predicted_arousal"].tolist() == pytest.approx(
            [constant.loc[constant["fold"] != fold, "arousal"].mean()] * len(part)
        )
    predictions = predict_ratings(train_ratings(pipeline, rated, ["arousal"]), rated, ["arousal"])
    assert predictions["arousal"].tolist() == pytest.approx([rated["arousal"].mean()] * 18)


def test_bootstrap_samples_are_those_of_drawn_voices(rated, linear):
    found = evaluate_ratings(linear, rated, n_folds=3)
    drawn = found._resampled(1)[:5]
    voices = np.unique(found.predictions["voice"])
    counts = np.random.default_rng(1).multinomial(len(voices), np.full(len(voices), 1 / len(voices)), size=5)
    for sample, row in zip(counts, drawn, strict=True):
        parts = [
            found.predictions[found.predictions["voice"] == v]
            for v, n in zip(voices, sample, strict=True)
            for _ in range(n)
        ]
        table = pd.concat(parts)
        predicted = table[[f"predicted_{name}" for name in DIMENSIONS]]
        np.testing.assert_allclose(
            row, concordance_correlation(table[list(DIMENSIONS)], predicted, multioutput="raw_values")
        )
    low, high = found.intervals()["mean"]
    assert low < found.ccc["mean"] < high


def test_differences_are_of_the_same_clips(rated, linear):
    found = evaluate_ratings(linear, rated, n_folds=3)
    same = found.less(found)
    assert same["mean"] == {"difference": 0, "low": 0, "high": 0}
    constant = make_pipeline(FbankFeaturizer(n_mels=1, pooling="max"), LinearRegression())
    constant = evaluate_ratings(constant, rated, n_folds=3)
    better = found.less(constant)["mean"]
    assert better["difference"] == pytest.approx(found.ccc["mean"] - constant.ccc["mean"])
    assert better["low"] < better["difference"] < better["high"]
    other = evaluate_ratings(linear, rated.iloc[:12], n_folds=2)
    with pytest.raises(ValueError, match="Got evaluations of 18 and 12 clips that are not the same"):
        found.less(other)
    changed = {"path": "other.wav", "end": 0.25, "valence": 0.5, "voice": "other", "fold": 0}
    for name, value in changed.items():
        other = replace(found, predictions=found.predictions.assign(**{name: value}))
        with pytest.raises(
            ValueError, match="expected the same dimensions, clips, ratings, voices and folds; evaluate"
        ):
            found.less(other)


def small(**changes):
    settings = {
        "dimensions": list(DIMENSIONS), "value_range": (0, 1), "width": 8, "n_epochs": 1, "device": "cpu", "random_state": 0,
        "precision": "float32",
    }  # fmt: skip
    return EmoSphereRegressor(**{"encoder": None, **settings, **changes})


def test_from_training_to_a_folder_and_predictions(rated, broken, tmp_path):
    pytest.importorskip("accelerate")
    pipeline = make_pipeline(FbankFeaturizer(n_mels=8, pooling="none"), small())
    with pytest.warns(UserWarning, match="1 of 19 clips that are broken"):
        fitted = train_ratings(
            pipeline, pd.concat([rated, rated.iloc[:1].assign(path=broken)], ignore_index=True), accept=["few-speakers"]
        )
    assert fitted.speakers_ == sorted(set(rated["speaker"]))
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    table = pd.DataFrame({"path": [*rated["path"][:3], broken]})
    with pytest.warns(UserWarning, match="1 of 4 clips that are broken"):
        predictions = predict_ratings(loaded, table)
    np.testing.assert_array_equal(predictions[list(DIMENSIONS)][:3], fitted.predict(rated["path"][:3].tolist()))
    assert predictions["error"].isna().tolist() == [True, True, True, False]
    assert predictions.loc[3, list(DIMENSIONS)].isna().all()
    assert predictions["warning"].isna().all()
    with (
        pytest.warns(UserWarning, match="6 of 6 speakers are also in the model"),
        pytest.warns(UserWarning, match="18 of 18 clips that are in the model's training data"),
    ):
        tried = evaluate_ratings(loaded, rated, fitted=True)
    assert tried.about["folds"] == "a fitted pipeline"
    assert "n_folds" not in tried.about
    np.testing.assert_allclose(tried.predictions["predicted_valence"][:3], predictions["valence"][:3], atol=1e-6)
    weights = tmp_path / "model" / "emosphereregressor" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="which is missing or does not match model"):
        load_model(tmp_path / "model")


def test_a_regressor_may_take_the_clips_themselves(rated):
    pytest.importorskip("accelerate")
    rated = rated.assign(start=0.0, end=0.25)
    direct = evaluate_ratings(small(encoder=FbankFeaturizer(n_mels=8)), rated, n_folds=2)
    place = ["path", "start", "end", "speaker"]
    pd.testing.assert_frame_equal(direct.predictions[place].sort_index(), rated[place])
    piped = evaluate_ratings(make_pipeline(FbankFeaturizer(n_mels=8, pooling="none"), small()), rated, n_folds=2)
    np.testing.assert_array_equal(direct.predictions["predicted_arousal"], piped.predictions["predicted_arousal"])


def test_a_regressor_of_clips_gets_no_broken_ones(rated, broken):
    pytest.importorskip("accelerate")
    rated.loc[4, "path"] = broken
    regressor = small(encoder=FbankFeaturizer(n_mels=8))
    with pytest.warns(UserWarning, match="1 of 18 clips that are broken"):
        found = evaluate_ratings(regressor, rated, n_folds=2)
    assert found.failures.index.tolist() == [4]
    with pytest.warns(UserWarning, match="1 of 18 clips that are broken"):
        fitted = train_ratings(regressor, rated)
    with pytest.warns(UserWarning, match="1 of 18 clips that are broken"):
        predictions = predict_ratings(fitted, rated)
    assert np.flatnonzero(predictions["error"].notna()).tolist() == [4]
    assert predictions[list(DIMENSIONS)].isna().all(axis=1).tolist() == predictions["error"].notna().tolist()


def test_wrong_folds_are_refused_before_clips_are_encoded(rated, linear, encoded):
    with pytest.raises(ValueError, match=r"Got folds='speaker', and there is no column 'speaker'.*; add the column"):
        evaluate_ratings(linear, rated.drop(columns="speaker"))
    with pytest.raises(ValueError, match="Got folds with 0, expected pairs of row numbers"):
        evaluate_ratings(linear, rated, np.arange(18) % 3)
    with pytest.raises(ValueError, match="Got n_folds=1, expected an integer >= 2"):
        evaluate_ratings(linear, rated, n_folds=1)
    assert not encoded
    with pytest.warns(UserWarning, match="Got a corpus without the column 'speaker'"):
        assert len(evaluate_ratings(linear, rated.drop(columns="speaker"), "random", n_folds=2).folds) == 2


def test_columns_that_are_no_ratings_are_refused(rated, linear):
    with pytest.raises(ValueError, match="Got 'high' in the column 'valence', expected numbers"):
        evaluate_ratings(linear, rated.assign(valence=["high"] * 18))
    with pytest.raises(ValueError, match="expected 'dominance' among them"):
        train_ratings(linear, rated.drop(columns="dominance"))
