"""From raw features to what the method wants: standardised rows, the start of transport x1, and the condition X_c."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SCALINGS = ("robust", "standard", "quantile", "none")
LIFTS = ("orthogonal", "pad")
SMOOTH_CLIP = 3.0
"""Robustly scaled values v become v / sqrt(1 + (v / 3)²): the identity near 0, never beyond ±3."""
N_QUANTILES = 256
_CHUNK = 65_536


@dataclass(frozen=True)
class FeatureScaler:
    """
    Puts every feature on the scale of the code's coordinates, whose root mean square is .707.

    Attributes
    ----------
    kind : str
        One of `SCALINGS`: `"robust"` (median and interquartile range, then a smooth clip), `"standard"` (mean and standard
        deviation), `"quantile"` (to a normal distribution, the least and the greatest at ±3) or `"none"`.
    center, scale : ndarray of shape (layers, d), float64
    quantiles : ndarray of shape (N_QUANTILES, layers, d), float64, or None
        Reference points of `"quantile"`.
    """

    kind: str
    center: np.ndarray
    scale: np.ndarray
    quantiles: np.ndarray | None = None

    @classmethod
    def fit(cls, X: np.ndarray, sample_weight: np.ndarray, kind: str) -> FeatureScaler:
        """Learn from rows X (n, layers, d) with weights (n,); a row of weight 2 counts like two rows."""
        shape = X.shape[1:]
        quantiles = None
        if kind == "none":
            center, scale = np.zeros(shape), np.ones(shape)
        elif kind == "standard":
            center = np.average(X, axis=0, weights=sample_weight)
            scale = np.sqrt(np.average((X - center) ** 2, axis=0, weights=sample_weight))
        else:
            levels = [0.25, 0.5, 0.75] if kind == "robust" else np.linspace(0, 1, N_QUANTILES)
            found = np.quantile(
                X.astype(np.float64), levels, axis=0, weights=sample_weight, method="inverted_cdf"
            )  # (levels, layers, d)
            if kind == "robust":
                low, center, high = found
                scale = (high - low) / 1.349  # the interquartile range of a standard normal
                spread = np.ptp(X, axis=0) / 2  # for features that are constant on more than half of the rows
                scale = np.where(scale > 0, scale, spread)
            else:
                center, scale, quantiles = np.zeros(shape), np.ones(shape), found
        # The mean of a constant is off by some rounding errors, and so is its deviation from 0.
        least = np.maximum(8 * np.finfo(np.float64).eps * np.abs(center), np.finfo(np.float32).tiny)
        scale = np.where(scale > least, scale, 1.0)
        return cls(kind, np.asarray(center, np.float64), scale, quantiles)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Scale rows (n, layers, d) to float32; a chunk at a time, so that no float64 copy of all rows is held."""
        scaled = np.empty(X.shape, np.float32)
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scaled[rows] = self._transform(np.asarray(X[rows], np.float64))
        return scaled

    def _transform(self, X: np.ndarray) -> np.ndarray:
        if self.quantiles is not None:
            return self._to_normal(X)
        values = (X - self.center) / self.scale
        if self.kind == "robust":
            values /= np.hypot(1, values / SMOOTH_CLIP)  # no square that overflows
        return values

    def _to_normal(self, X: np.ndarray) -> np.ndarray:
        from scipy.special import ndtri

        assert self.quantiles is not None
        levels = np.linspace(0, 1, len(self.quantiles))
        normal = np.empty_like(X)
        for place in np.ndindex(X.shape[1:]):
            reference, column = self.quantiles[:, *place], X[:, *place]
            # From both sides, so that a value that fills several quantiles gets the middle of their levels.
            up = np.interp(column, reference, levels)
            down = -np.interp(-column, -reference[::-1], -levels[::-1])
            level = np.where(column <= reference[0], 0, np.where(column >= reference[-1], 1, (up + down) / 2))
            normal[:, *place] = np.clip(ndtri(level), -SMOOTH_CLIP, SMOOTH_CLIP)
        return normal


def lift_matrix(kind: str, n_features: int, width: int, seed: int) -> np.ndarray:
    """
    The fixed linear map that carries a feature vector into the code space.

    Parameters
    ----------
    kind : str
        `"orthogonal"`: rows (or, for more features than dimensions, columns) of a random orthogonal matrix, scaled so that
        lengths are kept on average; `"pad"`: features followed by zeros.
    n_features, width : int
        d, L. Where they are equal the map is the identity.
    seed : int
        Chooses the orthogonal matrix.

    Returns
    -------
    ndarray of shape (n_features, width), float64

    Raises
    ------
    ValueError
        If `"pad"` is asked to make a vector shorter.
    """
    if n_features == width:
        return np.eye(width)
    if kind == "pad":
        if n_features > width:
            raise ValueError(
                f"Got lift='pad' with {n_features} features and width={width}, expected width >= {n_features}; "
                "use a larger width or lift='orthogonal'."
            )
        return np.eye(n_features, width)
    larger, smaller = max(n_features, width), min(n_features, width)
    orthogonal, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((larger, smaller)))
    if n_features <= width:
        return orthogonal.T
    return orthogonal * np.sqrt(n_features / width)
