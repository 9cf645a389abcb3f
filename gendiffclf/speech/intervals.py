"""Bootstrap intervals over speakers, who are resampled with all their clips, as clips of one speaker are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from scipy.stats import norm, t

LEVEL = 0.95
N_RESAMPLES = 2000
MIN_UNITS = 5
"""Minimum number n of units for an interval. It lies within their range, which holds the median with probability 1 - 2 ** (1 - n)
only."""
_CHUNK = 200


@dataclass(frozen=True)
class Sums:
    """Sums over the clips of m units, such as folds or speakers, in arrays of m rows; subclasses compute measures from them."""

    @property
    def n_units(self) -> int:
        """The number m of units."""
        return len(next(iter(vars(self).values())))

    def weighted(self, weights: np.ndarray) -> Self:
        """Return the sums of b samples, in which units occur as often as `weights` of shape (b, m) says."""
        return type(self)(*(np.tensordot(weights, part, axes=1) for part in vars(self).values()))

    def measures(self) -> dict[str, np.ndarray]:
        """Return the measures of each unit, of shape (m,), by name; NaN if undefined."""
        raise NotImplementedError


T = TypeVar("T", bound=Sums)


def resample(tallies: Sequence[T], random_state: int, n_resamples: int = N_RESAMPLES) -> list[T]:
    """Return the sums of bootstrap samples of units, the same samples for all tallies, which have the same units."""
    weights = draw_weights(tallies[0].n_units, random_state, n_resamples)
    chunks = [[tally.weighted(drawn) for tally in tallies] for drawn in weights]
    return [
        type(parts[0])(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))
        for parts in zip(*chunks, strict=True)
    ]


def draw_weights(m: int, random_state: int, n_resamples: int = N_RESAMPLES) -> Iterator[np.ndarray]:
    """Yield how often each of m units is in each of `n_resamples` bootstrap samples, as arrays of shape (samples, m)."""
    rng = np.random.default_rng(random_state)
    for start in range(0, n_resamples, _CHUNK):
        yield rng.multinomial(m, np.full(m, 1 / m), size=min(_CHUNK, n_resamples - start)).astype(np.float64)


def interval(values: np.ndarray, n_units: int) -> tuple[float, float]:
    """
    Return the bounds of an expanded percentile interval, from values of a measure on b bootstrap samples of units, (b,).

    They are NaN for fewer than `MIN_UNITS` units, or if most values are NaN.

    Notes
    -----
    For few units the plain percentile interval is too narrow, since it corresponds to a normal quantile instead of
    Student's t, and to a variance divided by n instead of n - 1. The quantiles are adjusted for both (Hesterberg 2015, What
    Teachers Should Know about the Bootstrap, section 5.2).
    """
    defined = values[~np.isnan(values)]
    if n_units < MIN_UNITS or len(defined) < len(values) / 2:
        return float("nan"), float("nan")
    expanded = norm.cdf(np.sqrt(n_units / (n_units - 1)) * t.ppf((1 - LEVEL) / 2, n_units - 1))
    low, high = np.quantile(defined, [expanded, 1 - expanded])
    return float(low), float(high)


def bounds_text(low: float, high: float) -> str:
    """Return an interval as text."""
    return "none" if np.isnan(low) else f"{low:.3f} to {high:.3f}"


def units_text(n_units: int, unit: str, *, lacking: bool = False) -> str:
    """
    Return a sentence about the units of intervals, such as "speakers", or about too few of them.

    `lacking` says that means over classes have no interval.
    """
    if n_units < MIN_UNITS:
        return f"There are no intervals over {n_units} {unit}, since they need at least {MIN_UNITS}."
    if lacking:
        return f"UAR and macro-F1 have no interval over {n_units} {unit}, since most samples of {unit} lack a label."
    return f"Intervals are over {n_units} {unit}."
