"""Categories of few rows share a column."""

import numpy as np
import pandas as pd
import pytest
from category_tables import encoded

from gendiffclf.tables import MOST_CATEGORIES, RARE_SHARE, TableColumn


def test_rare_categories_are_one_by_their_weight():
    values = pd.Series(["often"] * 300 + ["a", "b"])
    column, found = encoded(values)
    assert column.names == ["c=often", "c (rare)"]
    np.testing.assert_array_equal(found[-2:], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(column.encode(pd.Series(["never seen"])), [[0, 1]])
    weighted = TableColumn.fit("c", pd.Series(["often", "a", "b"]), np.array([300.0, 1, 1]))
    assert weighted == column
    assert RARE_SHARE > 1 / 302
    without = TableColumn.fit("c", pd.Series(["often", "a", None]), np.array([300.0, 0, 0]))
    assert without.names == ["c=often"]


def test_three_rows_of_many_are_no_rare_category():
    values = ["often"] * 500 + ["few"] * 3 + ["twice"] * 2
    expected = ["c=few", "c=often", "c (rare)"]
    column, _ = encoded(pd.Series(values))
    assert column.names == expected
    assert encoded(pd.Series(values[::-1]))[0] == column
    # Rows that have weights for the same rows, and a missing category that tells what one row weighs.
    weight = np.array([250.0, 250, 3, 1, 1, 1])
    series = pd.Series(["often", "often", "few", "twice", "twice", None])
    for unit in (1, 0.1, 7):
        assert TableColumn.fit("c", series, unit * weight).names == [*expected, "c (missing)"]
    without = TableColumn.fit("c", series, weight - [0, 0, 0, 1, 0, 0])
    assert without.names == [*expected, "c (missing)"]
    # Other weights are no numbers of rows: here, of one row each, none of which has a hundredth of the weight.
    assert TableColumn.fit("c", pd.Series(["often", "a", "b"]), np.array([1000.5, 4, 1.3])).names == [
        "c=often",
        "c (rare)",
    ]


def test_rows_of_a_group_count_once_for_a_category(tiny):
    """So do the votes of a row."""
    X = pd.DataFrame({"name": [f"u{i}" for i in range(200)] + ["often"] * 100, "x": np.arange(300.0)})
    votes = np.where(np.arange(300)[:, None] % 2, [4, 1], [1, 4])
    with pytest.warns(UserWarning, match="of which 200 with 67% of its weight count as one"):
        encoder = tiny(estimator="kernel").fit_votes(X, votes).table_encoder_
    assert encoder.get_feature_names_out().tolist() == ["name=often", "name (rare)", "x"]
    series, groups = pd.Series(["a"] * 3 + ["b"] * 4 + ["c"] * 900), np.r_[0, 1, 2, 0, 0, 1, 1, np.zeros(900, int)]
    assert TableColumn.fit("c", series, np.ones(907), group=groups).names == ["c=a", "c=c", "c (rare)"]


def test_500_categories_at_most_have_a_column_each():
    values = np.repeat(np.arange(1000, 1000 + MOST_CATEGORIES + 1), 4)
    column, found = encoded(pd.Series(values[:-4].astype(str)))
    assert found.shape == (len(values) - 4, MOST_CATEGORIES)
    # The last is the most frequent; of the others the first by name are kept.
    more = np.append(values, values[-1]).astype(str)
    column, _ = encoded(pd.Series(more))
    assert len(column.categories) == MOST_CATEGORIES
    assert str(values[-1]) in column.categories
    assert str(values[-5]) not in column.categories
    assert encoded(pd.Series(more[::-1]))[0] == column


def test_a_column_of_rare_categories_gives_a_warning():
    message = (
        r"Got column 'c' of 1000 categories, of which 1000 with 100% of its weight count as one, .*: fewer than 3 rows have it, "
        r"or 500 others are more frequent; drop the column, or encode it"
    )
    with pytest.warns(UserWarning, match=message):
        column, found = encoded(pd.Series([f"user {i % 1000}" for i in range(2000)]))
    assert column.names == ["c (rare)"]
    np.testing.assert_array_equal(found, np.ones((2000, 1)))
    with pytest.warns(UserWarning, match="of 1250 categories, of which 750 with 60% of its weight count as one"):
        encoded(pd.Series([f"user {i % 1250}" for i in range(5000)]))
    column, _ = encoded(pd.Series([f"user {i % 501 if i % 2 else 0}" for i in range(1002)]))
    assert column.names == ["c=user 0", "c (rare)"]


def test_many_categories_with_some_rows_each_are_learnt_from(tiny):
    rng = np.random.default_rng(0)
    level = rng.integers(0, 150, 1500)
    X, y = pd.DataFrame({"level": [f"k{i}" for i in level]}), rng.integers(0, 2, 150)[level]
    assert tiny(estimator="kernel").fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
