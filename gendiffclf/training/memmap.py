"""
Training rows that stay on disk and are scaled when a batch asks for them.

These are the rows of a file that the caller mapped, to keep them out of memory. All others are scaled once, which takes less
time. The values are the same either way.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..preprocessing import FeatureScaler

_WORKER_FOLDER = "joblib_memmapping_folder"
"""joblib hands large arrays to its workers as mapped files in folders of this name; they are in memory in all but name."""


def on_disk(X: np.ndarray) -> bool:
    """Whether an array's values lie in a file that the caller mapped, as those of `np.memmap` and of views of it do."""
    base: Any = X
    name = ""
    while isinstance(base, np.ndarray):
        name = str(getattr(base, "filename", None) or name)
        base = base.base
    return isinstance(base, mmap.mmap) and _WORKER_FOLDER not in name


class RowsOnDisk:
    """
    Scaled rows, made anew from those on disk at each request: what is in memory is no more than one request asks for.

    They are the rows of X (N, layers, d) that `index` (n,) names, on the device and in the precision of `like`.
    """

    def __init__(self, X: np.ndarray, scaler: FeatureScaler, index: np.ndarray, like: Tensor) -> None:
        self._X = X
        self._scaler = scaler
        self._index = index
        self._like = like.new_empty(0)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: Any) -> Tensor:
        """Rows of a slice or of numbers (b,), in all scalings: (b, views * layers, d)."""
        if isinstance(index, Tensor):
            index = index.cpu().numpy()
        return torch.as_tensor(self._scaler.transform(self._X, self._index[index])).to(self._like)
