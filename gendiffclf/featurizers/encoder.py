"""Encoding of waveforms in padded batches, with the same result as one by one."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..device import out_of_memory
from .audio import AudioError
from .batching import map_batches
from .checkpoint import Checkpoint
from .engine import Result, RowShape
from .padding import exact_padding, frame_count, pad, paddable, receptive_field
from .pooling import POOLINGS, ChunkStatistics, batch_statistics, pooled_chunks
from .products import fast_products

if TYPE_CHECKING:
    import torch
    from torch import nn

# Added to the variance, as in the preprocessor of transformers.
VARIANCE_EPS = 1e-7


@dataclass(eq=False)
class SpeechEncoder:
    """
    An encoder on one device, with the settings of `HubertFeaturizer`.

    With bfloat16 as `dtype`, the model runs under autocast with weights in float32. `layers` are indices of hidden states: 0 is
    the input of the first layer, `num_hidden_layers` the final one. `max_seconds` bounds chunks, `batch_seconds` padded batches.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    layers: list[int]
    pooling: str
    max_seconds: float | None
    batch_seconds: float

    def __post_init__(self) -> None:
        self.sampling_rate = self.checkpoint.sampling_rate
        width = self.checkpoint.config.hidden_size
        self.row_shape: RowShape | None = (len(self.layers), width * len(POOLINGS[self.pooling]))
        if self.pooling == "none":
            self.row_shape = (None, len(self.layers), width)

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "weights": self.checkpoint.fingerprint,
            "do_normalize": self.checkpoint.do_normalize,
            "layers": self.layers,
            "pooling": self.pooling,
            "max_seconds": self.max_seconds,
            "precision": str(self.dtype),
        }

    @functools.cached_property
    def model(self) -> nn.Module:
        """The model, on the device."""
        import torch

        stored = torch.float64 if self.dtype == torch.float64 else torch.float32
        return self.checkpoint.load(self.device, stored)

    def encode(self, waves: list[NDArray[np.float32]]) -> list[Result]:
        """Encode clips of any lengths, as `Encoder.encode`; an `AudioError` for one that does not fit in memory even alone."""
        by_clip = [self._chunks(self._normalised(wave)) for wave in waves]
        chunks = [chunk for several in by_clip for chunk in several]
        limit = self.batch_seconds * self.sampling_rate
        equal = not paddable(self.model)
        results = iter(map_batches(self._forward_or_error, chunks, list(map(len, chunks)), limit, equal=equal))
        return [self._row(list(itertools.islice(results, len(several)))) for several in by_clip]

    def _row(self, results: list[ChunkStatistics | AudioError]) -> Result:
        statistics = []
        for result in results:
            if isinstance(result, AudioError):
                return result
            statistics.append(result)
        return pooled_chunks(statistics, self.pooling).astype(np.float32)

    def _normalised(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise the unpadded clip to zero mean and unit variance, if the checkpoint asks for it."""
        if not self.checkpoint.do_normalize:
            return wave
        wide = wave.astype(np.float64)
        return ((wide - wide.mean()) / np.sqrt(wide.var() + VARIANCE_EPS)).astype(np.float32)

    def _chunks(self, wave: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Split into equal chunks of at most `max_seconds`; a clip shorter than one frame is zero-padded to one."""
        shortest = receptive_field(self.checkpoint.config)
        if len(wave) < shortest:
            wave = np.pad(wave, (0, shortest - len(wave)))
        if self.max_seconds is None:
            return [wave]
        longest = max(int(self.max_seconds * self.sampling_rate), shortest)
        # Chunks shorter than a frame would have nothing to pool.
        count = max(min(math.ceil(len(wave) / longest), len(wave) // shortest), 1)
        return np.array_split(wave, count)

    def _forward_or_error(self, waves: list[NDArray[np.float32]]) -> list[ChunkStatistics | AudioError]:
        try:
            return list(self._forward(waves))
        except Exception as error:
            if len(waves) > 1 or not out_of_memory(error):
                raise
            seconds = len(waves[0]) / self.sampling_rate
        reason = (
            f"its {seconds:.1f} s do not fit in the memory of {self.device}; set max_seconds=30 to encode it in chunks"
        )
        return [AudioError(reason)]

    def _forward(self, waves: list[NDArray[np.float32]]) -> list[ChunkStatistics]:
        import torch

        config = self.checkpoint.config
        padded, mask = pad(waves)
        values = padded.to(device=self.device, dtype=torch.float64 if self.dtype == torch.float64 else None)
        last = config.num_hidden_layers
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)
        with torch.inference_mode(), half, exact_padding(self.model, mask.to(self.device)) as attention_mask:
            with fast_products(self.device, self.dtype):
                output = self.model(values, attention_mask=attention_mask, output_hidden_states=self.layers != [last])
            if attention_mask is None:
                n_frames = [output.last_hidden_state.shape[1]] * len(waves)
            else:
                n_frames = [frame_count(config, len(wave)) for wave in waves]
            by_statistic: dict[str, list[torch.Tensor]] = {}
            for layer in self.layers:
                # Since transformers 5.16, `hidden_states[last]` of stable-layer-norm models is taken before the norm.
                states = output.last_hidden_state if layer == last else output.hidden_states[layer]
                for name, value in batch_statistics(states, n_frames, self.pooling).items():
                    by_statistic.setdefault(name, []).append(value)
            # layers × (batch, d) -> (batch, layers, d); layers × (batch, frames, d) -> (batch, frames, layers, d)
            host = {name: torch.stack(values, dim=-2).cpu().numpy() for name, values in by_statistic.items()}
        if self.pooling == "none":
            return [(n, {"frames": host["frames"][i, :n].copy()}) for i, n in enumerate(n_frames)]
        return [(n, {name: x[i].astype(np.float64) for name, x in host.items()}) for i, n in enumerate(n_frames)]


@contextlib.contextmanager
def encoding_session(device_types: set[str]) -> Iterator[None]:
    """Disable TF32 if "cuda" is among the types of devices in use, and restore the random state afterwards."""
    import torch

    # Model construction and, in some versions, layer dropout draw random numbers without using them.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), contextlib.ExitStack() as stack:
        # WavLM passes a float position bias with a boolean mask.
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
        if "cuda" in device_types:
            # With TF32 (10-bit mantissa), batches would differ from single clips by 1e-3. Since torch 2.9 the old names of
            # these settings raise an error once the new ones have been used.
            matmul, conv = torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv", torch.backends.cudnn)
            name, exact = ("fp32_precision", "ieee") if hasattr(conv, "fp32_precision") else ("allow_tf32", False)
            for backend in (matmul, conv):
                stack.callback(setattr, backend, name, getattr(backend, name))
                setattr(backend, name, exact)
        yield
