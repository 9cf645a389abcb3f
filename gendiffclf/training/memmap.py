"""
Training rows that stay on disk and are scaled when a batch asks for them.

Rows in a mapped file do, and no others: who maps a file does not want its rows in memory. All others are scaled once, which takes
less time. The values are the same either way.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..preprocessing import FeatureScaler


def on_disk(X: np.ndarray) -> bool:
    """Whether an array's values lie in a mapped file, as those of `np.memmap` and of views of it do."""
    base: object = X
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


class RowsOnDisk:
    """
    Scaled rows, made anew from those on disk at each request: what is in memory is no more than one request asks for.

    Nothing changes by reading, so several threads may ask at once.

    Parameters
    ----------
    X : ndarray of shape (n, layers, d), float32 or float64
    scaler : FeatureScaler
    index : ndarray of shape (N,), int
        Numbers in X of the rows, in the order that they are asked for by.
    like : Tensor
        Tells device and precision of the scaled rows.
    """

    def __init__(self, X: np.ndarray, scaler: FeatureScaler, index: np.ndarray, like: Tensor) -> None:
        self._X = X
        self._scaler = scaler
        self._index = index
        self._like = like.new_empty(0)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, part: slice) -> Tensor:
        """Rows in all views, (n, views * layers, d)."""
        return torch.as_tensor(self._scaler.transform(self._X, self._index[part])).to(self._like)

    def take(self, numbers: Tensor, views: Sequence[int | None]) -> Tensor:
        """
        Rows of members, each in the view that it sees.

        Parameters
        ----------
        numbers : Tensor of shape (M, B), int
        views : sequence of int or None, of length M
            None, for every member, for all views.

        Returns
        -------
        Tensor of shape (M, B, layers, d), or (M, B, views * layers, d)
        """
        index = self._index[numbers.cpu().numpy()]
        scaled = [self._scaler.transform(self._X, part, view) for part, view in zip(index, views, strict=True)]
        return torch.as_tensor(np.stack(scaled)).to(self._like)
