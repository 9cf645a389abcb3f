"""From a clip's frames to one vector: statistics that chunks of one clip can be merged by. Or the frames as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

# The statistics each way of pooling puts side by side; "none" keeps the frames.
POOLINGS: dict[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "std": ("std",),
    "mean_std": ("mean", "std"),
    "max": ("max",),
    "none": (),
}


def statistic_suffixes(pooling: str) -> list[str]:
    """Parts of features' names that tell the statistics of `pooling` apart, such as "_mean"; empty for frames."""
    return [f"_{statistic}" for statistic in POOLINGS[pooling]] or [""]


@dataclass
class FrameStatistics:
    """
    Statistics over the frames of a clip, or of a chunk of it.

    Parameters
    ----------
    n_frames : int
        Frames they were taken over.
    mean, m2, max : ndarray of shape (..., d) or None
        Mean, sum of squared distances from it, and maximum over the frames; None where not asked for.
    frames : list of ndarray of shape (n, ..., d)
        The frames themselves, chunk by chunk; empty where not asked for.
    """

    n_frames: int
    mean: NDArray[np.floating] | None = None
    m2: NDArray[np.floating] | None = None
    max: NDArray[np.floating] | None = None
    frames: list[NDArray[np.floating]] = field(default_factory=list)

    def merge(self, other: FrameStatistics) -> FrameStatistics:
        """
        Statistics over the frames of both.

        Notes
        -----
        Means and squared distances follow Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances", 1979: no large numbers are subtracted from each other.
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
        Put the statistics of `pooling` side by side.

        Parameters
        ----------
        pooling : {"mean", "std", "mean_std", "max", "none"}
            The standard deviation is the population's, so a single frame has 0. "none" gives the frames.

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
    Statistics of one clip's frames in NumPy.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d)
        At least one frame.
    pooling : str
        A name of `POOLINGS`; only what it needs is computed.
    """
    needed, found = POOLINGS[pooling], FrameStatistics(len(frames), frames=[frames] if pooling == "none" else [])
    if "max" in needed:
        found.max = frames.max(axis=0)
    if "mean" in needed or "std" in needed:
        mean = frames.mean(axis=0)
        found.mean = mean
        if "std" in needed:
            found.m2 = ((frames - mean) ** 2).sum(axis=0)
    return found


def batch_statistics(states: torch.Tensor, n_frames: list[int], pooling: str) -> dict[str, torch.Tensor]:
    """
    Statistics of a batch of padded clips on its device.

    Parameters
    ----------
    states : Tensor of shape (batch, frames, d)
        Clip `i` has `n_frames[i]` frames; what follows them is padding and finite.
    n_frames : list of int
        Frames of each clip.
    pooling : str
        A name of `POOLINGS`.

    Returns
    -------
    statistics : dict of str to Tensor of shape (batch, d)
        "mean", "m2" and "max" as far as `pooling` needs them, in float32, or float64 for float64 states. For "none"
        there is "frames" instead, the states, of shape (batch, frames, d).
    """
    import torch

    needed, found = POOLINGS[pooling], {}
    states = states if states.dtype == torch.float64 else states.float()
    if pooling == "none":
        return {"frames": states}
    count = torch.tensor(n_frames, device=states.device)
    valid = torch.arange(states.shape[1], device=states.device) < count[:, None]  # (batch, frames)
    padding = ~valid[:, :, None]  # (batch, frames, 1)
    if "max" in needed:
        found["max"] = states.masked_fill(padding, -torch.inf).amax(dim=1)
    if "mean" in needed or "std" in needed:
        total = states.masked_fill(padding, 0).sum(dim=1)  # (batch, frames, d) -> (batch, d)
        found["mean"] = total / count[:, None]
    if "std" in needed:
        found["m2"] = (states - found["mean"][:, None]).square_().masked_fill_(padding, 0).sum(dim=1)
    return found
