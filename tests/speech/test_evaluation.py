"""Folds by speaker, measures, leakage."""

import json

import numpy as np
import pandas as pd
import pytest
import sklearn
import soundfile
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, expected_calibration_error
from gendiffclf.speech import evaluate, load_model, predict_clips, prediction, save_model, synthesize_corpus
from gendiffclf.speech.corpora import check_corpus
from gendiffclf.speech.evaluation import evaluate_fitted
from gendiffclf.speech.measures import confusion_text
from gendiffclf.speech.training import train


@pytest.fixture
def table(sixty_clips):
    return sixty_clips


def test_measures_are_those_of_the_field(table):
    corpus, features = table
    found = evaluate(LogisticRegression(), corpus, features=features)
    predictions = found.predictions
    assert len(found.folds) == 5
    assert found.confusions.shape == (5, 3, 3)
    assert found.classes.tolist() == ["angry", "calm", "sad"]
    assert predictions.index.tolist() == list(range(60))
    assert predictions["path"].tolist() == corpus["path"].tolist()
    proba = predictions[["p_angry", "p_calm", "p_sad"]].to_numpy()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    truth, predicted = predictions["label"], predictions["predicted"]
    assert found.pooled["wa"] == pytest.approx((truth == predicted).mean())
    assert found.pooled["uar"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert found.pooled["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found.pooled["ece"] == pytest.approx(expected_calibration_error(truth, proba))
    assert found.mean["uar"] == pytest.approx(found.folds["uar"].mean())
    assert found.standard_error["uar"] == pytest.approx(found.folds["uar"].std() / np.sqrt(5))
    assert found.confusion.sum() == 60
    assert found.confusion[0].sum() == (truth == "angry").sum()


def test_most_clips_unlike_those_of_the_training_give_a_warning(table, monkeypatch):
    corpus, features = table
    model = train(GenerativeTransportClassifier(estimator="kernel", device="cpu"), corpus, features=features)
    predict_clips(model, corpus, features=features)
    far = features + 100
    far[:30] = features[:30]
    predict_clips(model, corpus, features=far)  # half of them
    predict_clips(model, corpus[40:44], features=far[40:44])  # four clips are few
    far[30] += 100
    far[:1] += 100
    with pytest.warns(
        UserWarning, match=r"^Got clips of which 52% are unlike the training clips \(is_novel\), expected"
    ):
        predict_clips(model, corpus, features=far)
    monkeypatch.setattr(prediction, "MOST_CLIPS", 10)  # evenly spread
    with pytest.warns(UserWarning, match="^Got clips of which 60% are unlike"):
        predict_clips(model, corpus, features=np.concatenate([features[:24], features[24:] + 100]))
    few = GenerativeTransportClassifier(estimator="kernel", device="cpu").fit(features[:12], corpus["label"][:12])
    predict_clips(few, corpus, features=far)  # twelve held-out rows cannot tell


def test_a_corpus_unlike_that_of_the_training_gives_a_warning(tmp_path):
    vowels = synthesize_corpus(tmp_path / "vowels", n_speakers=6, n_takes=2, vowels=("heed", "hod"))
    model = train(make_pipeline(FbankFeaturizer(cache=None), GenerativeTransportClassifier(estimator="kernel")), vowels)
    noise = vowels.assign(path=[str(tmp_path / f"{i}.wav") for i in vowels.index], speaker="other " + vowels["speaker"])
    rng = np.random.default_rng(0)
    for path in noise["path"]:
        soundfile.write(path, rng.normal(0, 0.1, 8000), 16000)
    with pytest.warns(UserWarning, match="Got clips of which 100% are unlike the training clips"):
        evaluate_fitted(model, noise)


def test_folds_are_of_whole_speakers(table):
    corpus, features = table
    for folds in ("speaker", "leave-one-speaker-out"):
        found = evaluate(LogisticRegression(), corpus, folds, features=features, n_folds=3)
        of_fold = found.predictions.groupby("speaker")["fold"].nunique()
        assert (of_fold == 1).all()
        assert found.shared_speakers == ()
        assert len(found.folds) == (3 if folds == "speaker" else 5)
        assert found.folds["n_test_speakers"].sum() == 5


def test_no_more_folds_than_speakers(table):
    corpus, features = table
    assert len(evaluate(LogisticRegression(), corpus, features=features, n_folds=9).folds) == 5


def test_a_speaker_on_both_sides_warns(table):
    corpus, features = table
    message = r"Got 5 speakers on both sides of a fold \(s0, s1, s2, …\)"
    with pytest.warns(UserWarning, match=message):
        found = evaluate(LogisticRegression(), corpus, "random", features=features)
    assert found.shared_speakers == ("s0", "s1", "s2", "s3", "s4")
    assert "5 speakers were on both sides" in str(found)
    rows = np.arange(60)
    one = [(rows[1:], rows[:1])]
    with pytest.warns(UserWarning, match="Got 1 speakers on both sides"):
        evaluate(LogisticRegression(), corpus, one, features=features)


@pytest.mark.filterwarnings("ignore:speaker-variants")
def test_a_speaker_under_variants_of_a_name_warns(table):
    corpus, features = table
    test = corpus["speaker"] == "s0"
    corpus = corpus.assign(split=np.where(test, "test", "train"))
    corpus.loc[corpus.index[test][:6], ["speaker", "split"]] = "S0", "train"
    with pytest.warns(UserWarning, match=r"Got 2 speakers on both sides of a fold \(S0, s0\)"):
        found = evaluate(LogisticRegression(), corpus, "split", features=features)
    assert found.shared_speakers == ("S0", "s0")


def test_unknown_speakers_warn(table):
    corpus, features = table
    with pytest.warns(UserWarning, match="without the column 'speaker'"):
        evaluate(LogisticRegression(), corpus.drop(columns="speaker"), "random", features=features)
    with pytest.raises(ValueError, match=r"there is no column 'speaker'.*--folds random"):
        evaluate(LogisticRegression(), corpus.drop(columns="speaker"), features=features)


def test_splitters_and_published_splits(table):
    corpus, features = table
    found = evaluate(LogisticRegression(), corpus, GroupKFold(5), features=features)
    assert len(found.folds) == 5
    split = np.select([corpus["speaker"] == "s0", corpus["speaker"] == "s1"], ["test", "dev"], "train")
    found = evaluate(LogisticRegression(), corpus.assign(split=split), "split", features=features)
    assert found.folds[["n_train", "n_test"]].values.tolist() == [[48, 12]]
    assert np.isnan(found.standard_error["uar"])
    assert "mean of folds" not in str(found)
    masks = [(corpus["speaker"] != "s0", corpus["speaker"] == "s0")]
    assert evaluate(LogisticRegression(), corpus, masks, features=features).folds["n_test"].tolist() == [12]


def test_speakers_reach_the_classifier(table):
    corpus, features = table
    seen = []

    class Listening(ClassifierMixin, BaseEstimator):
        def fit(self, X, y, groups=None):
            seen.append(groups)
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    evaluate(Listening(), corpus, features=features)
    evaluate(make_pipeline(StandardScaler(), Listening()), corpus, features=features)
    with sklearn.config_context(enable_metadata_routing=True):
        evaluate(make_pipeline(StandardScaler(), Listening()), corpus, features=features)
    assert len(seen) == 15
    for groups in seen:
        assert len(set(groups)) == 4
        assert len(groups) == 48


@pytest.mark.parametrize("routing", [False, True])
def test_searches_split_by_speaker(table, routing):
    corpus, features = table
    splits, inner = [], []

    class Splitter(GroupKFold):
        def split(self, X, y=None, groups=None):
            splits.append(len(set(groups)))
            return super().split(X, y, groups)

    class Listening(LogisticRegression):
        def fit(self, X, y, groups=None):
            inner.append(groups is not None and len(groups) == len(X))
            return super().fit(X, y)

    search = GridSearchCV(Listening(), {"C": [0.1, 1]}, cv=Splitter(2))
    with sklearn.config_context(enable_metadata_routing=routing):
        alone = evaluate(search, corpus, features=features)
        piped = evaluate(make_pipeline(StandardScaler(), search), corpus, features=features)
        # Folds that were given are not questioned.
        given = search.set_params(cv=[(np.arange(24), np.arange(24, 48))])
        evaluate(given, corpus, features=features)
        for cv in (None, 3, StratifiedKFold(3)):
            with pytest.warns(UserWarning, match=r"Got GridSearchCV with cv=.*; set cv=StratifiedGroupKFold\(\)"):
                evaluate(search.set_params(cv=cv), corpus, features=features)
            with pytest.warns(UserWarning, match="without the column 'speaker'"):
                evaluate(search, corpus.drop(columns="speaker"), "random", features=features)
    assert splits == [4] * 10
    assert alone.mean["uar"] > 0.5
    assert piped.mean["uar"] > 0.5
    assert any(inner) == routing  # otherwise a search passes groups to its splitter only


def test_classifiers_without_probabilities(table):
    corpus, features = table
    found = evaluate(SVC(), corpus, features=features)
    assert np.isnan(found.mean["ece"])
    assert found.mean["uar"] > 0.5


def test_a_class_that_a_fold_did_not_learn(table):
    corpus, features = table
    corpus.loc[corpus["speaker"] == "s0", "label"] = "new"
    with pytest.warns(UserWarning, match="the label 'new' has 12 clips of 1 speaker"):
        found = evaluate(LogisticRegression(), corpus, "leave-one-speaker-out", features=features)
    of_new = found.predictions[found.predictions["label"] == "new"]
    assert (of_new["p_new"] == 0).all()
    assert found.folds["uar"].min() == 0


def test_speakers_of_several_types_are_names(table):
    corpus, features = table
    mixed = [1 if name == "s0" else name for name in corpus["speaker"]]
    found = evaluate(LogisticRegression(), corpus.assign(speaker=pd.Series(mixed, dtype=object)), features=features)
    assert found.by_speaker["speaker"].tolist() == ["1", "s1", "s2", "s3", "s4"]


def test_numbers_of_speakers_may_be_integers_and_floats(table):
    corpus, features = table
    number = corpus["speaker"].str[1:].astype(int)
    mixed = pd.Series([float(n) if i % 2 else n for i, n in enumerate(number)], dtype=object)
    found = evaluate(LogisticRegression(), corpus.assign(speaker=mixed), features=features)
    assert found.by_speaker["speaker"].tolist() == ["0", "1", "2", "3", "4"]
    assert not found.shared_speakers
    floats = check_corpus(corpus.assign(speaker=number.astype(float).replace(4.0, np.nan)), optional=())
    assert floats["speaker"].dropna().astype(str).tolist() == number[number != 4].astype(str).tolist()
    assert check_corpus(corpus.assign(speaker=number + 0.5))["speaker"].tolist() == (number + 0.5).tolist()


def test_each_clip_is_encoded_once_for_all_folds(vowels, pipeline, encoded):
    evaluate(pipeline, vowels, n_folds=3)
    assert sum(encoded) == len(vowels)


@pytest.mark.filterwarnings("ignore:Got 12 of 18 clips that are in the model's training data")
def test_a_corpus_that_was_not_learnt_from(vowels, pipeline):
    fitted = train(pipeline, vowels[vowels["label"] != "hod"])
    new = vowels.assign(speaker="new " + vowels["speaker"])
    with (
        pytest.warns(UserWarning, match="12 of 18 clips that are in the model's training data: results on them"),
        pytest.warns(UserWarning, match=r"6 of 18 clips with labels that the model does not have \(hod\): each counts"),
    ):
        found = evaluate_fitted(fitted, new)
    assert found.classes.tolist() == ["heed", "hod", "who'd"]
    assert found.confusion[1, 1] == 0
    with pytest.raises(ValueError, match=r"labels \['x'\], expected some of .*; rename the labels, or take them"):
        evaluate_fitted(fitted, new.assign(label="x"))


@pytest.mark.filterwarnings("ignore:Got .* in the model's training data", "ignore:Got a corpus in which")
def test_predictions_that_cannot_be_right_are_warned_of(vowels, pipeline):
    fitted = train(pipeline, vowels)
    wrong = vowels[vowels["label"] == "hod"].assign(label="heed")
    with pytest.warns(
        UserWarning, match=r"of 6 clips for which the model predicts labels that no clip .* has \(hod.*train a"
    ):
        evaluate_fitted(fitted, wrong)
    owners = [vowels["label"].iloc[-1], *vowels["label"][1:]]  # speakers who reveal labels matter for training only
    evaluate_fitted(fitted, vowels.assign(speaker=owners))
    evaluate_fitted(fitted, vowels[vowels["label"] != "hod"])  # the model has a third label, but does not predict it


@pytest.mark.filterwarnings("ignore:Got .* in the model's training data", "ignore:Got a corpus in which")
def test_numbers_as_labels_may_be_unknown_too(vowels, pipeline):
    numbered = vowels.assign(label=vowels["label"].map({"heed": 1, "hod": 2, "who'd": 3}))
    fitted = train(pipeline, numbered[numbered["label"] != 2])
    with pytest.warns(UserWarning, match=r"6 of 18 clips with labels that the model does not have \(2\): each counts"):
        assert evaluate_fitted(fitted, numbered).classes.tolist() == [1, 2, 3]


def test_speakers_that_were_learnt_from_warn(vowels, pipeline, tmp_path):
    known = sorted(vowels["speaker"].unique())[:4]
    fitted = train(pipeline, vowels[vowels["speaker"].isin(known)])
    save_model(fitted, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["speakers"] == known
    for model in (fitted, load_model(tmp_path / "model")):
        message = rf"4 of 6 speakers are also in the model's training data \({', '.join(known[:3])}, …\): results may"
        with (
            pytest.warns(UserWarning, match=message),
            pytest.warns(UserWarning, match="12 of 18 clips that are in the model's training data"),
        ):
            evaluate_fitted(model, vowels)
        with (
            pytest.warns(UserWarning, match=rf"1 of 1 speakers are also in the .* \({known[0].upper()}\): results may"),
            pytest.warns(UserWarning, match="3 of 3 clips that are in the model's training data"),
        ):
            evaluate_fitted(model, vowels[vowels["speaker"] == known[0]].assign(speaker=known[0].upper()))
        evaluate_fitted(model, vowels[~vowels["speaker"].isin(known)])
        with (
            pytest.warns(UserWarning, match="12 of 18 clips that are in the model's training data"),
            pytest.warns(UserWarning, match="without the column 'speaker': whether its speakers are in the model's"),
        ):
            evaluate_fitted(model, vowels.drop(columns="speaker"))


@pytest.mark.filterwarnings("ignore:silent", "ignore:.*model's training data .m01")
def test_silent_clips_are_not_taken_for_each_other(vowels, pipeline, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    vowels.loc[0, "path"] = str(tmp_path / "silent.wav")
    fitted = train(pipeline, vowels)
    assert len(fitted.clips_) == len(vowels) - 1
    others = vowels[:3].assign(speaker="new", path=str(tmp_path / "silent.wav"))
    found = evaluate_fitted(fitted, others)  # no warning of clips in the training data
    assert len(found.predictions) == 3


def test_folders_without_speakers_are_read(vowels, pipeline, tmp_path):
    save_model(train(pipeline, vowels), tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    del description["speakers"], description["clips"]
    path.write_text(json.dumps(description))
    assert len(evaluate_fitted(load_model(tmp_path / "model"), vowels).predictions) == 18  # no warning


def test_json_and_text(table, tmp_path):
    corpus, features = table
    found = evaluate(SVC(), corpus, features=features)
    found.to_json(tmp_path / "found.json")
    content = json.loads((tmp_path / "found.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
    assert content["classes"] == ["angry", "calm", "sad"]
    assert content["mean"]["ece"] is None
    assert content["mean"]["uar"] == pytest.approx(found.mean["uar"])
    assert np.sum(content["confusions"], axis=0).tolist() == content["confusion"]
    text = str(found)
    for word in ("angry", "recall", "UAR", "standard error", "60 clips in 5 folds"):
        assert word in text
    assert "log-loss" not in text  # of a classifier without probabilities
    assert "nan" not in text
    assert confusion_text(np.array([[3, 1], [0, 0]]), np.array(["1", "long name"])).splitlines() == [
        "true          1  long name  recall",
        "1             3          1    0.75",
        "long name     0          0        ",
    ]


class Lopsided(LeaveOneGroupOut):
    """Leaves nobody out."""

    def split(self, X, y, groups):
        yield np.arange(len(X)), np.arange(0)


@pytest.mark.parametrize(
    ("folds", "changes", "message"),
    [
        ("actor", {}, "Got folds='actor', expected one of 'speaker'"),
        ("speaker", {"n_folds": 1}, "Got n_folds=1"),
        (
            "random",
            {"n_folds": 21},
            "Got 21 folds of a corpus with at most 20 clips of a label, expected a label with at least 21",
        ),
        ("split", {}, "expected 'split' among them"),
        ([], {}, "Got 0 folds"),
        (Lopsided(), {}, "one has no training or no test clips"),
        ([([0, 1], [1, 2])], {}, "no clip on both sides"),
        ([([0, 1], [60])], {}, "row numbers from 0 to 59"),
        ("speaker", {"features": np.zeros((3, 2))}, r"shape \(3, 2\) for 60 clips"),
    ],
)
def test_wrong_settings(folds, changes, message, table):
    corpus, features = table
    with pytest.raises(ValueError, match=message):
        evaluate(LogisticRegression(), corpus, folds, **{"features": features, **changes})


def test_wrong_corpora_and_pipelines(table):
    corpus, features = table
    with pytest.raises(ValueError, match="Got a corpus of 1 speaker"):
        evaluate(LogisticRegression(), corpus.assign(speaker="s"), features=features)
    message = r"Got 5 folds of a corpus with at most 1 clip of a label, .* \(n_folds, --n-folds\)"
    with pytest.raises(ValueError, match=message):
        evaluate(LogisticRegression(), corpus.assign(label=range(60)), features=features, accept=["rare-class"])
    split = ["train"] * 40 + ["validation"] * 15 + ["test"] * 5
    with pytest.raises(
        ValueError, match=r"clips of unknown splits \(15 with 'validation'\), expected 'train', 'dev', 'test'"
    ):
        evaluate(LogisticRegression(), corpus.assign(split=split), "split", features=features)
    missing = [name if name != "validation" else None for name in split]
    with pytest.raises(ValueError, match=r"clips of unknown splits \(15 with ''\)"):
        evaluate(LogisticRegression(), corpus.assign(split=missing), "split", features=features)
    calm = np.flatnonzero(corpus["label"] == "calm")
    with pytest.raises(ValueError, match="Got fold 1 of 1 in which all 20 training clips have the label 'calm'"):
        evaluate(LogisticRegression(), corpus, [(calm, np.setdiff1d(np.arange(60), calm))], features=features)
    with pytest.raises(ValueError, match="expected 'train' or 'dev', and 'test'"):
        evaluate(LogisticRegression(), corpus.assign(split="train"), "split", features=features)
    with pytest.raises(ValueError, match="expected a featuriser first"):
        evaluate(LogisticRegression(), corpus)
    with pytest.raises(ValueError, match="Got pipeline FbankFeaturizer, expected"):
        evaluate(FbankFeaturizer(), corpus)
