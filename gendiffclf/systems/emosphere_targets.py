"""What ratings mean: which column is which dimension, and from which scale they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..validation import shown

DIMENSIONS = ("arousal", "valence", "dominance")
"""In the order of `spherical`."""


def dimension_names(Y: Any, dimensions: Any) -> list[str]:
    """
    Names of the columns of `Y`.

    Parameters
    ----------
    Y : array-like of shape (n, 3)
        A DataFrame has names.
    dimensions : sequence of str or None
        Names of the columns of an array.

    Returns
    -------
    names : list of str
        "arousal", "valence" and "dominance" in the order of the columns.

    Raises
    ------
    ValueError
        If there are no names, others, or two that contradict each other.
    """
    columns = [str(name) for name in Y.columns] if hasattr(Y, "columns") else None
    if dimensions is None and columns is None:
        raise ValueError(
            "Got Y without names of columns and dimensions=None, expected to be told which column is which; set "
            f"dimensions, such as dimensions={DIMENSIONS}, or pass a DataFrame."
        )
    names = columns if dimensions is None else np.ravel(dimensions).tolist()
    if names is None or sorted(names) != sorted(DIMENSIONS):
        raise ValueError(
            f"Got dimensions {shown(names)}, expected {', '.join(DIMENSIONS)} in the order of the columns."
        )
    if columns is not None and columns != names:
        raise ValueError(
            f"Got Y with columns {columns} and dimensions={names}, expected the same; leave dimensions=None."
        )
    return names


def check_range(value_range: Any) -> tuple[float, float]:
    """Ends of the scale of the ratings, or a ValueError."""
    try:
        low, high = (float(end) for end in (() if isinstance(value_range, str) else value_range))
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"Got value_range={shown(value_range)}, expected the ends of the scale of the ratings, low < high, such as (1, 7)."
        )
    return low, high


def check_ratings(Y: Any, low: float, high: float, n_clips: int) -> NDArray[np.float64]:
    """
    Ratings as an array.

    Returns
    -------
    ratings : ndarray of shape (n_clips, 3), float64

    Raises
    ------
    ValueError
        If there are not three numbers for each clip, or one is missing or beyond the scale.
    """
    try:
        ratings = np.asarray(Y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Got Y of shape {np.shape(Y)} with something else ({error}), expected numbers.") from error
    if ratings.shape != (n_clips, 3):
        raise ValueError(f"Got Y of shape {ratings.shape} for {n_clips} clips, expected ({n_clips}, 3).")
    wrong = ~((ratings >= low) & (ratings <= high))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"Got Y[{row}, {column}]={shown(ratings[row, column])}, expected ratings from {low:g} to {high:g}; set value_range, "
            "or leave such clips out."
        )
    return ratings
