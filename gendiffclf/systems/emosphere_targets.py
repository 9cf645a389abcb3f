"""Validation of ratings: names of the columns, and the rating scale."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..validation import shown

DIMENSIONS = ("arousal", "valence", "dominance")
"""In the order of `spherical`."""


def dimension_names(Y: Any, dimensions: Any) -> list[str]:
    """Names of the columns of `Y`, from a DataFrame or from `dimensions`: those of `DIMENSIONS` in any order."""
    columns = [str(name) for name in Y.columns] if hasattr(Y, "columns") else None
    if dimensions is None and columns is None:
        raise ValueError(
            f"Got Y without column names and dimensions=None, expected the names of its columns; set dimensions={DIMENSIONS}, "
            "in the order of the columns, or pass a DataFrame."
        )
    names = columns if dimensions is None else np.ravel(dimensions).tolist()
    if names is None or sorted(names) != sorted(DIMENSIONS):
        raise ValueError(
            f"Got dimensions {shown(names)}, expected {', '.join(DIMENSIONS)} in the order of the columns."
        )
    if columns is not None and columns != names:
        raise ValueError(
            f"Got Y with columns {columns} and dimensions={names}, expected the same names; leave dimensions=None."
        )
    return names


def in_order(Y: Any, names: list[str]) -> Any:
    """True ratings with their columns in the order of `names`; those of arrays are already in order."""
    if not hasattr(Y, "columns"):
        return Y
    missing = [name for name in names if name not in list(Y.columns)]
    if missing:
        raise ValueError(
            f"Got Y with columns {shown(list(map(str, Y.columns)))}, expected also {', '.join(missing)}; rename its columns."
        )
    return Y[names]


def check_range(value_range: Any) -> tuple[float, float]:
    """Return the ends of the rating scale as floats; raise a ValueError if they are none."""
    try:
        low, high = (float(end) for end in (() if isinstance(value_range, str) else value_range))
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"Got value_range={shown(value_range)}, expected the ends of the rating scale with low < high, such as (1, 7)."
        )
    return low, high


def check_ratings(Y: Any, low: float, high: float, n_clips: int) -> NDArray[np.float64]:
    """Return ratings as an array of shape (n_clips, 3), float64, after a check that all are in [low, high]."""
    try:
        ratings = np.asarray(Y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Got Y of shape {np.shape(Y)} with other values ({error}), expected numbers.") from error
    if ratings.shape != (n_clips, 3):
        raise ValueError(f"Got Y of shape {ratings.shape} for {n_clips} clips, expected ({n_clips}, 3).")
    wrong = ~((ratings >= low) & (ratings <= high))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"Got Y[{row}, {column}]={shown(ratings[row, column])}, expected ratings from {low:g} to {high:g}; set value_range "
            "to the rating scale, or leave out such clips."
        )
    return ratings


def check_varied(ratings: NDArray[np.float64], names: list[str]) -> None:
    """
    Warn of columns of `ratings`, (n, 3), that are constant; a ValueError if all are, as with a single clip.

    Concordance with a constant is 0 for every prediction and has no gradient.
    """
    constant = [name for name, spread in zip(names, np.ptp(ratings, axis=0), strict=True) if not spread]
    if len(constant) == len(names):
        raise ValueError(
            f"Got the same ratings for all {len(ratings)} clips, expected different ones, since the loss is a correlation; add "
            "clips."
        )
    if constant:
        warnings.warn(
            f"Got the same {' and '.join(constant)} for all {len(ratings)} clips, expected different ratings, since the loss is "
            f"a correlation; ignore predictions of {' and '.join(constant)}, which is not trained.",
            stacklevel=4,  # the caller of fit
        )
