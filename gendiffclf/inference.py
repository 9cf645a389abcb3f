"""Transport of many rows: in blocks, side by side on a CPU, halved when the device runs out of memory."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from .device import out_of_memory, thread_limit
from .model import TransportModel

CPU_BLOCK = 64
ACCELERATOR_BLOCK = 4096
"""
Rows in one pass. The last block is filled up with zeros: matrix products sum in an order that depends on the number of rows,
so a row's result would otherwise depend on how many come with it.
"""


def in_blocks(
    model: TransportModel,
    rows: np.ndarray,
    compute: Callable[[Tensor], Tensor],
    *,
    scale: Callable[[np.ndarray], np.ndarray] = np.asarray,
    block: int | None = None,
    fill: bool = True,
) -> np.ndarray:
    """
    Compute something of every row.

    Parameters
    ----------
    model : TransportModel
        Tells device and precision.
    rows : ndarray of shape (n, layers, d)
        n >= 1; may be on disk.
    compute : callable
        From rows (1, block, layers, d) to a result (..., block, k).
    scale : callable
        From rows of a block to scaled rows, float32.
    block : int, optional
        Rows in one pass; by default what suits the model's device.
    fill : bool
        Whether the last block is filled up with zeros.

    Returns
    -------
    ndarray of shape (..., n, k)

    Notes
    -----
    On a CPU each of torch's threads computes blocks of its own. Those within a matrix product would wait for each other
    many times a block, and for very long where other programs keep a core busy.
    """
    device = model.lift.device
    on_cpu = device.type == "cpu"
    block = block or (CPU_BLOCK if on_cpu else ACCELERATOR_BLOCK)

    def one(start: int, stop: int) -> np.ndarray:
        part = torch.as_tensor(scale(rows[start:stop]))[None].to(device, model.lift.dtype)
        n = part.shape[1]
        with torch.inference_mode():
            if fill:
                part = torch.nn.functional.pad(part, (0, 0, 0, 0, 0, stop - start - n))  # (1, block, layers, d)
            return compute(part)[..., :n, :].cpu().numpy()

    n_workers = min(torch.get_num_threads(), -(-len(rows) // block)) if on_cpu else 1
    results: list[np.ndarray] = []
    start = 0
    with thread_limit(1 if on_cpu else None), contextlib.ExitStack() as stack:
        run = map if n_workers == 1 else stack.enter_context(ThreadPoolExecutor(n_workers)).map
        while start < len(rows):
            starts = range(start, len(rows), block)
            try:
                for result in run(one, starts, [first + block for first in starts]):
                    results.append(result)
                    start += block
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or block == 1:
                    raise
                block //= 2
                warnings.warn(
                    f"{device} ran out of memory; going on with {block} rows at a time.", ResourceWarning, stacklevel=2
                )
    return np.concatenate(results, axis=-2)
