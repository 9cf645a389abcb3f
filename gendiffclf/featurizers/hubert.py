"""Features from HuBERT and its family."""

from __future__ import annotations

from contextlib import AbstractContextManager
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..device import resolve_device, resolve_precision
from ..validation import check_choice, check_real, shown
from ._base import SpeechFeaturizer
from .engine import Encoder, Rows
from .pooling import POOLINGS, statistic_suffixes

if TYPE_CHECKING:
    import torch

    from .cache import FeatureCache
    from .checkpoint import Checkpoint

# Padded seconds that keep a device busy: beyond these, batches grow memory and no longer speed. On a CPU a clip of a few
# seconds fills the caches by itself.
BATCH_SECONDS = {"cpu": 2.0}
BATCH_SECONDS_ACCELERATOR = 240.0


class HubertFeaturizer(SpeechFeaturizer):
    """
    One vector, or one for each layer, of a pretrained speech encoder for each clip.

    Parameters
    ----------
    model : str, Path or Module, default="facebook/hubert-base-ls960"
        A name on the Hugging Face hub, the folder of a checkpoint, or a loaded model of transformers: HuBERT, WavLM,
        wav2vec 2.0, Data2Vec-audio, UniSpeech or UniSpeech-SAT. A loaded model is used as it is and never changed.
    revision : str or None, default=None
        Branch, tag or commit of a hub name.
    layers : "all", int or list of int, default="all"
        Hidden states to take: 0 is the input of the first transformer layer, the last is the final, normalised state.
        "all" and a list give features of shape `(n, layers, d)`, the last layer last; one index gives `(n, d)`, which
        any estimator takes. Negative indices count from the end.
    pooling : {"mean", "std", "mean_std", "max", "none"}, default="mean"
        Statistic over the clip's frames; "mean_std" puts both side by side. "none" gives the frames themselves: `transform`
        returns a list with an array of shape `(frames, layers, d)` for each clip, or `(frames, d)` for one index.
    do_normalize : bool or "auto", default="auto"
        Whether each clip is brought to zero mean and unit variance first; "auto" is what the checkpoint's preprocessor
        says.
    sampling_rate : float or None, default=None
        Rate of bare arrays, in Hz. Without it they are refused, since a wrong rate shows in nothing but wrong results.
    max_seconds : float or None, default=None
        Encode longer clips in equal chunks of at most this length, whose frames are pooled together. This bounds the
        memory a clip takes and changes its features, as frames attend to their own chunk only. None encodes every clip
        whole.
    batch_seconds : float or "auto", default="auto"
        Bound on the length of a padded batch, in seconds. "auto" is 2 on CPU, where only short clips gain by company,
        and 240 on other devices. A batch that does not fit in memory is halved until it does. It changes speed and
        memory only.
    device : str, torch.device or list of them, default="auto"
        Where the encoder runs; "auto" takes the first there is of cuda, mps, cpu. Several devices share the batches.
    precision : {"float32", "auto", "bfloat16", "float64"}, default="float32"
        "auto" is bfloat16 on CUDA devices that compute in it: faster, and the features are off by some thousandths.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where features are kept, so that each clip is encoded once for all folds, grids and runs. True is the folder
        `$GENDIFFCLF_CACHE`, or `~/.cache/gendiffclf/features`, of at most 10 GiB; None keeps nothing.
    n_jobs : int or None, default=None
        Threads that read and decode clips ahead of the encoder; -1 is one for each core. Inside
        `joblib.parallel_config("dask")`, or another backend of processes, it is the number of workers instead.
    on_error : {"raise", "nan", "skip_with_warning"}, default="raise"
        What a clip that cannot be read does. "raise" stops there. "nan" and "skip_with_warning" go on and leave NaN in
        its row, the latter with one warning that names the clips: the number of rows stays that of the clips, as
        pipelines need.
    verbose : int, default=0
        Whether to show progress, with clips per second and the time left.

    Attributes
    ----------
    failures_ : list of AudioError
        What went wrong in the latest `transform`, with `index`, `source` and `reason` of each clip.

    See Also
    --------
    FbankFeaturizer : Log-mel statistics, without a pretrained model.
    FeatureCache : The cache, with a bound of one's own.

    Notes
    -----
    A clip may be a path (wav, flac, ogg, mp3 and what else libsndfile reads), a `(path, start, end)` segment in
    seconds, an `(array, rate)` pair, a mapping with `array` and `sampling_rate`, with `bytes`, or with `path`, an
    AudioDecoder, or, with `sampling_rate` set, an array or tensor of shape `(n_samples,)`, `(n_samples, n_channels)` or
    `(n_channels, n_samples)`. Channels are averaged, other rates resampled by soxr, integers scaled by the range of
    their type.

    The features of a clip do not depend on the clips beside it: it is normalised before padding, and padding is kept
    out of attention, normalisation and pooling, also in the models whose group normalisation runs over time and in
    Data2Vec-audio, where a mask alone is not enough. In float32 they agree with those of the clip alone to a relative
    1e-5. Encoders of other types get batches of equal lengths.

    A clip shorter than one frame of the encoder, 400 samples for the published ones, is padded with zeros to one frame
    after it was normalised. A clip that does not fit in memory even alone is a failure like a broken one.

    A featuriser pickles without weights and loads them anew by name or folder. Of a loaded model the name and the hash of
    the weights go into the pickle, and what is found under the name must match the hash; a model that was changed since
    it was loaded has to be saved, and given by its folder, first. The encoder loaded last stays in memory for the next
    call; `release_encoders` lets it go.

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

    def __init__(
        self,
        model: Any = "facebook/hubert-base-ls960",
        *,
        revision: str | None = None,
        layers: Literal["all"] | int | list[int] = "all",
        pooling: Literal["mean", "std", "mean_std", "max", "none"] = "mean",
        do_normalize: bool | Literal["auto"] = "auto",
        sampling_rate: float | None = None,
        max_seconds: float | None = None,
        batch_seconds: float | Literal["auto"] = "auto",
        device: str | torch.device | list[str | torch.device] = "auto",
        precision: Literal["float32", "auto", "bfloat16", "float64"] = "float32",
        cache: bool | str | FeatureCache | None = True,
        n_jobs: int | None = None,
        on_error: Literal["raise", "nan", "skip_with_warning"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.layers = layers
        self.pooling = pooling
        self.do_normalize = do_normalize
        self.sampling_rate = sampling_rate
        self.max_seconds = max_seconds
        self.batch_seconds = batch_seconds
        self.device = device
        self.precision = precision
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the weights: of a loaded model its name, and the hash that what is loaded anew must have."""
        state = super().__getstate__()
        model = state["model"]
        if not hasattr(model, "state_dict"):
            return state
        from .checkpoint import weights_digest

        name = getattr(model.config, "_name_or_path", "")
        if not name:
            raise TypeError(
                f"Got model of type {type(model).__name__} that was loaded from nowhere, expected a name or folder to "
                "pickle in place of its weights; save it with model.save_pretrained(folder) and pass the folder."
            )
        return state | {"model": name, "_weights": weights_digest(model)}

    def _check_weights(self, checkpoint: Checkpoint) -> None:
        """Compare, once, the weights that a pickle names with those that it was made with."""
        expected = vars(self).get("_weights")
        if expected is None or hasattr(self.model, "state_dict"):
            return
        import torch

        from .checkpoint import weights_digest

        if weights_digest(checkpoint.load(torch.device("cpu"), torch.float32)) != expected:
            raise ValueError(
                f"Got model={self.model!r} with other weights than the model this featuriser was pickled with, expected "
                "the same; save that one with save_pretrained, pass the folder as model, and pickle again."
            )
        del self._weights

    def _encoders(self) -> list[Encoder]:
        from .encoder import SpeechEncoder

        check_choice("pooling", self.pooling, POOLINGS)
        if self.do_normalize not in (True, False, "auto"):
            raise ValueError(f"Got do_normalize={shown(self.do_normalize)}, expected True, False or 'auto'.")
        if self.max_seconds is not None:
            check_real("max_seconds", self.max_seconds, 0, low_open=True)
        if self.batch_seconds != "auto":
            check_real("batch_seconds", self.batch_seconds, 0, low_open=True)
        if isinstance(self.device, list | tuple) and not self.device:
            raise ValueError("Got device=[], expected at least one device, or 'auto'.")
        names = list(self.device) if isinstance(self.device, list | tuple) else [self.device]
        devices = [resolve_device(name) for name in names]
        checkpoint = self._checkpoint()
        self._check_weights(checkpoint)
        layers = self._layer_indices(checkpoint)
        self._check_container(1 if isinstance(self.layers, Integral) and self.pooling != "none" else 2)
        return [
            SpeechEncoder(
                checkpoint,
                device,
                resolve_precision(self.precision, device),
                layers,
                self.pooling,
                self.max_seconds,
                self._batch_seconds(device),
            )
            for device in devices
        ]

    def _checkpoint(self) -> Checkpoint:
        from .checkpoint import open_checkpoint

        return open_checkpoint(self.model, self.revision, self.do_normalize)

    def _batch_seconds(self, device: torch.device) -> float:
        if isinstance(self.batch_seconds, str):
            return BATCH_SECONDS.get(device.type, BATCH_SECONDS_ACCELERATOR)
        return float(self.batch_seconds)

    def _layer_indices(self, checkpoint: Checkpoint) -> list[int]:
        count = checkpoint.config.num_hidden_layers + 1
        if isinstance(self.layers, str) and self.layers == "all":
            return list(range(count))
        wanted: Any = [self.layers] if isinstance(self.layers, Integral) else self.layers
        listed = isinstance(wanted, list | tuple | np.ndarray) and len(wanted) > 0
        if not listed or not all(_is_index(i, count) for i in wanted):
            raise ValueError(
                f"Got layers={shown(self.layers)}, expected 'all', an index from {-count} to {count - 1}, or a list of them."
            )
        return [int(i) % count for i in wanted]

    def _rows(self, stored: Rows) -> Rows:
        if not isinstance(self.layers, Integral):
            return stored
        if isinstance(stored, list):
            return [frames[:, 0] for frames in stored]  # (frames, 1, d) -> (frames, d)
        return stored[:, 0]  # (n, 1, d) -> (n, d)

    def _session(self, encoders: list[Encoder]) -> AbstractContextManager[None]:
        from .encoder import encoding_session

        return encoding_session({encoder.device.type for encoder in encoders})  # type: ignore[attr-defined]

    def _names(self) -> list[str]:
        check_choice("pooling", self.pooling, POOLINGS)
        checkpoint = self._checkpoint()
        return [
            f"layer{layer}{statistic}_{i}"
            for layer in self._layer_indices(checkpoint)
            for statistic in statistic_suffixes(self.pooling)
            for i in range(checkpoint.config.hidden_size)
        ]


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and -count <= int(value) < count
