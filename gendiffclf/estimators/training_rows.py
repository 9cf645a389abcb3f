"""The rows that estimators learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

_BLOCK_VALUES = 2**24
"""Values of rows in memory at a time."""


class Rows(Protocol):
    """Scaled rows (n, views * layers, d), in memory or made from those on disk when they are asked for."""

    def __len__(self) -> int:
        """Return n."""

    def __getitem__(self, index: Any) -> Tensor:
        """The rows of a slice or of numbers (b,), (b, views * layers, d)."""


@dataclass(frozen=True)
class TrainingRows:
    """
    Distinct scaled rows, in random order, with what is known of them.

    Attributes
    ----------
    rows : Rows of n rows
    targets : Tensor of shape (n, K), float64
        Coordinates of their codes: one-hot classes.
    weight : Tensor of shape (n,), float64
        Positive, of mean 1.
    groups : ndarray of shape (n,), optional
        Rows of one group are held out together.
    observed : ndarray of shape (n,), optional
        Independent observations that each row stands for; by default one.
    """

    rows: Rows
    targets: Tensor
    weight: Tensor
    groups: np.ndarray | None = None
    observed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | np.ndarray) -> TrainingRows:
        """Some of the rows, in memory, by a slice or a mask (n,)."""
        groups = None if self.groups is None else self.groups[index]
        return TrainingRows(self.rows[index], self.targets[index], self.weight[index], groups)

    @property
    def y(self) -> Tensor:
        """Classes, (n,), int64."""
        return self.targets.argmax(1)

    @property
    def offset(self) -> Tensor:
        """Weighted mean of the targets, (K,)."""
        return self.weight @ self.targets / self.weight.sum()


def blocks(rows: Rows, numbers: np.ndarray, n_values: int | None = None) -> Iterator[tuple[Tensor, slice]]:
    """
    Some of the rows of numbers (n,) at a time, (b, views * layers, d), and their places.

    They are so few that `n_values` of each fit into a block, by default its own.
    """
    for part in gen_batches(len(numbers), max(1, _BLOCK_VALUES // (n_values or rows[numbers[:1]].numel()))):
        yield rows[numbers[part]], part


def read(rows: Rows, numbers: np.ndarray, kept: Callable[[Tensor], Tensor]) -> Tensor:
    """What is `kept` of rows (b, views * layers, d), a block of them in memory at a time: numbers (n,) -> (n, ...)."""
    return torch.cat([kept(block) for block, _ in blocks(rows, numbers)])
