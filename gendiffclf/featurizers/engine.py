"""Encoding of clips in this process: look up the cache, decode what is missing, encode it and cache it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .audio import AudioError, Clip
from .batching import map_ahead, plan_batches
from .cache import FeatureCache
from .inputs import as_clip
from .parts import group_by_file

Row = NDArray[np.float32]
Result = Row | AudioError
# Shape of the features of one clip; None stands for an axis that varies between clips, such as frames.
RowShape = tuple[int | None, ...]
# Features of several clips: an array, or a list if their shapes differ.
Rows = NDArray[np.float32] | list[NDArray[np.float32]]

# Part of every cache key; to be increased when the same settings give different features.
FORMAT = 1


class Encoder(Protocol):
    """Interface of the encoders; a featuriser has one for each device or thread."""

    sampling_rate: int
    """Sampling rate of the input, in Hz."""
    row_shape: RowShape | None
    """Shape of the features of one clip, with None for the frames; None if unknown before encoding."""
    batch_seconds: float
    """Length of audio to encode at once, in seconds."""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything except the audio that the features depend on, as JSON types."""
        ...

    def encode(self, waves: list[NDArray[np.float32]]) -> list[Result]:
        """
        Encode clips (n_samples,), float32, at `sampling_rate`, into rows of shape `row_shape`, float32, in order.

        A clip that cannot be encoded gets an `AudioError` instead.
        """
        ...


class ClipwiseEncoder(ABC):
    """Base class of encoders that encode clips one by one."""

    row_shape: RowShape | None = None
    batch_seconds = 60.0

    def encode(self, waves: list[NDArray[np.float32]]) -> list[Result]:
        """Encode clips, as `Encoder.encode`."""
        return [self._row(wave) for wave in waves]

    @abstractmethod
    def _row(self, wave: NDArray[np.float32]) -> Result:
        """Encode one clip."""


@dataclass(frozen=True, eq=False)
class _Missing:
    """A clip that is not cached, its key, and its length in seconds."""

    clip: Clip
    key: str
    seconds: float


def encode_items(
    items: list[Any],
    encoders: list[Encoder],
    cache: FeatureCache | None,
    *,
    sampling_rate: float | None,
    n_threads: int,
    stop_at_error: bool,
    progress: str,
) -> tuple[list[Row | None], list[AudioError]]:
    """
    Turn inputs, as the caller passed them, into features, with None for failed clips, and the errors of these.

    The encoders have equal settings; each takes the next batch when it is free. `sampling_rate` is that of bare arrays, in Hz;
    `progress` is the title of the progress bar, empty for none. With `stop_at_error`, the first `AudioError` is raised.
    """
    rows: list[Row | None] = [None] * len(items)
    failures: dict[int, AudioError] = {}
    store = _Store(cache, encoders[0], sampling_rate)

    def record(index: int, name: str, result: Result) -> None:
        bar.update()
        if not isinstance(result, AudioError):
            rows[index] = result
            return
        failures[index] = result.at(name, index)
        if stop_at_error:
            raise failures[index] from result

    with tqdm(total=len(items), unit="clip", desc=progress, disable=not progress) as bar:
        missing: dict[str, _Missing] = {}
        places: dict[str, list[tuple[int, str]]] = defaultdict(list)  # a clip that occurs twice is encoded once
        for index, (name, found) in enumerate(map_ahead(store.look_up, items, n_threads)):
            if isinstance(found, _Missing):
                key = found.key or str(index)
                missing.setdefault(key, found)
                places[key].append((index, name))
            else:
                record(index, name, found)
        for group in group_by_file({key: entry.clip for key, entry in missing.items()}):
            for key, result in _encode(group, [missing[key].seconds for key in group], encoders, n_threads):
                if not isinstance(result, AudioError):
                    store.put(key, result)
                for index, name in places[key]:
                    record(index, name, result)
    store.trim()
    return rows, [failures[index] for index in sorted(failures)]


