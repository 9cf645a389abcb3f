"""Transport of many rows: in blocks of one fixed size, halved when the device runs out of memory."""

from __future__ import annotations

import warnings

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


def transport_rows(
    model: TransportModel,
    rows: np.ndarray,
    *,
    solver: str,
    n_steps: int,
    noise: Tensor | None = None,
    whole_path: bool = False,
    block: int | None = None,
) -> np.ndarray:
    """
    Carry scaled rows to the code space.

    Parameters
    ----------
    model : TransportModel
    rows : ndarray of shape (n, layers, d), float32
    solver, n_steps, noise
        See `TransportModel.transport`.
    whole_path : bool
        Whether to return every state.
    block : int, optional
        Rows in one pass; by default what suits the model's device.

    Returns
    -------
    ndarray of shape (n, L) or (n_steps + 1, n, L), float32
    """
    device = model.lift.device
    block = block or (CPU_BLOCK if device.type == "cpu" else ACCELERATOR_BLOCK)
    n_kept = n_steps + 1 if whole_path else 1
    result = np.empty((n_kept, len(rows), model.lift.shape[1]), np.float32)
    start = 0
    with torch.inference_mode():
        while start < len(rows):
            part = torch.as_tensor(rows[start : start + block]).to(device, model.lift.dtype)
            filled = torch.nn.functional.pad(part, (0, 0, 0, 0, 0, block - len(part)))[None]  # (1, block, layers, d)
            try:
                states = model.transport(filled, solver=solver, n_steps=n_steps, noise=noise)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or block == 1:
                    raise
                block //= 2
                warnings.warn(
                    f"{device} ran out of memory; going on with {block} rows at a time.", ResourceWarning, stacklevel=2
                )
                continue
            result[:, start : start + block] = states[-n_kept:, 0, : len(part)].cpu().float().numpy()
            start += block
    return result if whole_path else result[0]
