"""Clips that are cuts of one recording, found by landmarks of their sound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.spatial import KDTree
from sklearn.utils import gen_batches

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
BLOCK = 1000
"""Number of landmarks at once, so that an hour fits in memory."""
SAMPLES = 1_000_000
"""Number of samples at once."""
MIN_VOTES = 2
"""Minimum number of nearest landmarks at the same lag for two cuts to be compared."""
MIN_LANDMARKS = 3
"""Minimum number of landmarks that two cuts share."""
MIN_SHARE = 0.75
"""Minimum share of the landmarks of their common time, so that clips with the same signature tune are none."""
N_NEAREST = 8
"""Maximum number of landmarks near one, so that a sound of all clips does not fill the memory."""


class Landmarks(NamedTuple):
    """Samples that are the largest around them: places (n,) in samples, and sketches (n, 16) of the sound around, at norm 1."""

    places: NDArray[np.int64]
    sketches: NDArray[np.float32]


def landmarks_of(mono: NDArray[np.float32], rate: float) -> Landmarks:
    """Return the landmarks of a mono mix without offset; none where the sound repeats, as a tone does."""
    apart, around = round(APART * rate), max(1, round(AROUND * rate))
    top = _largest(mono, apart)
    top = top[(np.diff(top, prepend=-apart) >= apart) & (top >= around) & (top < len(mono) - around)]
    blocks = [_sketches(mono, top[i : i + BLOCK], around) for i in range(0, len(top), BLOCK)]
    sketches = np.concatenate([np.empty((0, N_SKETCH)), *blocks])  # (n, 16)
    if len(top) > 1:
        nearest = KDTree(sketches).query(sketches, 2, distance_upper_bound=2 * SAME)[0][:, 1]
        top, sketches = top[np.isinf(nearest)], sketches[np.isinf(nearest)]
    return Landmarks(top, sketches.astype(np.float32))


def _largest(mono: NDArray[np.float32], apart: int) -> NDArray[np.int64]:
    """Places of samples, not of the softest, that no sample at most `apart` before or after exceeds."""
    least = 0.01 * max(mono.max(), -mono.min())
    found = []
    for part in gen_batches(len(mono), SAMPLES):
        before = max(part.start - apart, 0)
        size = np.abs(mono[before : part.stop + apart])
        is_top = (size == maximum_filter1d(size, 2 * apart + 1)) & (size > least)
        found.append(part.start + np.flatnonzero(is_top[part.start - before :][: part.stop - part.start]))
    return np.concatenate(found)


def _sketches(mono: NDArray[np.float32], top: NDArray[np.int64], around: int) -> NDArray[np.float64]:
    """Sketches of the samples around each of `top`, (n, 16), at any gain."""
    windows = mono[top[:, None] + np.arange(-around, around)]  # (n, 2 · around)
    return sketches_of(windows * np.sign(mono[top])[:, None])


def sketches_of(waves: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums with random signs, each over every 16th sample, of waves without offset and at norm 1: (n, length) -> (n, 16)."""
    centred = waves - waves.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    centred *= np.random.default_rng(0).integers(0, 2, waves.shape[1], dtype=np.int8) * 2 - 1
    padded = np.pad(centred, ((0, 0), (0, -waves.shape[1] % N_SKETCH)))
    parts = padded.reshape(len(waves), padded.shape[1] // N_SKETCH, N_SKETCH)
    return np.asarray(parts.sum(axis=1) / np.where(norms > 0, norms, 1))


def cuts_of(recordings: Sequence[Recording | AudioError], copies: NDArray[np.str_]) -> NDArray[np.int64]:
    """
    Pairs of rows (p, 2) with cuts of one recording, at any gain, of which more than half of what they cover together is in both.

    Copies, with equal digests in `copies`, (n_clips,), are none.
    """
    _, first, copy = np.unique(copies, return_index=True, return_inverse=True)
    unique = {int(i): one for i in np.sort(first) if not isinstance(one := recordings[i], AudioError)}
    places = _places(_links(unique))
    same = first[copy]  # the first of its copies, of each clip
    rows = np.flatnonzero(np.isin(same, list(places)))
    recording, start = np.array([places[i] for i in same[rows].tolist()], np.int64).reshape(-1, 2).T
    length = np.array([round(unique[i].seconds * unique[i].rate) for i in same[rows].tolist()], np.int64)
    return np.unique(np.sort(rows[overlapping(recording, start, start + length, same[rows])]), axis=0)


def overlapping(
    recording: NDArray[np.int64], start: NDArray[Any], end: NDArray[Any], copy: NDArray[np.int64]
) -> NDArray[np.int64]:
    """
    Pairs of rows (p, 2) with cuts from `start` to `end` of one `recording` that have more than half of what they cover in common.

    All are of shape (n,). Rows with the same `copy` are no pair.
    """
    pairs = [np.empty((0, 2), np.int64)]
    order = np.lexsort((start, recording))
    recording, start, end, copy = recording[order], start[order], end[order], copy[order]
    last = np.searchsorted(recording, recording, side="right")
    # Of those whose next begins before their end.
    for i in np.flatnonzero((recording[1:] == recording[:-1]) & (start[1:] < end[:-1])):
        later = slice(i + 1, i + 1 + np.searchsorted(start[i + 1 : last[i]], end[i]))
        shared = np.minimum(end[i], end[later]) - start[later]
        most = shared > (np.maximum(end[i], end[later]) - start[i]) / 2
        found = np.flatnonzero((copy[later] != copy[i]) & most)
        pairs.append(np.stack([np.full(len(found), order[i]), order[later][found]], axis=1))
    return np.concatenate(pairs)


def _links(recordings: dict[int, Recording]) -> list[tuple[int, int, int]]:
    """Pairs of rows whose clips overlap by more than half, and how many samples the second begins after the first."""
    sizes = [len(recording.landmarks.places) for recording in recordings.values()]
    if sum(sizes) < 2:
        return []
    row = np.repeat(list(recordings), sizes)
    rate = np.repeat([recording.rate for recording in recordings.values()], sizes)
    place = np.concatenate([recording.landmarks.places for recording in recordings.values()])
    sketches = np.concatenate([recording.landmarks.sketches for recording in recordings.values()])
    _, near = KDTree(sketches).query(sketches, min(N_NEAREST, len(sketches)), distance_upper_bound=SAME)
    first, rank = np.nonzero(near < len(sketches))
    second = near[first, rank]
    keep = (row[first] != row[second]) & (rate[first] == rate[second])
    pairs = np.unique(np.sort(np.stack([first[keep], second[keep]], axis=1)), axis=0)  # rows ascend with landmarks
    first, second = pairs.T
    table = pd.DataFrame({"i": row[first], "j": row[second], "lag": place[first] - place[second]})
    counts = table.value_counts()
    candidates = counts.index[counts >= MIN_VOTES]
    return [(i, j, lag) for i, j, lag in candidates if _overlap(recordings[i], recordings[j], lag)]


def _places(links: list[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
    """
    Recording and start in it, in samples, of each clip of `links`; so two of many cuts overlap though no link joins them.

    A recording is named after one of its clips, which begins at 0.
    """
    neighbours: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, j, lag in links:
        neighbours[i].append((j, lag))
        neighbours[j].append((i, -lag))
    places: dict[int, tuple[int, int]] = {}
    for origin in neighbours:
        waiting = [] if origin in places else [origin]
        places.setdefault(origin, (origin, 0))
        while waiting:
            i = waiting.pop()
            for j, lag in neighbours[i]:
                if j not in places:
                    places[j] = (origin, places[i][1] + lag)
                    waiting.append(j)
    return places


def _overlap(one: Recording, other: Recording, lag: int) -> bool:
    """Whether two clips overlap by more than half and sound alike, if the second begins `lag` samples after the first."""
    begin, end = lag / one.rate, lag / one.rate + other.seconds
    first, last = max(begin, 0.0), min(one.seconds, end)
    if last - first <= (max(one.seconds, end) - min(begin, 0.0)) / 2:
        return False
    places = one.landmarks.places, other.landmarks.places + lag
    expected = max(np.count_nonzero((at >= first * one.rate) & (at < last * one.rate)) for at in places)
    _, a, b = np.intersect1d(*places, assume_unique=True, return_indices=True)
    distances = np.linalg.norm(one.landmarks.sketches[a] - other.landmarks.sketches[b], axis=1)
    return int(np.count_nonzero(distances < SAME)) >= max(MIN_LANDMARKS, MIN_SHARE * int(expected))
