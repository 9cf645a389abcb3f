"""Bootstrap intervals over speakers, who are resampled with all their clips, as clips of one speaker are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm, t

from .measures import Tally

LEVEL = 0.95
N_RESAMPLES = 2000
_CHUNK = 200


def resample(tallies: Sequence[Tally], random_state: int, n_resamples: int = N_RESAMPLES) -> list[Tally]:
    """
    Return tallies of bootstrap samples of units, the same samples for all tallies.

    Parameters
    ----------
    tallies : sequence of Tally
        Over the same m units each, such as the clips of two groups by speaker, or of two classifiers.
    random_state : int
        Seed of the bootstrap.
    n_resamples : int, default=2000
        Number of bootstrap samples.

    Returns
    -------
    resampled : list of Tally
        One for each of `tallies`, with `n_resamples` units.
    """
    parts: list[list[Tally]] = [[] for _ in tallies]
    for weights in draw_weights(len(tallies[0].loss), random_state, n_resamples):
        for kept, tally in zip(parts, tallies, strict=True):
            kept.append(tally.weighted(weights))
    return [
        Tally(*(np.concatenate([getattr(part, name) for part in kept]) for name in ("confusion", "loss", "bins")))
        for kept in parts
    ]


def draw_weights(m: int, random_state: int, n_resamples: int = N_RESAMPLES) -> Iterator[np.ndarray]:
    """Yield how often each of m units is in each of `n_resamples` bootstrap samples, as arrays of shape (samples, m)."""
    rng = np.random.default_rng(random_state)
    for start in range(0, n_resamples, _CHUNK):
        yield rng.multinomial(m, np.full(m, 1 / m), size=min(_CHUNK, n_resamples - start)).astype(np.float64)


def interval(values: np.ndarray, n_units: int, level: float = LEVEL) -> tuple[float, float]:
    """
    Return the bounds of an expanded percentile interval.

    Parameters
    ----------
    values : ndarray of shape (b,)
        A measure on each bootstrap sample; NaN if undefined.
    n_units : int
        Number of units.
    level : float in (0, 1), default=0.95
        Confidence level.

    Returns
    -------
    low, high : float
        NaN for fewer than 2 units, or if all values are NaN.

    Notes
    -----
    For few units the plain percentile interval is too narrow, since it corresponds to a normal quantile instead of
    Student's t, and to a variance divided by n instead of n - 1. The quantiles are adjusted for both (Hesterberg 2015, What
    Teachers Should Know about the Bootstrap, section 5.2).
    """
    values = values[~np.isnan(values)]
    if n_units < 2 or not len(values):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    expanded = norm.cdf(np.sqrt(n_units / (n_units - 1)) * t.ppf(tail, n_units - 1))
    low, high = np.quantile(values, [expanded, 1 - expanded])
    return float(low), float(high)
