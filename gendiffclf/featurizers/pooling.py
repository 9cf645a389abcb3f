"""Pooling of a clip's frames into one vector, also from statistics of chunks of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

# Statistics that each pooling concatenates; "none" keeps the frames.
POOLINGS: dict[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "std": ("std",),
    "mean_std": ("mean", "std"),
    "max": ("max",),
    "none": (),
}
ChunkStatistics = tuple[int, dict[str, NDArray[np.floating]]]


def statistic_suffixes(pooling: str) -> list[str]:
    """Suffixes of feature names, one per statistic of `pooling`, such as "_mean"; one empty string for frames."""
    return [f"_{statistic}" for statistic in POOLINGS[pooling]] or [""]


def pooled(frames: NDArray[np.floating], pooling: str) -> NDArray[np.floating]:
    """Pool the frames of a clip: (n_frames, d) -> (statistics · d,), or the frames themselves for "none"."""
    if pooling == "none":
        return frames
    # The statistics are named like NumPy's methods.
    return np.concatenate([getattr(frames, statistic)(axis=0) for statistic in POOLINGS[pooling]])


def pooled_chunks(chunks: Sequence[ChunkStatistics], pooling: str) -> NDArray[np.floating]:
    """
    Pool a clip from its chunks into an array of shape (..., statistics · d), or (n_frames, ..., d) for "none".

    Each chunk has a number of frames and its part of what `batch_statistics` returns, of shape (..., d). The standard deviation
    is divided by n, so that of a single frame is 0.
    """
    if pooling == "none":
        return np.concatenate([statistics["frames"] for _, statistics in chunks])
    counts = np.array([n_frames for n_frames, _ in chunks])
    parts = {name: np.stack([statistics[name] for _, statistics in chunks], axis=-1) for name in chunks[0][1]}
    result = {}
    if "max" in parts:
        result["max"] = parts["max"].max(axis=-1)  # (..., d, chunks) -> (..., d)
    if "mean" in parts:
        result["mean"] = mean = parts["mean"] @ counts / counts.sum()
        if "m2" in parts:
            between = (parts["mean"] - mean[..., None]) ** 2 @ counts
            result["std"] = np.sqrt((parts["m2"].sum(axis=-1) + between) / counts.sum())
    return np.concatenate([result[name] for name in POOLINGS[pooling]], axis=-1)


def batch_statistics(states: torch.Tensor, n_frames: list[int], pooling: str) -> dict[str, torch.Tensor]:
    """
    Compute the statistics that `pooling` needs of a batch of padded clips, on its device.

    Clip `i` of `states`, (batch, frames, d), has `n_frames[i]` frames, followed by padding, which must be finite. Statistics are
    "mean", "max" and "m2", the sum of squared deviations from the mean, of shape (batch, d); for "none", "frames" are the states.
    They are float32, or float64 for float64 states.
    """
    import torch

    needed, result = POOLINGS[pooling], {}
    states = states if states.dtype == torch.float64 else states.float()
    if pooling == "none":
        return {"frames": states}
    count = torch.tensor(n_frames, device=states.device)
    valid = torch.arange(states.shape[1], device=states.device) < count[:, None]  # (batch, frames)
    padding = ~valid[:, :, None]  # (batch, frames, 1)
    if "max" in needed:
        result["max"] = states.masked_fill(padding, -torch.inf).amax(dim=1)
    if "mean" in needed or "std" in needed:
        total = states.masked_fill(padding, 0).sum(dim=1)  # (batch, frames, d) -> (batch, d)
        result["mean"] = total / count[:, None]
    if "std" in needed:
        result["m2"] = (states - result["mean"][:, None]).square_().masked_fill_(padding, 0).sum(dim=1)
    return result
