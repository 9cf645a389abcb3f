"""Missing values in scaled rows: what they become, and the columns that say where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

INDICATOR_SCALE = 1.0
"""Difference between a missing and a present value in the column that tells them apart; features have a deviation of about 1."""
_MEAN_ROWS = 2000
"""The scaled features' means are those of so many rows at most."""
_BLOCK = 64
"""Rows in memory at a time for that."""


@dataclass(frozen=True)
class MissingValues:
    """
    How missing values (NaN) get into scaled rows.

    A missing value becomes the mean of its scaled feature, so that it moves a row neither way. A feature that was missing in some
    training rows gets a column beside all features, which tells whether it is missing: there, that a value is missing may say
    something about the class.

    Attributes
    ----------
    fill : ndarray of shape (views * layers, d), float32
        What a missing value becomes.
    gaps : ndarray of shape (g,), int
        Features with a column of their own.
    share : ndarray of shape (layers, g), float64
        Share of the training weight in which they are missing: the centre of that column.
    """

    fill: np.ndarray
    gaps: np.ndarray
    share: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, int], n_views: int) -> MissingValues:
        """For rows (layers, d) without missing values."""
        layers, d = shape
        return cls(np.zeros((n_views * layers, d), np.float32), np.empty(0, np.int64), np.empty((layers, 0)))

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        index: np.ndarray,
        sample_weight: np.ndarray,
        scale: Callable[[np.ndarray], np.ndarray],
        gaps: np.ndarray,
    ) -> MissingValues:
        """
        Learn from rows.

        Parameters
        ----------
        X : ndarray of shape (N, layers, d)
        index : ndarray of shape (n,), int
            The rows to learn from.
        sample_weight : ndarray of shape (n,)
        scale : callable
            From rows to scaled rows (n, views * layers, d), which keeps NaN.
        gaps : ndarray of shape (g,), int
            Features that are missing in some rows but not in all.
        """
        share = np.average(np.isnan(X[:, :, gaps][index]), axis=0, weights=sample_weight)
        stride = -(-len(index) // _MEAN_ROWS)
        rows, weight = index[::stride], sample_weight[::stride, None, None]
        total, summed = np.zeros(1), np.zeros(1)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            scaled = scale(X[rows[part]])
            present = ~np.isnan(scaled)
            total = total + (weight[part] * present).sum(0)
            summed = summed + (weight[part] * np.where(present, scaled, 0)).sum(0)
        return cls((summed / np.where(total > 0, total, 1)).astype(np.float32), gaps, share)

    def put_in(self, X: np.ndarray, scaled: np.ndarray, out: np.ndarray) -> None:
        """
        Complete scaled rows.

        Parameters
        ----------
        X : ndarray of shape (n, layers, d)
            Rows as they came.
        scaled : ndarray of shape (n, views * layers, d)
            The same, scaled, with NaN.
        out : ndarray of shape (n, views * layers, d + g)
            Gets the result.
        """
        d = X.shape[2]
        np.copyto(out[:, :, :d], scaled)
        if (gap := np.isnan(scaled)).any():
            np.copyto(out[:, :, :d], self.fill, where=gap)
        if len(self.gaps):
            column = (np.isnan(X[:, :, self.gaps]) - self.share) * INDICATOR_SCALE  # (n, layers, g)
            out[:, :, d:] = np.tile(column, (1, scaled.shape[1] // X.shape[1], 1))