def with_nan(rows: list[Row | None], shape: RowShape | None) -> Rows:
    """
    Features of all clips as an array of shape (n, *shape), float32, in which those of failed clips are NaN.

    If `shape` has a None, they are a list, and a failed clip has one frame of NaN; if it is None, it is that of the rows.
    """
    if shape is None:
        shapes = {row.shape for row in rows if row is not None} or {(1,)}
        if len(shapes) > 1:
            raise ValueError(f"Got features of the shapes {sorted(shapes)}, expected one shape for all clips.")
        shape = shapes.pop()
    missing = np.full([1 if size is None else size for size in shape], np.nan, dtype=np.float32)
    filled = [missing if row is None else row for row in rows]
    return filled if None in shape else np.stack(filled)  # (n, *shape)


class _Store:
    """The cache during one call; a failed write gives a warning and no error."""

    def __init__(self, cache: FeatureCache | None, encoder: Encoder, sampling_rate: float | None) -> None:
        settings = {"format": FORMAT, "sampling_rate": encoder.sampling_rate, **encoder.identity}
        self.settings = json.dumps(settings, sort_keys=True).encode()
        self.cache = cache
        self.row_shape = encoder.row_shape
        self.sampling_rate = sampling_rate
        self.files: dict[str, bytes] = {}
        self.untrimmed = 0
        self.warned = False

    def look_up(self, item: Any) -> tuple[str, Result | _Missing]:
        """Name of an input, and its cached row, an error, or the clip to be encoded."""
        name, key = type(item).__name__, ""
        try:
            clip = as_clip(item, self.sampling_rate)
            name = clip.name
            if self.cache is not None:
                key = hashlib.blake2b(self.settings + clip.digest(self.files), digest_size=20).hexdigest()
                row = self.cache.get(key)
                if row is not None and _has_shape(row, self.row_shape):
                    return name, row
            return name, _Missing(clip, key, clip.seconds())
        except AudioError as error:
            return name, error

    def put(self, key: str, row: Row) -> None:
        if self.cache is None:
            return
        try:
            self.cache.put(key, row)
        except OSError as error:
            if not self.warned:
                warnings.warn(
                    f"Got cache={self.cache!r}, in which an entry cannot be written ({error}); its features are not cached. "
                    "Set cache to a writable folder, or to None.",
                    stacklevel=2,
                )
            self.warned = True
            return
        self.untrimmed += row.nbytes
        if self.cache.max_bytes is not None and self.untrimmed > self.cache.max_bytes // 10:
            self.trim()

    def trim(self) -> None:
        if self.cache is not None and self.untrimmed:
            with contextlib.suppress(OSError):
                self.cache.trim()
            self.untrimmed = 0


def _has_shape(row: Row, shape: RowShape | None) -> bool:
    return shape is None or (
        row.ndim == len(shape) and all(b in (None, a) for a, b in zip(row.shape, shape, strict=True))
    )


def _encode(
    clips: dict[str, Clip], seconds: list[float], encoders: list[Encoder], n_threads: int
) -> Iterator[tuple[str, Result]]:
    """Decode in threads, a few batches ahead of the encoders."""
    keys = list(clips)
    free: SimpleQueue[Encoder] = SimpleQueue()
    for encoder in encoders:
        free.put(encoder)

    def load(batch: list[int]) -> list[tuple[str, Result]]:
        return [(keys[i], _load(clips[keys[i]], encoders[0].sampling_rate)) for i in batch]

    def encode(loaded: list[tuple[str, Result]]) -> list[tuple[str, Result]]:
        results = dict(loaded)
        waves = {key: wave for key, wave in loaded if not isinstance(wave, AudioError)}
        if waves:
            encoder = free.get()
            try:
                results.update(zip(waves, encoder.encode(list(waves.values())), strict=True))
            finally:
                free.put(encoder)
        return list(results.items())

    batches = plan_batches(seconds, encoders[0].batch_seconds)
    with contextlib.closing(map_ahead(load, batches, n_threads)) as decoded:
        if len(encoders) == 1:
            for loaded in decoded:
                yield from encode(loaded)
        else:
            with contextlib.closing(map_ahead(encode, decoded, len(encoders))) as encoded:
                for results in encoded:
                    yield from results


def _load(clip: Clip, rate: int) -> Result:
    try:
        return clip.load(rate)
    except AudioError as error:
        return error
