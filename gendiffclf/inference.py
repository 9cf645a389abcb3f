"""Prediction of many rows: in blocks, which are halved when the device runs out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .device import exact_dtype, out_of_memory

FEW_ROWS = 32
"""Batches of up to so many rows use float64, so that results do not depend on the batch."""
BLOCK = 512
"""Rows in one pass on a CPU: what a pass computes then stays in the cache."""
DEVICE_BLOCK_VALUES, DEVICE_BLOCK = 2**26, 8192
"""Features, and rows, in one pass at most on other devices, which few rows leave idle."""


def prediction_dtype(n_rows: int, device: torch.device, precision: str) -> torch.dtype:
    """Float64 for few rows and where it is asked for, else float32."""
    return exact_dtype(device) if precision == "float64" or n_rows <= FEW_ROWS else torch.float32


def in_blocks(
    rows: np.ndarray,
    compute: Callable[[Tensor], Tensor],
    *,
    scale: Callable[[np.ndarray], np.ndarray],
    like: Tensor,
) -> np.ndarray:
    """
    Compute something of each of n >= 1 rows (n, layers, d), which may be on disk: (..., n, k).

    `scale` maps the rows of a block to scaled rows (b, views * layers, d), float32, which `compute` maps to a result (..., b, k),
    on the device and in the precision of `like`.
    """
    results: list[np.ndarray] = []
    start, block = 0, BLOCK
    if like.device.type != "cpu":
        block = min(DEVICE_BLOCK, max(BLOCK, DEVICE_BLOCK_VALUES // rows[0].size))
    with torch.inference_mode():
        while start < len(rows):
            size = min(block, len(rows) - start)
            try:
                part = torch.as_tensor(scale(rows[start : start + size])).to(like)
                results.append(compute(part).cpu().numpy())
                start += size
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                block = size // 2
                warnings.warn(
                    f"{like.device} ran out of memory; going on with {block} rows at a time.",
                    ResourceWarning,
                    stacklevel=2,
                )
    return np.concatenate(results, axis=-2)
