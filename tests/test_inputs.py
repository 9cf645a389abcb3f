"""What is checked of rows before anything is learnt from them."""

import numpy as np
import pytest

from gendiffclf import inputs


@pytest.fixture
def rows(monkeypatch):
    """Rows that take several blocks: (n, layers, d)."""
    monkeypatch.setattr(inputs, "_CHECKED_VALUES", 6)
    return np.ones((7, 1, 3))


def test_rows_of_nan_are_found_in_every_block(rows):
    rows[[1, 5]] = np.nan
    with pytest.warns(UserWarning, match="Got 2 of 7 rows of NaN only, the first at index 1; they vanish"):
        assert np.flatnonzero(inputs._missing_rows(rows, "vanish")).tolist() == [1, 5]


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "contains NaN, first in row 6"), (np.inf, "infinity .* row 6")]
)
def test_a_row_that_is_wrong_is_named_by_its_number_among_all(rows, value, message):
    rows[1] = np.nan
    rows[6, 0, 1] = value
    with pytest.raises(ValueError, match=message):
        inputs._missing_rows(rows, "vanish")
