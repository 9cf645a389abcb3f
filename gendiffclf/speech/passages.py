"""Clips that are cuts of one recording, found by landmarks of their sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.spatial import KDTree

from ..featurizers.audio import AudioError

if TYPE_CHECKING:
    from .recordings import Recording

APART = 0.1
"""Minimum seconds between landmarks."""
AROUND = 0.02
"""Seconds before and after a landmark that are compared."""
SAME = 0.03
"""Maximum distance of the sketches of one landmark in two cuts, which differ by rounding."""
N_SKETCH = 16
MIN_LANDMARKS = 3
"""Minimum number of landmarks that two cuts share."""
MIN_SHARE = 0.75
"""Minimum share of the landmarks of their common time, so that clips with the same signature tune are none."""
N_NEAREST = 8
"""Maximum number of landmarks that one is compared with, so that a sound of all clips does not fill the memory."""


class Landmarks(NamedTuple):
    """Samples that are the largest around them: places (n,) in samples, and sketches (n, 16) of the sound around, at norm 1."""

    places: NDArray[np.int64]
    sketches: NDArray[np.float32]


def landmarks_of(mono: NDArray[np.float32], rate: float) -> Landmarks:
    """Return the landmarks of a mono mix without offset; none where the sound repeats, as a tone does."""
    size, apart, around = np.abs(mono), round(APART * rate), max(1, round(AROUND * rate))
    top = np.flatnonzero((size == maximum_filter1d(size, 2 * apart + 1)) & (size > 0.01 * size.max()))
    top = top[(np.diff(top, prepend=-apart) >= apart) & (top >= around) & (top < len(mono) - around)]
    windows = (
        mono.astype(np.float64)[top[:, None] + np.arange(-around, around)] * np.sign(mono[top])[:, None]
    )  # (n, 2 · around)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows *= np.random.default_rng(0).choice([-1.0, 1.0], windows.shape[1])
    norms = np.linalg.norm(windows, axis=1, keepdims=True)
    padded = np.pad(windows / np.where(norms > 0, norms, 1), ((0, 0), (0, -windows.shape[1] % N_SKETCH)))
    sketches = padded.reshape(len(top), padded.shape[1] // N_SKETCH, N_SKETCH).sum(axis=1)  # (n, 2 · around) -> (n, 16)
    if len(top) > 1:
        nearest = KDTree(sketches).query(sketches, 2)[0][:, 1]
        top, sketches = top[nearest > 2 * SAME], sketches[nearest > 2 * SAME]
    return Landmarks(top, sketches.astype(np.float32))


def cuts_of(recordings: Sequence[Recording | AudioError], copies: NDArray[np.str_]) -> NDArray[np.int64]:
    """
    Pairs of rows (p, 2) with cuts of one recording, at any gain, of which more than half of what they cover together is in both.

    Copies, with equal digests in `copies`, (n_clips,), are none.
    """
    valid = [(i, recording) for i, recording in enumerate(recordings) if not isinstance(recording, AudioError)]
    sizes = [len(recording.landmarks.places) for _, recording in valid]
    if sum(sizes) < 2:
        return np.empty((0, 2), int)
    row = np.repeat([i for i, _ in valid], sizes)
    rate = np.repeat([recording.rate for _, recording in valid], sizes)
    place = np.concatenate([recording.landmarks.places for _, recording in valid])
    sketches = np.concatenate([recording.landmarks.sketches for _, recording in valid])
    _, near = KDTree(sketches).query(sketches, min(N_NEAREST, len(sketches)), distance_upper_bound=SAME)
    first, rank = np.nonzero(near < len(sketches))
    second = near[first, rank]
    keep = (row[first] < row[second]) & (rate[first] == rate[second]) & (copies[row[first]] != copies[row[second]])
    first, second = first[keep], second[keep]
    table = pd.DataFrame({"i": row[first], "j": row[second], "lag": place[first] - place[second]})
    counts = table.value_counts()
    candidates = counts[counts >= MIN_LANDMARKS].items()
    by_row = dict(valid)
    pairs = [(i, j) for (i, j, lag), count in candidates if _overlap(by_row[i], by_row[j], lag, count)]
    return np.unique(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=0)


def _overlap(one: Recording, other: Recording, lag: int, count: int) -> bool:
    """Whether two clips, of which the second begins `lag` samples after the first, have `count` landmarks where both should."""
    begin, end = lag / one.rate, lag / one.rate + other.seconds
    first, last = max(begin, 0.0), min(one.seconds, end)
    expected = max(
        int(np.count_nonzero((places >= first * one.rate) & (places < last * one.rate)))
        for places in (one.landmarks.places, other.landmarks.places + lag)
    )
    covered = max(one.seconds, end) - min(begin, 0.0)
    return last - first > covered / 2 and count >= MIN_SHARE * expected
