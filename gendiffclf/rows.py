"""Rows of NaN only, infinity, and weights as numbers of rows."""

from __future__ import annotations

import warnings

import numpy as np

_CHECKED_VALUES = 2**20
"""Values to check at a time."""
_MOST_OBSERVED = 1e9
"""Larger multiples of a weight are whole, or nearly, by rounding."""


def missing_rows(
    rows: np.ndarray, consequence: str, names: np.ndarray | None = None, *, stacklevel: int = 5
) -> np.ndarray:
    """
    Which rows (n, ..., d) are of NaN only (n,), with a warning that says what becomes of them; infinity is an error.

    A featuriser leaves such a row for a clip it could not read. They say nothing of the class, unlike single gaps. `names` are
    those of the d features, if they have any.
    """
    values, d = rows.reshape(len(rows), -1), rows.shape[-1]
    missing = np.zeros(len(rows), bool)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # spares the usual rows an array of booleans
            return missing
    step = max(1, _CHECKED_VALUES // values.shape[1])
    for start in range(0, len(values), step):  # rows may be on disk
        part = values[start : start + step]
        infinite = np.isinf(part)
        if infinite.any():
            row, place = np.unravel_index(infinite.argmax(), part.shape)
            column = repr(names[place % d]) if names is not None and len(names) == d else place % d
            raise ValueError(
                f"Got X that contains infinity or a number beyond {values.dtype} in column {column}, first in row {start + row}, "
                "expected finite numbers or NaN; clip it, or replace it by NaN where the value is not known."
            )
        missing[start : start + step] = np.isnan(part).all(axis=1)
    if missing.any():
        warnings.warn(
            f"Got {missing.sum()} of {len(rows)} rows of NaN only, the first at index {missing.argmax()}; they {consequence}.",
            UserWarning,
            stacklevel=stacklevel,
        )
    return missing


def observations(weight: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
    """
    How often each row of a weight (n,) was observed, (n,).

    As often as the weight has the least positive one of its label (n,), an integer, by default of all; unless these are all
    whole numbers, once.
    """
    label = np.zeros(len(weight), np.int64) if label is None else label
    least = np.full(label.max() + 1, np.inf)
    np.minimum.at(least, label, np.where(weight > 0, weight, np.inf))
    with np.errstate(over="ignore"):
        multiple = weight / least[label]
    whole = multiple.max() < _MOST_OBSERVED and np.allclose(multiple, np.rint(multiple), rtol=0, atol=1e-3)
    return np.rint(multiple) if whole else (weight > 0).astype(float)
