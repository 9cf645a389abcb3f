"""Merging of rows and their assignment to members."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.training.folds import assign_rows, deal, distinct_rows

labels_of_rows = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


def merged(X, y, weight):
    """What `distinct_rows` keeps, as values."""
    index, weight = distinct_rows(X, y[:, None], weight)
    return X[index], y[index], weight


@given(st.data(), st.integers(0, 99))
def test_merging_sums_the_weights_of_equal_rows(data, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (data.draw(st.integers(1, 30)), 2)).astype(float)
    y, weight = rng.integers(0, 2, len(X)), rng.integers(0, 4, len(X)).astype(float)
    weight[0] = 1
    expected: dict[tuple, float] = {}
    for row, label, w in zip(X, y, weight, strict=True):
        expected[(*row, label)] = expected.get((*row, label), 0) + w
    rows, labels, weights = merged(X, y, weight)
    found = {(*row, label): w for row, label, w in zip(rows, labels, weights, strict=True)}
    assert len(found) == len(rows)
    assert found == {key: w for key, w in expected.items() if w > 0}


def test_merged_rows_do_not_depend_on_the_order_of_arrival():
    rng = np.random.default_rng(0)
    X, y, weight = rng.standard_normal((200, 3, 4)), rng.integers(0, 3, 200), rng.uniform(1, 2, 200)
    order = rng.permutation(200)
    for one, other in zip(merged(X, y, weight), merged(X[order], y[order], weight[order]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_are_merged_by_value():
    X = np.array([[0.0, 1], [-0.0, 1], [0, 1], [0, 2]])
    rows, labels, weights = merged(X, np.array([5, 5, 6, 5]), np.ones(4))
    assert sorted(zip(rows[:, 1], labels, weights, strict=True)) == [(1, 5, 2), (1, 6, 1), (2, 5, 1)]


def test_single_and_double_precision_rows_are_kept_in_one_order():
    X = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    y = np.zeros((100, 1), int)
    single, double = (distinct_rows(X.astype(dtype), y, np.ones(100))[0] for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single, double)


def test_the_order_of_merged_rows_has_nothing_to_do_with_their_values():
    """Folds are dealt in this order's terms, so it must not sort by a feature or by the class."""
    X = np.arange(1000.0)[:, None]
    index, _ = distinct_rows(X, np.zeros((1000, 1), int), np.ones(1000))
    assert abs(np.corrcoef(index, np.arange(1000))[0, 1]) < 0.1


@given(labels_of_rows, st.integers(1, 9))
def test_dealt_parts_have_their_share_of_every_class(y, n_parts):
    part = deal(y, n_parts, np.random.default_rng(0))
    assert np.ptp(np.bincount(part, minlength=n_parts)) <= 1
    for label in np.unique(y):
        assert np.ptp(np.bincount(part[y == label], minlength=n_parts)) <= 1


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    groups, y = rng.integers(0, 12, 200), rng.integers(0, 3, 200)
    y[0] = 7  # a class of one row
    part = deal(y, 4, rng, groups)
    assert set(part) == {0, 1, 2, 3}
    for group in range(12):
        assert len(set(part[groups == group])) == 1


def test_fewer_groups_than_parts():
    y = np.zeros(9, int)
    with pytest.raises(ValueError, match=r"Got 3 groups for 4 parts, .* use fewer parts"):
        deal(y, 4, np.random.default_rng(0), np.arange(9) % 3)


def assign(y, n_members=4, cross_fit=True, validation_fraction=0.2, groups=None):
    return assign_rows(
        y,
        n_members,
        np.random.default_rng(0),
        cross_fit=cross_fit,
        validation_fraction=validation_fraction,
        groups=groups,
    )


def test_cross_fitted_members_are_judged_by_the_rows_they_leave_out():
    y = np.arange(50) % 3
    assignment = assign(y)
    assert all(len(rows) for rows in assignment.validation)
    judged = np.concatenate(assignment.validation)
    np.testing.assert_array_equal(np.sort(judged), np.arange(50))
    for train, validation in zip(assignment.train, assignment.validation, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(50))


def test_one_member_is_judged_by_a_stratified_share():
    y = np.repeat([0, 1], [80, 20])
    assignment = assign(y, n_members=1)
    np.testing.assert_array_equal(np.bincount(y[assignment.validation[0]]), [16, 4])
    np.testing.assert_array_equal(
        np.sort(np.concatenate([assignment.train[0], assignment.validation[0]])), np.arange(100)
    )


def test_members_that_are_not_cross_fitted_share_their_rows():
    assignment = assign(np.arange(40) % 2, n_members=3, cross_fit=False)
    assert len(assignment.train) == 3
    for train, validation in zip(assignment.train, assignment.validation, strict=True):
        np.testing.assert_array_equal(train, assignment.train[0])
        np.testing.assert_array_equal(validation, assignment.validation[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_only_row_of_a_class_is_trained_on(seed):
    y = np.append(np.arange(40) % 2, 2)
    assignment = assign_rows(y, 1, np.random.default_rng(seed), cross_fit=False, validation_fraction=0.5)
    assert 40 in assignment.train[0]
    assert 40 not in assignment.validation[0]


@pytest.mark.parametrize("validation_fraction", [0, 0.2])
def test_few_rows_or_no_fraction_hold_nothing_out(validation_fraction):
    assignment = assign(np.arange(7) % 2, n_members=4, validation_fraction=validation_fraction)
    assert not any(len(rows) for rows in assignment.validation)
    for train in assignment.train:
        np.testing.assert_array_equal(train, np.arange(7))


def test_a_hold_out_keeps_groups_together():
    groups = np.arange(60) % 6
    assignment = assign(np.arange(60) // 6 % 2, n_members=1, groups=groups)
    assert all(len(rows) for rows in assignment.validation)
    assert not set(groups[assignment.train[0]]) & set(groups[assignment.validation[0]])


def test_one_group_holds_nothing_out():
    assert not len(assign(np.arange(60) % 2, n_members=1, groups=np.zeros(60, int)).validation[0])


def test_fewer_groups_than_members_share_their_parts():
    groups = np.arange(60) % 3
    assignment = assign(np.arange(60) % 2, n_members=5, groups=groups)
    for member in range(5):
        left_out = set(groups[assignment.validation[member]])
        assert len(left_out) == 1
        assert left_out.isdisjoint(groups[assignment.train[member]])
    np.testing.assert_array_equal(assignment.validation[0], assignment.validation[3])
