"""
Arousal, valence and dominance as a point on a sphere, and regions of the sphere.

A point is (a, v, d): arousal, valence and dominance, centred, in [-1, 1]. Geometry and octants are those of EmoSphere-SER
(arXiv 2505.19693). Of its finer partitions the paper gives only names and numbers of regions, so their borders are our choice.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

PARTITIONS: dict[int, tuple[int, int] | None] = {8: None, 19: (6, 3), 33: (8, 4), 73: (12, 6)}
"""Numbers of azimuth and polar sectors by number of regions, of 60, 45 and 30 degrees each; None for octants."""
OCTANTS = ("+++", "-++", "--+", "+-+", "++-", "-+-", "---", "+--")
"""Signs of (a, v, d) in octants I to VIII; 0 counts as +."""


def centred(y: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """
    Map ratings from their scale to [-1, 1]: z = 2 (y - low) / (high - low) - 1.

    Parameters
    ----------
    y : array-like
        Ratings.
    low, high : float
        Ends of the rating scale.

    Examples
    --------
    >>> centred([1, 4, 7], 1, 7)
    array([-1.,  0.,  1.])
    """
    return 2 * (np.asarray(y, dtype=np.float64) - low) / (high - low) - 1


def to_spherical(points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """
    Return the spherical coordinates of points.

    Parameters
    ----------
    points : array-like of shape (..., 3)
        (a, v, d).

    Returns
    -------
    radius : ndarray of shape (...)
        r = √(a² + d² + v²), the intensity of an emotion.
    azimuth : ndarray of shape (...)
        φ = atan2(d, a), in (-π, π].
    polar : ndarray of shape (...)
        θ = arccos(v / r), in [0, π]. Both angles are 0 for r = 0.

    Examples
    --------
    >>> radius, azimuth, polar = to_spherical([0.0, 1.0, 0.0])
    >>> float(radius), float(azimuth), float(polar)
    (1.0, 0.0, 0.0)
    """
    a, v, d = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    radius = np.sqrt(a**2 + d**2 + v**2)
    # (a + 0.0) makes +0 of -0, whose azimuth would be π.
    azimuth = np.arctan2(d + 0.0, a + 0.0)
    # Equal to arccos(v / r), and accurate near the poles.
    polar = np.arctan2(np.hypot(a, d), v + 0.0)
    return radius, azimuth, polar


def regions(points: ArrayLike, n_regions: int = 8) -> NDArray[np.int64]:
    """
    Return the number of the region that each point is in.

    Parameters
    ----------
    points : array-like of shape (..., 3)
        (a, v, d).
    n_regions : {8, 19, 33, 73}, default=8
        8 means the octants, in the order of `OCTANTS`. The other partitions are a grid of azimuth and polar sectors, and a
        last region for the origin alone: 6 · 3 + 1, 8 · 4 + 1, 12 · 6 + 1.

    Returns
    -------
    number : ndarray of shape (...), int
        In [0, n_regions): azimuth sector, counted from -π, times the number of polar sectors, plus polar sector, counted from
        0. Sectors include their lower border.

    Raises
    ------
    ValueError
        If `n_regions` has another value.

    Examples
    --------
    >>> regions([[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5], [0.5, -0.5, -0.5]]).tolist()
    [0, 6, 7]
    >>> int(regions([0.0, 0.0, 0.0], 33))
    32
    """
    check_partition(n_regions)
    points = np.asarray(points, dtype=np.float64)
    sectors = PARTITIONS[n_regions]
    if sectors is None:
        a, v, d = np.moveaxis(points >= 0, -1, 0)
        # For each sign of d, octants are in the order ++, -+, --, +- of (a, v).
        return np.asarray(np.where(v, np.where(a, 0, 1), np.where(a, 3, 2)) + np.where(d, 0, 4))
    n_azimuth, n_polar = sectors
    radius, azimuth, polar = to_spherical(points)
    column = np.floor((azimuth + math.pi) / (2 * math.pi) * n_azimuth).astype(np.int64) % n_azimuth  # π equals -π
    row = np.minimum(np.floor(polar / math.pi * n_polar).astype(np.int64), n_polar - 1)
    return np.asarray(np.where(radius == 0, n_regions - 1, column * n_polar + row))


def check_partition(n_regions: int) -> None:
    """Raise a ValueError unless there is a partition with this number of regions."""
    if n_regions not in list(PARTITIONS):  # a list, since a wrong value may not be hashable
        raise ValueError(f"Got n_regions={n_regions!r}, expected one of {', '.join(map(str, PARTITIONS))}.")
