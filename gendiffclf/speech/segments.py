"""The most probable sequence of labels of which each lasts long enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Keeps logarithms finite where a probability is 0.
FLOOR = 1e-9


def most_probable_segments(proba: NDArray[np.floating], least: int) -> list[tuple[int, int, int]]:
    """
    Divide steps of time into segments of one class.

    Parameters
    ----------
    proba : ndarray of shape (n, K)
        Probabilities of the steps; rows of NaN lie in no segment and end those before them.
    least : int
        Steps that a segment lasts at least. A run of fewer steps between rows of NaN is one segment.

    Returns
    -------
    segments : list of (int, int, int)
        First step, the step after the last, and class, in order: of all allowed divisions the one with the greatest
        product of probabilities.
    """
    present = ~np.isnan(proba).any(axis=1)
    edges = np.flatnonzero(np.diff(np.r_[False, present, False]))
    found = []
    for start, end in edges.reshape(-1, 2).tolist():
        run = np.log(np.maximum(proba[start:end], FLOOR))
        found += [(start + a, start + b, k) for a, b, k in _divide(run, min(max(least, 1), end - start))]
    return found


def _divide(scores: NDArray[np.floating], least: int) -> list[tuple[int, int, int]]:
    """Segments of at least `least` rows with the greatest sum of scores, by dynamic programming, O(n K)."""
    n, n_classes = scores.shape
    sums = np.concatenate([np.zeros((1, n_classes)), np.cumsum(scores, axis=0)])  # (n + 1, K)
    best = np.full((n + 1, n_classes), -np.inf)  # of the first t rows, the last segment of class k and long enough
    begun = np.zeros((n + 1, n_classes), dtype=np.int64)  # where that segment begins
    top = np.full(n + 1, -np.inf)
    top[0] = 0.0
    for t in range(least, n + 1):
        anew = top[t - least] + sums[t] - sums[t - least]
        longer = best[t - 1] + scores[t - 1]
        best[t] = np.maximum(anew, longer)
        begun[t] = np.where(anew > longer, t - least, begun[t - 1])
        top[t] = best[t].max()
    segments: list[tuple[int, int, int]] = []
    t = n
    while t > 0:
        k = int(best[t].argmax())
        start = int(begun[t, k])
        if segments and segments[-1][2] == k:  # two of one class in a row are one
            segments[-1] = (start, segments[-1][1], k)
        else:
            segments.append((start, t, k))
        t = start
    return segments[::-1]
