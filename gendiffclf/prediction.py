"""Transport of many rows: in blocks of one fixed size, halved when the device runs out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ._device import out_of_memory
from .model import TransportModel

CPU_BLOCK = 64
ACCELERATOR_BLOCK = 4096
"""
Rows in one pass. The last block is filled up with zeros: matrix products sum in an order that depends on the number of rows,
so a row's result would otherwise depend on how many come with it.
"""


def in_blocks(
    model: TransportModel, rows: np.ndarray, compute: Callable[[Tensor], Tensor], *, block: int | None = None
) -> np.ndarray:
    """
    Compute something of every row.

    Parameters
    ----------
    model : TransportModel
        Tells device and precision.
    rows : ndarray of shape (n, layers, d), float32
        Scaled rows, n >= 1.
    compute : callable
        From rows (1, block, layers, d) to a result (..., block, k).
    block : int, optional
        Rows in one pass; by default what suits the model's device.

    Returns
    -------
    ndarray of shape (..., n, k)
    """
    device = model.lift.device
    block = block or (CPU_BLOCK if device.type == "cpu" else ACCELERATOR_BLOCK)
    results = []
    start = 0
    with torch.inference_mode():
        while start < len(rows):
            part = torch.as_tensor(rows[start : start + block]).to(device, model.lift.dtype)
            filled = torch.nn.functional.pad(part, (0, 0, 0, 0, 0, block - len(part)))[None]  # (1, block, layers, d)
            try:
                result = compute(filled)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or block == 1:
                    raise
                block //= 2
                warnings.warn(
                    f"{device} ran out of memory; going on with {block} rows at a time.", ResourceWarning, stacklevel=2
                )
                continue
            results.append(result[..., : len(part), :].cpu().numpy())
            start += block
    return np.concatenate(results, axis=-2)
