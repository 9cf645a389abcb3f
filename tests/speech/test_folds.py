"""Folds of other kinds than names."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

from gendiffclf.speech import evaluate


@pytest.mark.parametrize(
    ("folds", "item"),
    [(np.arange(96) % 3, 0), (5, 5), (None, None), ([(np.arange(48), np.arange(48, 96), [])], "")],
)
def test_what_is_no_pair_is_refused(folds, item, table):
    corpus, features = table
    message = rf"Got folds with {item}.*, expected pairs of row numbers .* as PredefinedSplit\(folds\), .* as n_folds"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        evaluate(LogisticRegression(), corpus, folds, features=features)


def test_pairs_may_come_from_a_generator(table):
    corpus, features = table
    splitter = PredefinedSplit(np.arange(96) % 8)
    found = evaluate(LogisticRegression(), corpus, splitter.split(), features=features)
    expected = evaluate(LogisticRegression(), corpus, splitter, features=features)
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)


@pytest.mark.parametrize("folds", ["speaker", "random"])
@pytest.mark.parametrize("n_speakers", [1, 4])
def test_a_rare_label_has_one_warning(n_speakers, folds, table):
    corpus, features = table
    corpus.loc[[0, 8, 16, 24] if n_speakers == 1 else [0, 1, 2, 3], "label"] = "bored"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(LogisticRegression(), corpus, folds, features=features)
    messages = [str(warning.message) for warning in caught if "both sides of a fold" not in str(warning.message)]
    expected = "rare-class: the label 'bored'" if n_speakers == 1 else "The least populated class in y has only 4"
    assert [message.startswith(expected) for message in messages] == [True]
