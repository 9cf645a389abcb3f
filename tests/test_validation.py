"""Checks of parameters and of what comes in: what passes, and what the errors say."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from gendiffclf.validation import (
    all_or_nothing,
    check_choice,
    check_flag,
    check_integer,
    check_real,
    checked_features,
    checked_rows,
    class_factors,
    shown,
)

# ------------------------------------------------------------------- parameters


def test_a_choice_is_one_of_the_names():
    check_choice("codes", "b", ["a", "b"])
    for value in ("c", None, 1, ["a"]):
        with pytest.raises(ValueError, match=r"Got codes=.*, expected one of 'a', 'b'\."):
            check_choice("codes", value, iter(["a", "b"]))


def test_an_integer_is_at_least_the_minimum():
    for value in (3, 7, np.int64(3)):
        check_integer("depth", value, 3)
    for value in (2, 3.0, "3", None, True, float("nan")):
        with pytest.raises(ValueError, match=rf"Got depth={value!r}, expected an integer >= 3\."):
            check_integer("depth", value, 3)


def test_a_number_is_in_its_interval():
    for value in (0, 0.5, 1, np.float32(0.5), np.int64(1)):
        check_real("t", value, 0, 1)
    for value in (-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True, [0.5]):
        with pytest.raises(ValueError, match=r"Got t=.*, expected a number in \[0, 1\]\."):
            check_real("t", value, 0, 1)


@pytest.mark.parametrize(
    ("value", "bounds", "options", "interval"),
    [
        (0, (0, 1), {"low_open": True}, r"\(0, 1\]"),
        (1, (0, 1), {"high_open": True}, r"\[0, 1\)"),
        (float("inf"), (0,), {}, r"\[0, inf\)"),
        (float("-inf"), (), {}, r"\(-inf, inf\)"),
    ],
)
def test_open_ends_are_left_out(value, bounds, options, interval):
    with pytest.raises(ValueError, match=rf"Got t={value}, expected a number in {interval}\."):
        check_real("t", value, *bounds, **options)


def test_words_that_are_accepted_beside_numbers():
    for value in ("auto", None, 1):
        check_integer("patience", value, 1, also=("auto", None))
        check_real("rate", value, 0, also=("auto", None))
    for value in ("long", 0, [1]):
        with pytest.raises(ValueError, match=r"Got patience=.*, expected an integer >= 1, 'auto' or None\."):
            check_integer("patience", value, 1, also=("auto", None))
    for value in ("fast", None, -1):
        with pytest.raises(ValueError, match=r"Got rate=.*, expected a number in \[0, inf\) or 'auto'\."):
            check_real("rate", value, 0, also=("auto",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(0), "0"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "True"),
        (np.str_("a"), "'a'"),
        ({np.int64(1): np.float64(2.0)}, "{1: 2.0}"),
        ([np.int64(1), "a", None], "[1, 'a', None]"),
        ("a", "'a'"),
    ],
)
def test_messages_show_plain_values(value, expected):
    assert shown(value) == expected


def test_numbers_of_numpy_are_shown_as_plain_ones():
    with pytest.raises(ValueError, match=r"Got depth=0, expected"):
        check_integer("depth", np.int64(0), 1)
    with pytest.raises(ValueError, match=r"Got sigma=-1\.0, expected"):
        check_real("sigma", np.float64(-1), 0)


def test_a_flag_is_true_or_false():
    for value in (True, False, np.bool_(True)):
        check_flag("distributed", value)
    for value in (1, 0, "yes", None):
        with pytest.raises(ValueError, match=r"Got distributed=.*, expected True or False\."):
            check_flag("distributed", value)


# ------------------------------------------------------------------------- rows


class Estimator(ClassifierMixin, BaseEstimator):
    """Something that scikit-learn's checks can leave their findings in."""


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), np.arange(12) % 2


def fitted(X, y) -> tuple[Estimator, tuple[int, int]]:
    estimator = Estimator()
    return estimator, checked_rows(estimator, X, y, None, None)[0].shape[1:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_numbers_are_not_copied(table, dtype):
    X, y = table
    X = X.astype(dtype)
    estimator = Estimator()
    rows, labels, weight, group = checked_rows(estimator, X, y, None, None)
    assert rows.shape == (12, 1, 3)
    assert np.shares_memory(rows, X)
    assert estimator.n_features_in_ == 3
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(weight, np.ones(12))
    np.testing.assert_array_equal(group, np.zeros(12))


def test_what_is_like_rows_becomes_rows(table):
    X, y = table
    rows, labels, weight, _ = checked_rows(Estimator(), X.astype(int).tolist(), y.tolist(), [2] * 12, None)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows[:, 0], X.astype(int))
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(weight, np.full(12, 2.0))


