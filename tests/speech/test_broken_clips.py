"""Evaluation of corpora with broken clips."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

from gendiffclf.speech import evaluate


@pytest.fixture
def table(sixty_clips):
    return sixty_clips


def test_broken_clips_are_left_out_and_reported(vowels, pipeline, broken):
    vowels.loc[4, "path"] = broken
    with pytest.warns(UserWarning, match=r"Got 1 of 18 clips that are broken \(.*broken.wav: it cannot be read"):
        found = evaluate(pipeline, vowels, n_folds=2)
    assert found.failures["path"].tolist() == [broken]
    assert found.failures.index.tolist() == [4]
    assert 4 not in found.predictions.index
    assert found.confusion.sum() == 17
    assert "1 clip is broken and left out." in str(found)


def test_a_label_of_broken_clips_is_missed(vowels, pipeline, broken):
    vowels.loc[vowels["label"] == "hod", "path"] = broken
    with pytest.warns(
        UserWarning, match=r"No clip is left of 1 of 3 labels \(hod\), so that models and measures lack them"
    ):
        found = evaluate(pipeline, vowels, n_folds=2)
    assert found.classes.tolist() == ["heed", "who'd"]


def test_all_broken_is_an_error(vowels, pipeline, broken):
    with pytest.raises(ValueError, match="Got 18 of 18 clips that are broken"):
        evaluate(pipeline, vowels.assign(path=broken))


def test_paths_that_do_not_exist_have_a_remedy(vowels, pipeline, broken):
    remedy = (
        "; relative paths are relative to the folder of the table, with / between folders and no spaces around them."
    )
    for wrong in (vowels["path"].str.replace("/", "\\"), " " + vowels["path"]):
        with pytest.raises(ValueError, match=f"expected at least one that can be read; check the paths{remedy}"):
            evaluate(pipeline, vowels.assign(path=wrong))
    with pytest.raises(ValueError, match=r"expected at least one that can be read; check the paths\.$"):
        evaluate(pipeline, vowels.assign(path=broken))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_count_as_broken(value, table):
    corpus, features = table
    features[7, 1] = value
    with pytest.warns(UserWarning, match="7.wav: its features hold NaN or infinity"):
        found = evaluate(LogisticRegression(), corpus, features=features)
    assert found.failures.index.tolist() == [7]
    fold = np.arange(10, 60), np.array([7])
    with (
        pytest.raises(ValueError, match="test clips are all broken, expected others too"),
        pytest.warns(UserWarning, match="that are broken"),
    ):
        evaluate(LogisticRegression(), corpus, [fold], features=features)


@pytest.mark.filterwarnings("ignore:Got .* clips that are broken", "ignore:Got 5 speakers on both sides")
@pytest.mark.parametrize("folds", ["speaker", "leave-one-speaker-out", "random", PredefinedSplit(np.arange(60) // 12)])
def test_folds_do_not_depend_on_broken_clips(table, folds):
    corpus, features = table
    whole = evaluate(LogisticRegression(), corpus, folds, features=features, n_folds=3)
    features[[7, 18]] = np.nan
    found = evaluate(LogisticRegression(), corpus, folds, features=features, n_folds=3)
    pd.testing.assert_series_equal(found.predictions["fold"], whole.predictions["fold"].drop([7, 18]))


@pytest.mark.filterwarnings("ignore:Got 12 of 60 clips that are broken")
def test_a_speaker_of_broken_clips_only_is_in_no_fold(table):
    corpus, features = table
    features[corpus["speaker"] == "s0"] = np.nan
    found = evaluate(LogisticRegression(), corpus, "leave-one-speaker-out", features=features)
    assert found.folds[["n_train", "n_test"]].values.tolist() == [[36, 12]] * 4
    split = np.where(corpus["speaker"] == "s0", "test", "train")
    with pytest.raises(ValueError, match="test clips are all broken, expected others too"):
        evaluate(LogisticRegression(), corpus.assign(split=split), "split", features=features)
