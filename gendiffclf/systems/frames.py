"""Inputs of the systems: frames of a frozen encoder, or waveforms for a tuned one."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..featurizers import AudioError, FbankFeaturizer, HubertFeaturizer, SpeechFeaturizer
from ..featurizers.inputs import as_clip, as_items
from ..validation import check_real, shown

Frames = list[NDArray[np.float32]]


def frame_featurizer(encoder: Any, *, layer: int, sampling_rate: float | None = None, **settings: Any) -> Any:
    """
    Return the featuriser that turns clips into frames.

    Parameters
    ----------
    encoder : "fbank", str, Path, Module or SpeechFeaturizer
        "fbank" means log-mel energies (80 filters, a frame every 10 ms); a name, folder or loaded model is passed to
        `HubertFeaturizer`; a featuriser keeps its settings except `pooling`, `layers` and `on_error`.
    layer : int
        Hidden state of a pretrained encoder; -1 is the last. Ignored for log-mel energies.
    sampling_rate : float or None
        Sampling rate of bare arrays, in Hz, unless the featuriser has its own.
    **settings
        Parameters of a new featuriser, such as `cache`, `device`, `n_jobs` and `verbose`; those that it does not have
        are ignored.

    Returns
    -------
    featurizer : SpeechFeaturizer
        With `pooling="none"`: `transform` gives a list of arrays of shape (frames, d).

    Raises
    ------
    ValueError
        If `encoder` is of another type, or a featuriser without the parameter `pooling`.
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


def clip_frames(featurizer: SpeechFeaturizer, clips: Any, max_seconds: float | None = None) -> Frames:
    """
    Return the frames of each clip.

    Parameters
    ----------
    featurizer : SpeechFeaturizer
        From `frame_featurizer`.
    clips : list of clips
        In the forms listed at `HubertFeaturizer`.
    max_seconds : float or None
        Longer clips are truncated to this length, in seconds, before encoding.

    Returns
    -------
    frames : list of ndarray of shape (n_frames, d), float32
        One for each clip, held in memory.

    Raises
    ------
    AudioError
        If a clip cannot be read; it names the clip and its index.
    """
    rate = featurizer._encoders()[0].sampling_rate
    items = _truncated(as_items(clips), rate, featurizer.sampling_rate, max_seconds)
    rows: Any = featurizer.transform(items)
    return list(rows)


def given_frames(items: Sequence[Any]) -> Frames:
    """
    Validate frames that the caller passed instead of clips.

    Parameters
    ----------
    items : sequence of n array-likes of shape (n_frames, d)
        As returned by a featuriser with `pooling="none"`; at least one.

    Returns
    -------
    frames : list of n ndarrays of shape (n_frames, d), float32

    Raises
    ------
    ValueError
        If an item has another shape, or holds NaN or infinity.
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
    clips: Any, rate: int, sampling_rate: float | None = None, max_seconds: float | None = None
) -> list[NDArray[np.float32]]:
    """
    Return the waveform of each clip, for a tuned encoder.

    Parameters
    ----------
    clips : list of clips
        In the forms listed at `HubertFeaturizer`.
    rate : int
        Sampling rate of the result, in Hz.
    sampling_rate : float or None
        Sampling rate of bare arrays, in Hz.
    max_seconds : float or None
        Longer clips are truncated to this length, in seconds.

    Returns
    -------
    waves : list of ndarray of shape (n_samples,), float32

    Raises
    ------
    AudioError
        If a clip cannot be read; it names the clip and its index.
    ValueError
        If there are no clips.
    """
    waves = []
    for index, item in enumerate(_truncated(as_items(clips), rate, sampling_rate, max_seconds)):
        name = type(item).__name__
        try:
            clip = as_clip(item, sampling_rate)
            name = clip.name
            waves.append(clip.load(rate))
        except AudioError as error:
            raise error.at(name, index) from error
    return waves


def _truncated(items: Sequence[Any], rate: int, sampling_rate: float | None, max_seconds: float | None) -> list[Any]:
    """Replace items longer than `max_seconds` by their samples up to there."""
    if max_seconds is None:
        return list(items)
    check_real("max_seconds", max_seconds, 0, low_open=True)
    return [_first_seconds(item, rate, sampling_rate, max_seconds) for item in items]


def _first_seconds(item: Any, rate: int, sampling_rate: float | None, max_seconds: float) -> Any:
    try:
        clip = as_clip(item, sampling_rate)
        if clip.seconds() <= max_seconds:
            return item
        return dataclasses.replace(clip, end=clip.start + max_seconds).load(rate), rate
    except AudioError:
        return item  # the error is reported, with the clip's index, when it is read
