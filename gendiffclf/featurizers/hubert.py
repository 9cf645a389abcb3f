"""Features of HuBERT and related encoders."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..device import resolve_device, resolve_precision
from ..validation import check_choice, check_real, shown
from ._base import SpeechFeaturizer
from .cache import FeatureCache
from .checkpoint import Checkpoint, open_checkpoint, weights_digest, without_head
from .encoder import SpeechEncoder, encoding_session
from .engine import Encoder, Rows
from .pooling import POOLINGS, statistic_suffixes

if TYPE_CHECKING:
    import torch

# Padded seconds per batch beyond which only memory grows, not speed. On a CPU a clip of a few seconds is enough.
BATCH_SECONDS = {"cpu": 2.0}
BATCH_SECONDS_ACCELERATOR = 240.0


@dataclass(eq=False, repr=False)
class HubertFeaturizer(SpeechFeaturizer):
    """
    Hidden states of a pretrained speech encoder, pooled over time: one vector per clip, or one per layer.

    Parameters
    ----------
    model : str, Path or Module, default="facebook/hubert-base-ls960"
        A name on the Hugging Face hub, the folder of a checkpoint, or a loaded model of transformers: HuBERT, WavLM,
        wav2vec 2.0, Data2Vec-audio, UniSpeech or UniSpeech-SAT. A loaded model is never changed; one with a head, such as
        `HubertForCTC`, is used without it.
    revision : str or None, default=None
        Branch, tag or commit of a hub name.
    layers : "all", int or list of int, default="all"
        Hidden states to return: 0 is the input of the first transformer layer, the last one is the final, normalised
        state. "all" and a list give features of shape `(n, layers, d)`, in the order given; one index gives `(n, d)`,
        which any estimator accepts. Negative indices count from the end.
    pooling : {"mean", "std", "mean_std", "max", "none"}, default="mean"
        Statistic over the frames of a clip; "mean_std" concatenates both. "none" keeps the frames: `transform`
        returns a list with an array of shape `(frames, layers, d)` for each clip, or `(frames, d)` for one index.
    do_normalize : bool or "auto", default="auto"
        Whether to standardise each clip to zero mean and unit variance first; "auto" follows the checkpoint's
        preprocessor configuration.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz. With None, bare arrays raise an error: a wrong rate would go unnoticed.
    max_seconds : float or None, default=None
        Longer clips are encoded in equal chunks of at most this length, in seconds, and the frames of all chunks are
        pooled together. This bounds memory, but changes the features, as frames attend only to their own chunk. None
        encodes every clip as a whole.
    batch_seconds : float or "auto", default="auto"
        Bound on the padded length of a batch, in seconds. "auto" means 2 on the CPU, where only short clips gain from
        batching, and 240 on other devices. A batch that does not fit in memory is halved until it does. Affects only
        speed and memory.
    device : str, torch.device or list of them, default="auto"
        Device of the encoder; "auto" takes the first available of cuda, mps and cpu. Several devices share the batches.
    precision : {"float32", "auto", "bfloat16", "float64"}, default="float32"
        "auto" is bfloat16 on CUDA devices that support it: faster, with relative errors of a few thousandths.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are cached, so that each clip is encoded once for all folds, grids and runs. True uses the folder
        `$GENDIFFCLF_CACHE`, by default `~/.cache/gendiffclf/features`, with at most 10 GiB; None disables the cache.
    n_jobs : int or None, default=None
        Number of threads that read and decode clips ahead of the encoder; -1 means one per core. Under
        `joblib.parallel_config("dask")`, or another process-based backend, the number of workers.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What to do with a clip that cannot be read: raise an error, or fill its row with NaN; "skip_with_warning" also
        warns once, naming the clips. There is one row per clip in any case, as pipelines need.
    verbose : int, default=0
        If nonzero, show a progress bar with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        Clips that failed in the latest `transform`, each with its `index`, `source` and `reason`.

    See Also
    --------
    AcousticFeaturizer : Statistics of spectrum, pitch and voicing, without a pretrained model.
    FeatureCache : A cache with a custom bound on its size.

    Notes
    -----
    A clip may be a path (wav, flac, ogg, mp3 and other formats of libsndfile), a `(path, start, end)` segment in
    seconds, an `(array, rate)` pair, a mapping with `array` and `sampling_rate`, with `bytes`, or with `path`, an
    AudioDecoder, or, with `sampling_rate` set, an array or tensor of shape `(n_samples,)`, `(n_samples, n_channels)` or
    `(n_channels, n_samples)`. Channels are averaged, other sampling rates resampled by soxr, and integers scaled by the
    range of their type.

    The features of a clip do not depend on the other clips of its batch: clips are normalised before padding, and
    padding is excluded from attention, normalisation and pooling, also in models with group normalisation over time and
    in Data2Vec-audio, where an attention mask is not enough. In float32 they agree with those of the clip alone to a
    relative 1e-5. Encoders of other types get batches of clips of equal length.

    A clip shorter than one frame of the encoder, 400 samples in the published ones, is zero-padded to one frame after
    normalisation. A clip that does not fit in memory even alone counts as failed.

    Pickles hold no weights; they are loaded again by name or folder. For a loaded model the pickle holds its name and a
    hash of its weights, which must match on loading; a model that was changed since it was loaded must be saved and
    passed by folder instead. The encoder used last stays in memory until `release_encoders` is called.

    References
    ----------
    W.-N. Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units",
    2021.

    Examples
    --------
    >>> from gendiffclf.featurizers import HubertFeaturizer
    >>> featurizer = HubertFeaturizer("facebook/hubert-large-ll60k", layers=-1, on_error="nan")
    >>> featurizer.get_params()["layers"]
    -1
    """

    model: Any = "facebook/hubert-base-ls960"
    _: KW_ONLY
    revision: str | None = None
    layers: Literal["all"] | int | list[int] = "all"
    pooling: Literal["mean", "std", "mean_std", "max", "none"] = "mean"
    do_normalize: bool | Literal["auto"] = "auto"
    sampling_rate: float | None = None
    max_seconds: float | None = None
    batch_seconds: float | Literal["auto"] = "auto"
    device: str | torch.device | list[str | torch.device] = "auto"
    precision: Literal["float32", "auto", "bfloat16", "float64"] = "float32"
    cache: bool | str | FeatureCache | None = True
    n_jobs: int | None = None
    on_error: Literal["raise", "nan", "skip_with_warning"] = "raise"
    verbose: int = 0

    def __copy__(self) -> HubertFeaturizer:
        """Copy for use in this process: a loaded model is shared, not replaced by its name as in pickles."""
        copied = object.__new__(type(self))
        copied.__dict__.update(vars(self))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Leave out weights: of a loaded model keep the name and a hash of the weights."""
        state = super().__getstate__()
        model = state["model"]
        if not hasattr(model, "state_dict"):
            return state
        name = getattr(model.config, "_name_or_path", "")
        if not name:
            raise TypeError(
                f"Got model of type {type(model).__name__} without the name or folder it was loaded from, expected one to "
                "pickle in place of the weights; save it with model.save_pretrained(folder) and pass the folder."
            )
        return state | {"model": name, "_weights": weights_digest(without_head(model))}

    def _check_weights(self, checkpoint: Checkpoint) -> None:
        """After unpickling, compare the weights with the hash in the pickle, once."""
        expected = vars(self).get("_weights")
        if expected is None or hasattr(self.model, "state_dict"):
            return
        import torch

        if weights_digest(checkpoint.load(torch.device("cpu"), torch.float32)) != expected:
            raise ValueError(
                f"Got model={self.model!r} with weights that differ from those at pickling, expected the same; save the "
                "original model with save_pretrained, pass its folder as model, and pickle again."
            )
        del self._weights

    def _encoders(self) -> list[Encoder]:
        check_choice("pooling", self.pooling, POOLINGS)
        if self.do_normalize not in (True, False, "auto"):
            raise ValueError(f"Got do_normalize={shown(self.do_normalize)}, expected True, False or 'auto'.")
        check_real("max_seconds", self.max_seconds, 0, low_open=True, also=(None,))
        check_real("batch_seconds", self.batch_seconds, 0, low_open=True, also=("auto",))
        names = self.device if isinstance(self.device, list | tuple) else [self.device]
        if not names:
            raise ValueError("Got device=[], expected at least one device, or 'auto'.")
        devices = [resolve_device(name) for name in names]
        checkpoint = open_checkpoint(self.model, self.revision, self.do_normalize)
        self._check_weights(checkpoint)
        layers = self._layer_indices(checkpoint)
        self._check_container(1 if isinstance(self.layers, Integral) and self.pooling != "none" else 2)
        auto = self.batch_seconds == "auto"
        return [
            SpeechEncoder(
                checkpoint,
                device,
                resolve_precision(self.precision, device),
                layers,
                self.pooling,
                None if self.max_seconds is None else float(self.max_seconds),
                BATCH_SECONDS.get(device.type, BATCH_SECONDS_ACCELERATOR) if auto else float(self.batch_seconds),
            )
            for device in devices
        ]

    def _layer_indices(self, checkpoint: Checkpoint) -> list[int]:
        count = checkpoint.config.num_hidden_layers + 1
        if isinstance(self.layers, str) and self.layers == "all":
            return list(range(count))
        indices: Any = [self.layers] if isinstance(self.layers, Integral) else self.layers
        is_list = isinstance(indices, list | tuple | np.ndarray) and len(indices) > 0
        if not is_list or not all(_is_index(i, count) for i in indices):
            raise ValueError(
                f"Got layers={shown(self.layers)}, expected 'all', an index from {-count} to {count - 1}, or a list of them."
            )
        return [int(i) % count for i in indices]

    def _rows(self, stored: Rows) -> Rows:
        if not isinstance(self.layers, Integral):
            return stored
        if isinstance(stored, list):
            return [frames[:, 0] for frames in stored]  # (frames, 1, d) -> (frames, d)
        return stored[:, 0]  # (n, 1, d) -> (n, d)

    def _session(self, encoders: list[Encoder]) -> AbstractContextManager[None]:
        return encoding_session({encoder.device.type for encoder in encoders})  # type: ignore[attr-defined]

    def _names(self) -> list[str]:
        check_choice("pooling", self.pooling, POOLINGS)
        checkpoint = open_checkpoint(self.model, self.revision, self.do_normalize)
        return [
            f"layer{layer}{statistic}_{i}"
            for layer in self._layer_indices(checkpoint)
            for statistic in statistic_suffixes(self.pooling)
            for i in range(checkpoint.config.hidden_size)
        ]


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and -count <= int(value) < count
