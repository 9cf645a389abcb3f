"""Which training rows each member learns from, and which validate it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ..estimators.kernel import HELD_OUT_ROWS
from ..estimators.selection import SELECTION_ROWS

SINGLE_FOLDS = 10
"""A single member, and the choice of hyperparameters by few rows, leave out one of so many folds."""


@dataclass(frozen=True)
class Folds:
    """
    Which rows each member learns from, and which validate it.

    Attributes
    ----------
    train : list of ndarray
        Row numbers, one array a member.
    validation : ndarray of shape (v,), int
        Row numbers; at most `HELD_OUT_ROWS`, evenly spread. May be empty.
    member : ndarray of shape (v,), int
        The member that each of these rows validates: it did not learn from it.
    """

    train: list[np.ndarray]
    validation: np.ndarray
    member: np.ndarray


def split_rows(y: np.ndarray, n_parts: int, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray:
    """
    The part of each row, (n,), such that each part has its share of every class and no group is in two parts.

    Without groups parts differ in size by one row at most, and a class of one row is in one part. There must be as many groups
    as parts.
    """
    part = np.empty(len(y), np.int32)
    if groups is None:
        ordered = np.concatenate([rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)])
        part[ordered] = np.arange(len(y), dtype=np.int32) % n_parts
        return part
    n_groups = len(np.unique(groups))
    if n_groups < n_parts:
        raise ValueError(f"Got {n_groups} groups for {n_parts} parts, expected at least as many; use fewer parts.")
    folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=int(rng.integers(2**31)))
    # A class of fewer rows than parts is no error here: the parts without it just do not test it.
    classes, counts = np.unique(y, return_counts=True)
    stratum = np.where(np.isin(y, classes[counts < n_parts]), classes[counts.argmax()], y)
    for number, (_, rows) in enumerate(folds.split(stratum, stratum, groups)):
        part[rows] = number
    return part


def selection_folds(y: np.ndarray, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray | None:
    """Folds of the first `SELECTION_ROWS` rows, which choose hyperparameters; None where they are too few for two."""
    y, groups = y[:SELECTION_ROWS], None if groups is None else groups[:SELECTION_ROWS]
    n_parts = min(SINGLE_FOLDS, len(y) // 2, len(y) if groups is None else len(np.unique(groups)))
    return split_rows(y, n_parts, rng, groups) if n_parts > 1 else None


def assign_folds(
    y: np.ndarray, n_members: int, rng: np.random.Generator, *, validate: bool, groups: np.ndarray | None = None
) -> Folds:
    """
    Assign rows to members.

    Each of M >= 2 members leaves out its own fold of M, which validates it; a single one leaves out a tenth of the rows if it is
    to be validated. Very few rows are all learnt from, and so is one row a class: without it a member would not know the class.
    Rows of one group stay together.
    """
    n = len(y)
    everything = np.arange(n, dtype=np.int32)
    n_parts = min(n_members, max(SINGLE_FOLDS, n // 2)) if n_members > 1 else SINGLE_FOLDS
    if groups is not None:
        n_parts = min(n_parts, len(np.unique(groups)))
    if n_parts < 2 or n < 2 * n_parts or n == len(np.unique(y)) or (n_members == 1 and not validate):
        return Folds([everything] * n_members, everything[:0], everything[:0])
    part = split_rows(y, n_parts, rng, groups)
    candidates = everything[:: -(-n // HELD_OUT_ROWS)]
    if n_members == 1:
        # The only row of a class is worth more in training than in validation.
        held_out = (part == 0) & ~np.isin(y, np.flatnonzero(np.bincount(y) == 1))
        validation = candidates[held_out[candidates]]
        return Folds([everything[~held_out]], validation, np.zeros_like(validation))
    # With fewer folds than members some members share one; the first of them is validated.
    train = [everything[part != member % n_parts] for member in range(n_members)]
    return Folds(train, candidates, part[candidates])
