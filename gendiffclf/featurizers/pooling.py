"""Pooling of a clip's frames into one vector, by statistics that can be merged over chunks of the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
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


def statistic_suffixes(pooling: str) -> list[str]:
    """Suffixes of feature names, one per statistic of `pooling`, such as "_mean"; one empty string for frames."""
    return [f"_{statistic}" for statistic in POOLINGS[pooling]] or [""]


@dataclass
class FrameStatistics:
    """
    Statistics over the frames of a clip or of a chunk.

    Parameters
    ----------
    n_frames : int
        Number of frames.
    mean, m2, max : ndarray of shape (..., d) or None
        Mean, sum of squared deviations from it, and maximum over the frames; None if not needed.
    frames : list of ndarray of shape (n, ..., d)
        The frames themselves, chunk by chunk; empty if not needed.
    """

    n_frames: int
    mean: NDArray[np.floating] | None = None
    m2: NDArray[np.floating] | None = None
    max: NDArray[np.floating] | None = None
    frames: list[NDArray[np.floating]] = field(default_factory=list)

    def merge(self, other: FrameStatistics) -> FrameStatistics:
        """
        Return the statistics over the frames of both.

        Notes
        -----
        Mean and variance are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances", 1979, which avoids cancellation.
        """
        total = self.n_frames + other.n_frames
        merged = FrameStatistics(total, frames=self.frames + other.frames)
        if self.mean is not None and other.mean is not None:
            step = other.mean - self.mean
            merged.mean = self.mean + step * (other.n_frames / total)
            if self.m2 is not None and other.m2 is not None:
                merged.m2 = self.m2 + other.m2 + step**2 * (self.n_frames * other.n_frames / total)
        if self.max is not None and other.max is not None:
            merged.max = np.maximum(self.max, other.max)
        return merged

    def vector(self, pooling: str) -> NDArray[np.floating]:
        """
        Concatenate the statistics of `pooling`.

        Parameters
        ----------
        pooling : {"mean", "std", "mean_std", "max", "none"}
            The standard deviation is divided by n, so that of a single frame is 0. "none" returns the frames.

        Returns
        -------
        vector : ndarray of shape (..., d) or (..., 2 * d), or (n_frames, ..., d)
            In the precision of the statistics.
        """
        if pooling == "none":
            return np.concatenate(self.frames)
        parts = {"mean": self.mean, "max": self.max}
        if self.m2 is not None:
            parts["std"] = np.sqrt(self.m2 / self.n_frames)
        chosen = [part for name in POOLINGS[pooling] if (part := parts.get(name)) is not None]
        return np.concatenate(chosen, axis=-1)  # k × (..., d) -> (..., k * d)


def frame_statistics(frames: NDArray[np.floating], pooling: str) -> FrameStatistics:
    """
    Compute the statistics of one clip in NumPy.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d)
        At least one frame.
    pooling : str
        A name of `POOLINGS`; only what it needs is computed.
    """
    needed = POOLINGS[pooling]
    result = FrameStatistics(len(frames), frames=[frames] if pooling == "none" else [])
    if "max" in needed:
        result.max = frames.max(axis=0)
    if "mean" in needed or "std" in needed:
        result.mean = mean = frames.mean(axis=0)
        if "std" in needed:
            result.m2 = ((frames - mean) ** 2).sum(axis=0)
    return result


def batch_statistics(states: torch.Tensor, n_frames: list[int], pooling: str) -> dict[str, torch.Tensor]:
    """
    Compute the statistics of a batch of padded clips on its device.

    Parameters
    ----------
    states : Tensor of shape (batch, frames, d)
        Clip `i` has `n_frames[i]` frames, followed by padding, which must be finite.
    n_frames : list of int
        Frames of each clip.
    pooling : str
        A name of `POOLINGS`.

    Returns
    -------
    statistics : dict of str to Tensor of shape (batch, d)
        "mean", "m2" and "max" as needed by `pooling`, in float32, or float64 for float64 states. For "none", "frames"
        with the states of shape (batch, frames, d).
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