@pytest.mark.parametrize(("dtype", "expected"), [("Int64", np.int64), ("boolean", bool), ("int8[pyarrow]", np.int8)])
def test_nullable_labels_of_pandas_keep_their_type(table, dtype, expected):
    X, y = table
    labels = checked_rows(Estimator(), X, pd.Series(y).astype(dtype), None, None)[1]
    assert labels.dtype == expected
    np.testing.assert_array_equal(labels, y)


def test_the_callers_weights_are_not_changed(table):
    X, y = table
    X[3] = np.nan
    given = np.ones(12)
    with pytest.warns(
        UserWarning, match="Got 1 of 12 rows of NaN only, the first at index 3; they are left out of training"
    ):
        weight = checked_rows(Estimator(), X, y, given, None)[2]
    assert weight[3] == 0
    assert given[3] == 1


def test_a_row_of_nan_makes_no_class(table):
    X, y = table
    X[3], y[3] = np.nan, 7
    with pytest.warns(UserWarning, match="rows of NaN only"):
        assert set(checked_rows(Estimator(), X, y, None, None)[1]) == {0, 1}


def test_booleans_of_a_column_that_had_a_gap_are_labels(table):
    X, y = table
    for labels in (np.array(y, bool).astype(object), np.array([np.bool_(label) for label in y], object)):
        found = checked_rows(Estimator(), X, labels, None, None)[1]
        assert found.dtype == bool
        np.testing.assert_array_equal(found, y)


def test_groups_of_any_names_are_numbered(table):
    X, y = table
    names = np.array(["b", "a", "c"] * 4)
    np.testing.assert_array_equal(checked_rows(Estimator(), X, y, None, None, names)[3], [1, 0, 2] * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"groups": [None, *"abcdefghijk"]},
            r"Got groups with None at index 0 \(1 of 12 rows\), expected a value for each row; give these rows one, or",
        ),
        ({"groups": np.r_[np.ones(11), np.nan]}, "Got groups with nan at index 11"),
        ({"groups": np.array([1, "a", "b"] * 4, object)}, "Got groups of which some are text, expected all or none"),
        ({"X": np.ones((12, 2, 0))}, r"Got X of shape \(12, 2, 0\), expected at least one layer and one feature"),
        ({"X": np.ones((12, 0, 2))}, r"Got X of shape \(12, 0, 2\), expected at least one layer and one feature"),
        ({"groups": np.ones((12, 2))}, r"Got groups of shape \(12, 2\), expected \(12,\): one group per row"),
        (
            {"y": np.array(["NaT", *["2020"] * 11], "M8[D]")},
            r"Got y with .*NaT.* at index 0 \(1 of 12 rows\), expected a value for each",
        ),
        (
            {"y": np.array([1, "a", 2.5] * 4, object)},
            "Unknown label type: Got y of dtype object with labels of type float, int, expected strings, or an array of",
        ),
        ({"X": np.full((12, 3), "NaT", "M8[D]")}, r"Got X of dtype datetime64\[D\], expected numbers; convert dates"),
    ],
)
def test_input_that_nothing_can_be_learnt_from(table, change, message):
    """More of it is in `test_fit.py`."""
    X, y = table
    with pytest.raises(ValueError, match=message):
        checked_rows(Estimator(), **{"X": X, "y": y, "sample_weight": None, "feature_shape": None, **change})


def test_weights_whose_sum_is_too_large(table):
    X, y = table
    with pytest.raises(
        ValueError, match=r"Got a sample_weight of up to 1e\+308, whose sum may be beyond float64, .*; divide"
    ):
        checked_rows(Estimator(), X, y, np.full(12, 1e308), None)


def test_rows_of_nan_whose_weights_are_all_there_is(table):
    X, y = table
    X[0] = np.nan
    with (
        pytest.raises(ValueError, match="Got a sample_weight of zeros only"),
        pytest.warns(UserWarning, match="rows of NaN only"),
    ):
        checked_rows(Estimator(), X, y, np.eye(12)[0], None)


