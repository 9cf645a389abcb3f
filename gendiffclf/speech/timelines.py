"""Labels over time: a fitted model applied to windows of a recording of any length."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from ..featurizers import AudioError, SpeechFeaturizer
from ..featurizers.inputs import as_clip
from ..validation import check_flag, check_real
from .measures import probabilities
from .segments import most_probable_segments
from .streaming import SpeechDetector, blocks
from .training import before_classifier, needs_speakers, split_pipeline

BATCH = 64
# Minimum share of speech in a time step that counts as speech, as there are pauses between words.
MIN_SPEECH_SHARE = 0.3


@dataclass(frozen=True)
class Timeline:
    """
    Result of `timeline`. Printing it shows the segments.

    Attributes
    ----------
    name : str
        Path of the recording, with its segment if it has one; "array", or the type of another recording in memory.
    duration : float
        Length of the recording, in seconds.
    classes : ndarray of shape (K,)
        Labels.
    table : DataFrame
        One row per time step: `start` and `end` in seconds, `speech` (share of speech), and a column `p_<label>` for each
        class, NaN without speech.
    segments : DataFrame
        One row per segment: `start` and `end` in seconds, `label`, and `probability`, the mean over the segment.
    """

    name: str
    duration: float
    classes: NDArray[Any]
    table: pd.DataFrame
    segments: pd.DataFrame

    @property
    def probabilities(self) -> NDArray[np.floating]:
        """Probabilities of the steps, of shape (n, K)."""
        return probabilities(self.table, self.classes)

    def save(self, path: Any) -> None:
        """
        Write the timeline in the format given by the suffix of the file.

        Parameters
        ----------
        path : path-like
            `.csv`: the steps. `.json`: everything. `.txt`: the segments as labels for Audacity. `.png`, `.svg`, `.pdf`: a
            figure. An existing file is replaced once the new one is complete.

        Raises
        ------
        ValueError
            If the suffix is another.
        """
        from .timeline_output import save_timeline

        save_timeline(self, path)

    def __str__(self) -> str:
        rows = self.segments.itertuples()
        lines = [f"{row.start:>9.2f} {row.end:>9.2f}  {row.label}  ({row.probability:.2f})" for row in rows]
        return "\n".join(lines) if lines else "No speech was found."


def timeline(
    pipeline: Any,
    recording: Any,
    window: float = 3.0,
    hop: float = 1.0,
    *,
    min_duration: float = 2.0,
    detect_speech: bool = True,
) -> Timeline:
    """
    Predict labels over time.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with a featuriser first and a classifier with probabilities last, as returned by `train` or `load_model`.
    recording : path, (path, start, end), (array, rate), bytes or decoder
        A recording of any length, or a segment of it in seconds; times are counted from its start. It is decoded once; apart
        from the probabilities, memory does not grow with the length of a file.
    window : float > 0, default=3.0
        Length of the windows in seconds, best about that of the training clips.
    hop : float > 0, default=1.0
        Seconds from one window to the next, at most `window`, and length of the time steps.
    min_duration : float >= 0, default=2.0
        Minimum length of a segment, in seconds. Segments between silences may be shorter.
    detect_speech : bool, default=True
        Whether to leave out sound that WebRTC's detector does not classify as speech.

    Returns
    -------
    timeline : Timeline
        Printing it shows the segments; `save` writes it.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the classifier has no probabilities.
    AudioError
        If the recording cannot be read.

    Notes
    -----
    Windows start every `hop` seconds; the last one ends with the recording. The probabilities of a time step are a mean over
    the windows that cover it, weighted by a Hann window and by their share of speech. The segments are the most probable
    sequence of labels in which each lasts at least `min_duration`. With a `SpeakerNormalizer` in the pipeline, the whole
    recording counts as one speaker.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, timeline
    >>> result = timeline(load_model("model"), "meeting.mp3")  # doctest: +SKIP
    >>> result.save("meeting.csv")  # doctest: +SKIP
    """
    check_real("window", window, 0, low_open=True)
    check_real("hop", hop, 0, window, low_open=True)
    check_real("min_duration", min_duration, 0)
    check_flag("detect_speech", detect_speech)
    featurizer, rest = split_pipeline(pipeline)
    if not hasattr(rest, "predict_proba"):
        raise ValueError(f"Got a {type(rest.steps[-1][1]).__name__}, expected a classifier with predict_proba.")
    stream = _Windows(featurizer, recording, window, hop, detect_speech)
    proba = _predict(stream, rest)
    starts = np.array(stream.starts)
    count = max(math.ceil(stream.duration / hop - 1e-9), 1)
    edges = np.minimum(np.arange(count + 1) * hop, stream.duration)
    share = np.array([stream.speech_share(a, b) for a, b in itertools.pairwise(edges)])
    weights = np.array([stream.speech_share(start, start + window) for start in starts])
    added = overlap_add(edges, starts, window, proba, weights)
    added[share < MIN_SPEECH_SHARE] = np.nan
    table = pd.DataFrame({"start": edges[:-1], "end": edges[1:], "speech": share})
    table[[f"p_{label}" for label in rest.classes_]] = added
    stretches = most_probable_segments(added, math.ceil(min_duration / hop - 1e-9))
    rows = [(edges[a], edges[b], rest.classes_[k], added[a:b, k].mean()) for a, b, k in stretches]
    segments = pd.DataFrame(rows, columns=["start", "end", "label", "probability"])
    clip = as_clip(recording, None)
    return Timeline(
        "array" if isinstance(clip.source, np.ndarray) else clip.name, stream.duration, rest.classes_, table, segments
    )


def overlap_add(
    edges: NDArray[np.floating],
    starts: NDArray[np.floating],
    window: float,
    proba: NDArray[np.floating],
    weights: NDArray[np.floating],
) -> NDArray[np.floating]:
    """
    Compute the probabilities of n time steps, (n, K), from those of m overlapping windows, `proba` of shape (m, K).

    `edges` (n + 1,) are the boundaries of the steps and `starts` (m,) the ascending starts of the windows, in seconds. The
    means are weighted by Hann windows and `weights` (m,); NaN for steps that no window of positive weight covers.
    """
    middles = (edges[1:] + edges[:-1]) / 2
    total, mass = np.zeros((len(middles), proba.shape[1])), np.zeros(len(middles))
    for start, p, weight in zip(starts, proba, weights, strict=True):
        first, last = np.searchsorted(middles, [start, start + window])
        # Not quite 0 at the ends, so that the first and last steps of the recording have a mean.
        hann = 1.001 - np.cos(2 * np.pi * (middles[first:last] - start) / window)
        total[first:last] += weight * hann[:, None] * p
        mass[first:last] += weight * hann
    with np.errstate(invalid="ignore"):
        return np.asarray(total / mass[:, None])


class _Windows:
    """Iterates over features of a recording's windows in batches; length and speech are known afterwards."""

    def __init__(
        self, featurizer: SpeechFeaturizer, recording: Any, window: float, hop: float, detect_speech: bool
    ) -> None:
        # No cache, since each window is encoded once.
        self.featurizer = clone(featurizer).set_params(cache=None, on_error="raise", verbose=0)
        self.rate = self.featurizer._encoders()[0].sampling_rate
        self.recording = recording
        self.window = round(window * self.rate)
        self.hop = hop * self.rate
        self.detector = SpeechDetector(self.rate) if detect_speech else None
        self.starts: list[float] = []
        self.duration = 0.0

    def speech_share(self, start: float, end: float) -> float:
        return 1.0 if self.detector is None else self.detector.share(start, min(end, self.duration))

    def batches(self) -> Iterator[Any]:
        clips = ((wave, self.rate) for wave in self._waves())
        while batch := list(itertools.islice(clips, BATCH)):
            yield self.featurizer.transform(batch)

    def _waves(self) -> Iterator[NDArray[np.float32]]:
        """Yield windows at every hop, and one that ends with the recording; `kept` holds the samples for later ones."""
        kept, first, index = np.empty(0, dtype=np.float32), 0, 0  # `first` is the index of the sample kept[0]
        for block in blocks(self.recording, self.rate):
            if self.detector is not None:
                self.detector.add(block)
            kept = np.concatenate([kept, block])
            while (start := round(index * self.hop)) + self.window <= first + len(kept):
                yield self._window(kept, start, first)
                index += 1
            # Always keep one window, for the one that ends with the recording.
            drop = max(min(round(index * self.hop) - first, len(kept) - self.window), 0)
            kept, first = kept[drop:], first + drop
        length = first + len(kept)
        if not length:
            raise AudioError("it holds no samples, expected at least one", str(self.recording))
        self.duration = length / self.rate
        last = max(length - self.window, 0)
        if not self.starts or last > round(self.starts[-1] * self.rate):
            yield self._window(kept, last, first)

    def _window(self, kept: NDArray[np.float32], start: int, first: int) -> NDArray[np.float32]:
        self.starts.append(start / self.rate)
        return kept[start - first : start - first + self.window]


def _predict(stream: _Windows, rest: Any) -> NDArray[np.floating]:
    """Return the probabilities of the windows, of shape (m, K)."""
    if needs_speakers(rest):
        features = np.concatenate(list(stream.batches()))
        classifier, rows = before_classifier(rest, features, np.full(len(features), "the recording"))
        return np.asarray(classifier.predict_proba(rows))
    return np.concatenate([rest.predict_proba(features) for features in stream.batches()])
