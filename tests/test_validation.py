"""Checks of scalar parameters: what passes, and what the errors say."""

import numpy as np
import pytest

from gendiffclf.validation import check_choice, check_flag, check_integer, check_real, shown


def test_a_choice_is_one_of_the_names():
    check_choice("codes", "b", ["a", "b"])
    for value in ("c", None, 1, ["a"]):
        with pytest.raises(ValueError, match=r"Got codes=.*, expected one of 'a', 'b'\."):
            check_choice("codes", value, iter(["a", "b"]))


@pytest.mark.parametrize("value", [3, 7, np.int64(3)])
def test_an_integer_is_at_least_the_minimum(value):
    check_integer("depth", value, 3)


@pytest.mark.parametrize("value", [2, 3.0, "3", None, True, float("nan")])
def test_not_such_an_integer(value):
    with pytest.raises(ValueError, match=rf"Got depth={value!r}, expected an integer >= 3\."):
        check_integer("depth", value, 3)


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.5), np.int64(1)])
def test_a_number_is_in_its_interval(value):
    check_real("t", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True, [0.5]])
def test_not_a_number_of_the_interval(value):
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
        check_flag("warm_start", value)
    for value in (1, 0, "yes", None):
        with pytest.raises(ValueError, match=r"Got warm_start=.*, expected True or False\."):
            check_flag("warm_start", value)
