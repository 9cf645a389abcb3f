"""Segmentation of probabilities over time into labels of a minimum duration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Keeps logarithms of zero probabilities finite.
EPS = 1e-9


def most_probable_segments(proba: NDArray[np.floating], min_steps: int) -> list[tuple[int, int, int]]:
    """
    Divide time steps into segments of one class each, with the greatest product of probabilities.

    Rows of NaN in `proba` (n, K) belong to no segment and separate segments. Each has at least `min_steps` steps; a shorter
    run between rows of NaN is one segment. Returns first step, step after the last, and class of each segment, in order.
    """
    present = ~np.isnan(proba).any(axis=1)
    edges = np.flatnonzero(np.diff(np.r_[False, present, False]))
    segments = []
    for start, end in edges.reshape(-1, 2).tolist():
        run = np.log(np.maximum(proba[start:end], EPS))
        segments += [(start + a, start + b, k) for a, b, k in _divide(run, min(max(min_steps, 1), end - start))]
    return segments


def _divide(scores: NDArray[np.floating], min_steps: int) -> list[tuple[int, int, int]]:
    """Segments of at least `min_steps` rows with the greatest sum of scores, by dynamic programming in O(n K)."""
    n, n_classes = scores.shape
    sums = np.concatenate([np.zeros((1, n_classes)), np.cumsum(scores, axis=0)])  # (n + 1, K)
    best = np.full((n + 1, n_classes), -np.inf)  # best score of the first t rows whose last segment has class k
    begins = np.zeros((n + 1, n_classes), dtype=np.int64)  # where that segment begins
    top = np.full(n + 1, -np.inf)
    top[0] = 0.0
    for t in range(min_steps, n + 1):
        new = top[t - min_steps] + sums[t] - sums[t - min_steps]
        extended = best[t - 1] + scores[t - 1]
        best[t] = np.maximum(new, extended)
        begins[t] = np.where(new > extended, t - min_steps, begins[t - 1])
        top[t] = best[t].max()
    segments: list[tuple[int, int, int]] = []
    t = n
    while t > 0:
        k = int(best[t].argmax())
        start = int(begins[t, k])
        if segments and segments[-1][2] == k:  # merge adjacent segments of one class
            segments[-1] = (start, segments[-1][1], k)
        else:
            segments.append((start, t, k))
        t = start
    return segments[::-1]
