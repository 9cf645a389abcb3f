"""Rows of NaN only, and infinity, also in rows of several blocks."""

import numpy as np
import pytest

from gendiffclf import rows


@pytest.fixture
def in_blocks(monkeypatch):
    """Rows that take several blocks: (n, layers, d)."""
    monkeypatch.setattr(rows, "_CHECKED_VALUES", 6)
    return np.ones((7, 1, 3))


def test_rows_of_nan_are_found_in_every_block(in_blocks):
    in_blocks[[1, 5]] = np.nan
    with pytest.warns(UserWarning, match="Got 2 of 7 rows of NaN only, the first at index 1; they vanish"):
        assert np.flatnonzero(rows.missing_rows(in_blocks, "vanish")).tolist() == [1, 5]


@pytest.mark.parametrize("shape", [(7, 1, 3), (7, 2, 3)], ids=["matrix", "layers"])
def test_infinity_is_named_by_its_row_among_all_and_its_column(monkeypatch, shape):
    monkeypatch.setattr(rows, "_CHECKED_VALUES", 6)
    X = np.ones(shape)
    X[1], X[6, -1, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match="infinity or a number beyond float64 in column 1, first in row 6, expected"):
        rows.missing_rows(X, "vanish")


def test_large_numbers_whose_sum_overflows_are_no_infinity():
    X = np.full((4, 1, 3), 3e38, np.float32)
    assert not rows.missing_rows(X, "vanish").any()
