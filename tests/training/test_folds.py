"""Assignment of rows to members."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.estimators.selection import SELECTION_ROWS
from gendiffclf.training import folds
from gendiffclf.training.folds import SINGLE_FOLDS, assign_folds, selection_folds, split_rows

labels_of_rows = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


@given(labels_of_rows, st.integers(1, 9))
def test_parts_have_their_share_of_every_class(y, n_parts):
    part = split_rows(y, n_parts, np.random.default_rng(0))
    assert np.ptp(np.bincount(part, minlength=n_parts)) <= 1
    for label in np.unique(y):
        assert np.ptp(np.bincount(part[y == label], minlength=n_parts)) <= 1


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    groups, y = rng.integers(0, 12, 200), rng.integers(0, 3, 200)
    y[0] = 7  # a class of one row
    part = split_rows(y, 4, rng, groups)
    assert set(part) == {0, 1, 2, 3}
    for group in range(12):
        assert len(set(part[groups == group])) == 1


def test_fewer_groups_than_parts():
    y = np.zeros(9, int)
    with pytest.raises(ValueError, match=r"Got 3 groups for 4 parts, expected at least as many; use fewer parts\."):
        split_rows(y, 4, np.random.default_rng(0), np.arange(9) % 3)


def assign(y, n_members=4, *, validate=True, groups=None, seed=0):
    return assign_folds(y, n_members, np.random.default_rng(seed), validate=validate, groups=groups)


def test_of_more_members_than_pairs_of_rows_some_share_a_fold():
    found = assign_folds(np.arange(150) % 3, 100, np.random.default_rng(0), validate=True)
    assert np.array_equal(found.validation, np.arange(150))
    assert len(found.train) == 100
    for rows, member in zip(found.validation, found.member, strict=True):
        assert rows not in found.train[member]


@given(labels_of_rows, st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_no_row_is_validated_by_a_member_that_learnt_from_it(y, n_members, grouped, seed):
    groups = np.random.default_rng(seed).integers(0, 8, len(y)) if grouped else None
    assignment = assign(y, n_members, groups=groups, seed=seed)
    assert len(assignment.train) == n_members
    assert all(len(rows) for rows in assignment.train)
    assert len(assignment.validation) == len(assignment.member)
    of = np.arange(len(y)) if groups is None else groups
    for row, member in zip(assignment.validation, assignment.member, strict=True):
        assert of[row] not in of[assignment.train[member]]


@pytest.mark.parametrize("n_members", [1, 4])
def test_one_row_a_class_is_learnt_by_every_member(n_members):
    assignment = assign(np.arange(20), n_members)
    assert [list(rows) for rows in assignment.train] == [list(range(20))] * n_members
    assert not len(assignment.validation)


@pytest.mark.parametrize("n_members", [2, 3, 4, 7])
def test_each_of_several_members_leaves_out_a_fold_of_its_own(n_members):
    y = np.arange(53) % 3
    assignment = assign(y, n_members)
    np.testing.assert_array_equal(assignment.validation, np.arange(53))
    for member, train in enumerate(assignment.train):
        validation = assignment.validation[assignment.member == member]
        assert 53 // n_members <= len(validation) <= -(-53 // n_members)
        np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(53))


@pytest.mark.parametrize("n", [20, 100, 207, 1000])
def test_a_single_member_leaves_out_a_tenth(n):
    """And not, as a share of 1 / round(1 / share) of the rows would have it, about that."""
    assert SINGLE_FOLDS == 10
    assignment = assign(np.arange(n) % 2, 1)
    assert abs(len(assignment.validation) - n / 10) <= 1
    assert set(assignment.member) == {0}
    both = np.concatenate([assignment.train[0], assignment.validation])
    np.testing.assert_array_equal(np.sort(both), np.arange(n))


def test_the_tenth_is_stratified():
    y = np.repeat([0, 1], [80, 20])
    np.testing.assert_array_equal(np.bincount(y[assign(y, 1).validation]), [8, 2])


@pytest.mark.parametrize("seed", range(10))
def test_the_only_row_of_a_class_is_learnt_from(seed):
    y = np.append(np.arange(40) % 2, 2)
    assignment = assign(y, 1, seed=seed)
    assert 40 in assignment.train[0]
    assert 40 not in assignment.validation


@pytest.mark.parametrize("n_members", [1, 4])
def test_few_rows_are_all_learnt_from(n_members):
    assignment = assign(np.arange(7) % 2, n_members)
    assert not len(assignment.validation)
    assert len(assignment.train) == n_members
    for train in assignment.train:
        np.testing.assert_array_equal(train, np.arange(7))


def test_a_single_member_learns_from_all_rows_where_none_need_validate_it():
    assignment = assign(np.arange(100) % 2, 1, validate=False)
    np.testing.assert_array_equal(assignment.train[0], np.arange(100))
    assert not len(assignment.validation)
    assert len(assign(np.arange(100) % 2, 2, validate=False).validation) == 100


def test_a_hold_out_keeps_groups_together():
    groups = np.arange(60) % 6
    assignment = assign(np.arange(60) // 6 % 2, 1, groups=groups)
    held_out = set(groups[assignment.validation])
    assert held_out
    assert not held_out & set(groups[assignment.train[0]])


@pytest.mark.parametrize("n_members", [1, 3])
def test_one_group_holds_nothing_out(n_members):
    assignment = assign(np.arange(60) % 2, n_members, groups=np.zeros(60, int))
    assert not len(assignment.validation)
    assert [len(train) for train in assignment.train] == [60] * n_members


def test_fewer_groups_than_members_share_their_folds():
    groups = np.arange(60) % 3
    assignment = assign(np.arange(60) % 2, 5, groups=groups)
    for member, train in enumerate(assignment.train):
        assert len(set(groups[train])) == 2
        np.testing.assert_array_equal(train, assignment.train[member % 3])
    np.testing.assert_array_equal(np.sort(assignment.validation), np.arange(60))
    assert set(assignment.member) == {0, 1, 2}


@pytest.mark.parametrize("n_members", [1, 3])
def test_of_very_many_rows_an_even_selection_validates(n_members, monkeypatch):
    monkeypatch.setattr(folds, "HELD_OUT_ROWS", 30)
    y = np.arange(100) % 2
    assignment = assign(y, n_members)
    everything = np.arange(0, 100, 4)
    if n_members > 1:
        np.testing.assert_array_equal(assignment.validation, everything)
    assert set(assignment.validation) <= set(everything)
    for row, member in zip(assignment.validation, assignment.member, strict=True):
        assert row not in assignment.train[member]
    kept = sum(len(train) for train in assignment.train)
    assert kept == (90 if n_members == 1 else 200)


def test_folds_are_decided_by_their_generator():
    y = np.arange(60) % 3
    one, same, other = (assign(y, 3, seed=seed).member for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("n_groups", [None, 4, 30])
def test_rows_that_choose_hyperparameters_have_ten_folds(n_groups):
    y = np.arange(90) % 3
    groups = None if n_groups is None else np.arange(90) % n_groups
    part = selection_folds(y, np.random.default_rng(0), groups)
    assert set(part.tolist()) == set(range(4 if n_groups == 4 else 10))
    if groups is not None:
        assert all(len(set(part[groups == group].tolist())) == 1 for group in range(n_groups))


def test_only_the_first_of_many_rows_have_them_and_very_few_have_none():
    rng = np.random.default_rng(0)
    assert np.bincount(selection_folds(np.arange(SELECTION_ROWS + 1) % 2, rng)).tolist() == [SELECTION_ROWS // 10] * 10
    assert selection_folds(np.arange(3) % 2, rng) is None
    assert selection_folds(np.arange(8) % 2, rng, np.zeros(8)) is None
