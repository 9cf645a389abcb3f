"""Inputs of the systems: frames of a frozen encoder, or waveforms for a tuned one."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..featurizers import AudioError, FbankFeaturizer, HubertFeaturizer, SpeechFeaturizer
from ..featurizers.inputs import as_clip
from ..validation import shown

Frames = list[NDArray[np.float32]]


def frame_featurizer(encoder: Any, *, layer: int, sampling_rate: float | None = None, **settings: Any) -> Any:
    """
    Return the featuriser whose `transform` turns clips into a list of frames of shape (n_frames, d).

    The `encoder` "fbank" means log-mel energies (80 filters, a frame every 10 ms); a name, folder or loaded model is passed to
    `HubertFeaturizer`, of which `layer` is the hidden state to use, -1 the last; a `SpeechFeaturizer` keeps its settings except
    `pooling`, `layers` and `on_error`. `sampling_rate`, in Hz, is that of bare arrays, unless the featuriser has its own.
    `settings` are parameters of a new featuriser, such as `cache` and `device`; those that it does not have are ignored.
    """
    if isinstance(encoder, SpeechFeaturizer):
        if "pooling" not in encoder.get_params(deep=False):
            raise ValueError(
                f"Got encoder={shown(encoder)}, which has no frames, expected a featuriser with the parameter pooling."
            )
        # With "nan", a broken clip would give frames of NaN.
        featurizer = copy.copy(encoder).set_params(on_error="raise")
        settings = {} if featurizer.sampling_rate is not None else {"sampling_rate": sampling_rate}
    elif isinstance(encoder, str) and encoder == "fbank":
        featurizer = FbankFeaturizer(sampling_rate=sampling_rate)
    elif isinstance(encoder, str | os.PathLike) or hasattr(encoder, "config"):
        featurizer = HubertFeaturizer(encoder, sampling_rate=sampling_rate)
    else:
        raise ValueError(
            f"Got encoder={shown(encoder)}, expected 'fbank', a hub name, a folder, a loaded model or a featuriser."
        )
    known = featurizer.get_params(deep=False)
    settings |= {"pooling": "none", "layers": layer}
    return featurizer.set_params(**{name: value for name, value in settings.items() if name in known})


def given_frames(items: Sequence[Any]) -> Frames:
    """
    Validate frames passed instead of clips, as n arrays of shape (n_frames, d), float32.

    A ValueError if one has another shape, or holds NaN or infinity.
    """
    frames: Frames = []
    for index, item in enumerate(items):
        array = np.asarray(item, dtype=np.float32) if np.ndim(item) == 2 else np.empty(0, np.float32)
        width = frames[0].shape[1] if frames else array.shape[-1]
        if array.ndim != 2 or not array.size or array.shape[1] != width:
            expected = f"(n_frames, {width})" if frames else "(n_frames, d)"
            raise ValueError(
                f"Got X[{index}] of shape {np.shape(item)} with encoder=None, expected frames of shape {expected}; to pass "
                "clips, set encoder."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"Got X[{index}] with NaN or infinity, expected finite frames; leave out this clip.")
        frames.append(array)
    return frames


def clip_waves(
    clips: Sequence[Any], params: Mapping[str, Any], rate: int, min_samples: int
) -> list[NDArray[np.float32]]:
    """
    Waveforms of clips, of shape (n_samples,), float32, at `rate` in Hz.

    Of the parameters of an estimator, `sampling_rate` is that of bare arrays; clips longer than `max_seconds` are truncated,
    those shorter than `min_samples` zero-padded. The `AudioError` for one that cannot be read names its index.
    """
    sampling_rate = params["sampling_rate"]
    waves = []
    for index, item in enumerate(clips):
        name = type(item).__name__
        try:
            clip = as_clip(truncated(item, sampling_rate, params["max_seconds"]), sampling_rate)
            name = clip.name
            wave = clip.load(rate)
        except AudioError as error:
            raise error.at(name, index) from error
        waves.append(np.pad(wave, (0, max(min_samples - len(wave), 0))))
    return waves


def truncated(item: Any, sampling_rate: float | None, max_seconds: float | None) -> Any:
    """An input as it is, or, if it is longer than `max_seconds`, its segment up to there."""
    if max_seconds is not None:
        with contextlib.suppress(AudioError):  # reported, with the clip's index, when the item is read
            clip = as_clip(item, sampling_rate)
            if clip.seconds() > max_seconds:
                return dataclasses.replace(clip, end=clip.start + max_seconds)
    return item
