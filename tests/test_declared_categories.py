"""Columns of DataFrames that `categorical_features` declares categories."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.tables import declared_categories


@pytest.mark.parametrize("declared", [["code"], [1], np.array([False, True]), pd.Index(["code"])])
@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_declared_columns_are_categories_whatever_their_type(tiny, tmp_path, declared, library):
    """Only the parity of a number tells the classes apart, which no order of its values shows."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 8, 200)
    X, y = library({"size": rng.normal(size=200), "code": code}), code % 2
    classifier = tiny(estimator="kernel", categorical_features=declared).fit(X, y)
    names = ["size", *(f"code={value}" for value in range(8))]
    assert classifier.table_encoder_.get_feature_names_out().tolist() == names
    assert classifier.score(X, y) == 1
    expected = classifier.predict_proba(X)
    floats = pd.DataFrame({"size": X["size"], "code": np.where(code == 7, np.nan, code)})
    np.testing.assert_array_equal(classifier.predict_proba(floats)[code < 7], expected[code < 7])
    if not isinstance(declared, pd.Index):  # files hold no parameters of pandas
        classifier.save(tmp_path / "model")
        np.testing.assert_array_equal(GenerativeTransportClassifier.load(tmp_path / "model").predict_proba(X), expected)


def test_names_and_numbers_declare_columns_together():
    X = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    assert declared_categories(X, ["c", 0]) == {0, 2}
    assert declared_categories(X, [np.int64(1), "b"]) == {1}
    assert declared_categories(X, []) == set()


def test_the_error_lists_few_of_many_columns():
    X = pd.DataFrame(np.zeros((2, 100)), columns=[f"x{i}" for i in range(100)])
    with pytest.raises(ValueError, match=r"the columns are \['x0', .*, 'x19', \.\.\.\]\.$"):
        declared_categories(X, ["x100"])


def test_declared_columns_need_a_table():
    with pytest.raises(
        ValueError, match=r"for X of type ndarray, .* in a pipeline by set_output\(transform='pandas'\)"
    ):
        declared_categories(np.zeros((2, 3)), [0])


def test_declared_booleans_stay_booleans(tiny):
    """0 and 1 are the same values; as categories, "True" and "1" would differ."""
    X, y = pd.DataFrame({"open": np.arange(40) % 2 == 0, "size": np.arange(40.0)}), np.arange(40) % 2
    classifier = tiny(estimator="kernel", categorical_features=["open"]).fit(X, y)
    assert classifier.table_encoder_.get_feature_names_out().tolist() == ["open", "size"]
    integers = X.astype({"open": int})
    np.testing.assert_array_equal(classifier.predict_proba(integers), classifier.predict_proba(X))
    of_integers = tiny(estimator="kernel", categorical_features=["open"]).fit(integers, y)
    with pytest.raises(ValueError, match="Got column 'open' of booleans, expected categories as in fit; convert it"):
        of_integers.predict(X)


@pytest.mark.parametrize(
    "declared", ["code", ["colour", "kind"], [3], [-1], [0.5], [True], [True, 0], [["colour"]], [[0], [0, 1]], None]
)
def test_columns_that_cannot_be_declared(tiny, declared):
    X = pd.DataFrame({"colour": ["red", "blue"] * 20, "size": np.arange(40.0), "open": [True, False] * 20})
    with pytest.raises(
        ValueError, match=r"Got categorical_features=.*, expected 'from_dtype', or a list of names or numb"
    ):
        tiny(categorical_features=declared).fit(X, np.arange(40) % 2)
