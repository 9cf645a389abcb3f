"""Training rows: copies of a row become one, or a few where they recur by chance, in an order of their own."""

from __future__ import annotations

import numpy as np
from sklearn.utils import gen_batches

from ..device import in_threads
from ..rows import observations

MOST_COPIES = 30
"""Training rows that stand for a recurring row, at most."""
LARGE_SHARE = 0.05
"""A row with at least `MOST_COPIES` copies and this share of all recurs in any case."""
FEW = 2
"""Features in which a neighbour may differ, as by another category of a one-hot column."""
_COMPARED = 500, 2000
"""Rows with copies, and rows to compare them with."""
_LEAST_COMPARED, _COMPARED_VALUES = 30, 2**28
"""Rows with copies that are compared in any case, and values to compare with those of others."""
_TELLING = 10
"""Different rows of a class whose numbers of copies have a common divisor not by chance, but as all were repeated."""
_FIRST = 64
"""Features that are compared first: those of most other rows differ there already."""
_HASHED_VALUES = 2**18


def training_rows(
    X: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    `distinct_rows`, of which those that recur by chance are several rows that share the weight.

    Copies of a clip or an embedding must not be on both sides of a validation split. A row of few different values is bound to
    recur, though, and will in new data: if it were held out with all its copies, its estimate would be worse than that of a new
    row. Rows are taken to recur by chance if most of those with copies have a neighbour that differs in one or two features only,
    with values there that other rows have too. Classes that were oversampled do not.

    Weights that are whole multiples of the least of their class count as so many copies; the class is the first column of labels.
    Of a kind there are up to `MOST_COPIES` rows. The last result (m,) are the independent observations that each row stands for:
    1, or its share of the copies of a kind that recurs by chance.
    """
    index, weight, kind = distinct_rows(X, labels, sample_weight)
    rows, y = np.flatnonzero(kind >= 0), labels[index, 0]
    copies = np.bincount(kind[rows], observations(sample_weight[rows], labels[rows, 0])).astype(np.int64)
    large = (copies >= MOST_COPIES) & (copies >= LARGE_SHARE * copies.sum())
    for label in np.unique(y):
        own = y == label
        if own.sum() >= _TELLING:
            copies[own] //= np.gcd.reduce(copies[own])
    recurs = (large | _recur_by_chance(X, index, copies)) & ~_oversampled(y, copies)
    copies = np.where(recurs, copies, 1)
    parts = np.minimum(copies, MOST_COPIES)
    if parts.max() == 1:
        return index, weight, kind, copies
    # Numbers of the parts: of a kind one after the other, then in an order that has nothing to do with kinds.
    first = np.cumsum(parts) - parts
    of_part = np.repeat(np.arange(len(parts)), parts)
    order = np.argsort(_hash(np.stack([of_part, np.arange(len(of_part)) - first[of_part]], axis=1)), kind="stable")
    by_kind = rows[np.argsort(kind[rows], kind="stable")]
    sizes = np.bincount(kind[rows])
    number = np.arange(len(by_kind)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kind[by_kind] = np.argsort(order)[first[kind[by_kind]] + number % parts[kind[by_kind]]]
    source = of_part[order]
    return index[source], (weight / parts)[source], kind, (copies / parts)[source]


def _oversampled(y: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Whether most rows of a row's class have copies, but not those of another that is at least as large: (m,), (m,) -> (m,)."""
    size = np.bincount(y, copies)
    copied = np.array([np.median(copies[y == label]) > 1 if n else False for label, n in enumerate(size)])
    return (copied & (size <= size[~copied].max(initial=0)))[y]


def _recur_by_chance(X: np.ndarray, index: np.ndarray, copies: np.ndarray) -> bool:
    """Whether most of the rows with copies differ in a few features only from another row."""
    n_copied, n_others = _COMPARED
    copied = np.argsort(-copies, kind="stable")[:n_copied]
    copied = copied[copies[copied] > 1]
    if not len(copied):
        return False
    others = _comparable(X[index[:n_others]])
    copied, close = copied[: max(_LEAST_COMPARED, _COMPARED_VALUES // others.size)], 0
    for number in copied:
        row = _comparable(X[index[number : number + 1]])[0]
        near = others[(others[:, :_FIRST] != row[:_FIRST]).sum(1) <= FEW]
        differ = near != row
        n_different = differ.sum(1)
        differ = differ[(n_different > 0) & (n_different <= FEW)]
        # A value that no other row has, as of a continuous feature, does not recur by chance.
        columns = np.flatnonzero(differ.any(0))
        unique = (others[:, columns] == row[columns]).sum(0) <= (number < n_others)
        close += copies[number] * bool((~differ[:, columns[unique]].any(1)).any())
    return close > copies[copied].sum() / 2


def _comparable(rows: np.ndarray) -> np.ndarray:
    """Rows (n, ...) as (n, d), in which missing values are equal to each other."""
    return np.nan_to_num(rows.reshape(len(rows), -1), nan=np.inf)


def distinct_rows(
    X: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Merge identical rows of one label into one of their summed weight, in an order that the values alone decide.

    A row of weight 2 is then the same to training as that row twice, and the order in which rows come does not matter.
    Equal rows can never be on both sides of a validation split either. For two rows of X (n, ...) to be the same, their labels
    (n, columns), integers, must be equal too.

    Returns
    -------
    index : ndarray of shape (m,), int32
        One row of each kind.
    weight : ndarray of shape (m,)
        Summed weight of its kind.
    kind : ndarray of shape (n,), int32
        Number of each row's kind; -1 for rows of weight 0, which are left out.
    """
    key = _hash(X)
    key += _hash(labels.astype(np.int64, copy=False)) * np.uint64(0x9E3779B97F4A7C15)
    order = np.argsort(key, kind="stable").astype(np.int32)
    order = order[sample_weight[order] > 0]
    key = key[order]
    same = np.zeros(len(order), bool)
    close = np.flatnonzero(key[1:] == key[:-1]) + 1
    del key
    same[close] = [
        np.array_equal(X[order[i]], X[order[i - 1]], equal_nan=True)
        and np.array_equal(labels[order[i]], labels[order[i - 1]])
        for i in close
    ]
    starts = np.flatnonzero(~same)
    kind = np.full(len(X), -1, np.int32)
    kind[order] = np.cumsum(~same) - 1
    return order[starts], np.add.reduceat(sample_weight[order], starts), kind


def _hash(values: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row's values, the same for float32 and float64 arrays of the same numbers."""
    flat = values.reshape(len(values), -1)
    width = 2 * flat.shape[1]
    factors = np.random.default_rng(0).integers(1, 2**63, size=width, dtype=np.uint64) | np.uint64(1)
    found = np.empty(len(flat), np.uint64)

    def hash_rows(part: slice) -> None:
        rows = np.ascontiguousarray(flat[part], np.float64) + 0.0  # makes -0.0 and 0.0 one
        rows[np.isnan(rows)] = np.nan  # of the many NaN there are, one
        words = rows.view(np.uint32).astype(np.uint64)
        found[part] = ((words ^ (words << np.uint64(29))) * factors).sum(1, dtype=np.uint64)

    in_threads(hash_rows, list(gen_batches(len(flat), max(1, _HASHED_VALUES // width))))
    found ^= found >> np.uint64(31)
    return found * np.uint64(0xBF58476D1CE4E5B9)