@pytest.mark.parametrize("n_layers", [None, 4])
@pytest.mark.parametrize("as_list", [True, False])
def test_rows_to_predict_look_like_those_of_fit(table, n_layers, as_list):
    X, y = table
    X = X if n_layers is None else np.stack([X] * n_layers, axis=1)
    estimator, shape = fitted(X, y)
    rows, missing = checked_features(estimator, X[:5].tolist() if as_list else X[:5], shape)
    np.testing.assert_array_equal(rows.reshape(X[:5].shape), X[:5])
    assert not missing.any()


@pytest.mark.parametrize("n_rows", [1, 5])
def test_a_row_of_nan_is_one_in_a_batch_and_alone(table, n_rows):
    X, y = table
    estimator, shape = fitted(X, y)
    X[0] = np.nan
    with pytest.warns(
        UserWarning, match=rf"Got 1 of {n_rows} rows of NaN only, the first at index 0; they get the shares"
    ):
        _, missing = checked_features(estimator, X[:n_rows], shape)
    np.testing.assert_array_equal(missing, np.arange(n_rows) == 0)


@pytest.mark.parametrize("quick", [True, False])
def test_infinity_in_a_row_to_predict(table, quick):
    X, y = table
    estimator, shape = fitted(X, y)
    X[1, 0], X[2, 1] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"in column 1, first in row 2, expected finite numbers or NaN; clip it, or"):
        checked_features(estimator, X if quick else X.tolist(), shape)


def test_infinity_is_in_a_column_that_has_a_name(table):
    X, y = table
    X[2, 1] = np.inf
    with pytest.raises(ValueError, match=r"contains infinity or .* in column 'b', first in row 2"):
        checked_rows(Estimator(), pd.DataFrame(X, columns=["a", "b", "c"]), y, None, None)


def test_gaps_stay_gaps(table):
    X, y = table
    X[2, 1] = np.nan
    rows, _, weight, _ = checked_rows(Estimator(), X, y, None, None)
    np.testing.assert_array_equal(rows[:, 0], X)
    assert weight.all()


@pytest.mark.parametrize("X", [np.zeros((5, 2)), np.zeros(3), np.zeros((0, 3))])
def test_what_scikit_learn_refuses_is_refused(table, X):
    estimator, shape = fitted(*table)
    with pytest.raises(ValueError, match=r"features|1D array|0 sample"):
        checked_features(estimator, X, shape)


# ---------------------------------------------------------------- weights of classes

CLASSES = np.array(["a", "b", "c"])
LABELS = np.array([0, 0, 0, 1])


def factors(class_weight, sizes=(3.0, 1.0, 0.0), weight=None):
    weight = np.ones(4) if weight is None else weight
    return class_factors(class_weight, CLASSES, np.array(sizes), LABELS, weight)


def test_without_a_class_weight_all_rows_count_alike():
    np.testing.assert_array_equal(factors(None), np.ones(4))


def test_a_class_weight_multiplies_the_rows_of_its_class():
    np.testing.assert_array_equal(factors({"a": 2.0, "b": 0.5, "c": 9}), [2, 2, 2, 0.5])
    np.testing.assert_array_equal(factors({"b": 0.0}), [1, 1, 1, 0])


def test_balanced_weights_give_the_classes_that_there_are_one_sum():
    found = factors("balanced")
    assert found[:3].sum() == pytest.approx(found[3])
    assert found.sum() == pytest.approx(4)


def test_a_class_weight_may_name_more_classes_than_there_are():
    """Those of other rows; but a name beside missing ones is a slip."""
    np.testing.assert_array_equal(factors({"a": 2, "b": 1, "c": 1, "d": 5}), [2, 2, 2, 1])
    with pytest.raises(ValueError, match=r"Got class_weight for \['d'\], expected labels among \['a', 'b', 'c'\]\."):
        factors({"a": 2, "d": 5})


# ----------------------------------------------------------------- all or nothing


class Learner:
    """Changes itself, then may fail."""

    def __init__(self) -> None:
        self.state_ = "old"

    @all_or_nothing
    def fit(self, error: BaseException | None = None) -> str:
        """Learn, with gradients."""
        self.state_, self.new_ = "new", torch.ones(1, requires_grad=True)
        (2 * self.new_).sum().backward()
        if error:
            raise error
        return "done"


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_method_that_fails_leaves_its_object_as_it_was(error):
    learner = Learner()
    with pytest.raises(type(error)):
        learner.fit(error)
    assert vars(learner) == {"state_": "old"}
    assert learner.fit() == "done"
    assert learner.state_ == "new"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_method_trains_where_the_caller_switched_gradients_off(mode):
    learner = Learner()
    with mode():
        learner.fit()
        assert not torch.is_grad_enabled()
    assert learner.new_.grad == 2
