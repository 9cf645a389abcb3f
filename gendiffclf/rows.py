"""Rows of NaN only, and infinity."""

from __future__ import annotations

import warnings

import numpy as np

_CHECKED_VALUES = 2**20
"""Values to check at a time."""


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
