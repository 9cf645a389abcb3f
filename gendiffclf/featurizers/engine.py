"""From inputs to rows on this machine: look each clip up, decode what is missing, encode it, keep it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
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
from .parts import decoded_in_turn

Row = NDArray[np.float32]
Result = Row | AudioError
# Shape of one clip's features; None where it differs from clip to clip, as the number of frames does.
RowShape = tuple[int | None, ...]
# Features of several clips: an array, or a list where their shapes differ.
Rows = NDArray[np.float32] | list[NDArray[np.float32]]

# Part of every cache key: raise it when the same settings come to mean other features.
FORMAT = 1


class Encoder(Protocol):
    """What a featuriser encodes with; one for each device or thread."""

    sampling_rate: int
    """Rate of the samples it takes, in Hz."""
    row_shape: RowShape | None
    """Shape of one clip's features; its first entry is None for frames. None where only encoding tells."""
    batch_seconds: float
    """Audio worth handing over at once."""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything besides the audio that the features depend on, of types that JSON knows."""
        ...

    def encode(self, waves: list[NDArray[np.float32]]) -> list[Result]:
        """Return a row, or what is wrong, for each clip in order."""
        ...


@dataclass
class _Look:
    """What a first look at an input found: a clip and its length, its row in the cache, or an error."""

    name: str
    clip: Clip | None = None
    key: str = ""
    result: Result | None = None
    seconds: float = 0.0


def encode_items(
    items: list[Any],
    encoders: list[Encoder],
    cache: FeatureCache | None,
    *,
    sampling_rate: float | None,
    n_threads: int,
    stop_at_error: bool,
    progress: str,
) -> tuple[Rows, list[AudioError]]:
    """
    Turn inputs into features in this process.

    Parameters
    ----------
    items : list
        Inputs as the caller gave them.
    encoders : list of Encoder
        Of equal settings; each takes the next batch when it is free.
    cache : FeatureCache or None
        Asked first, and given what was not in it.
    sampling_rate : float or None
        Rate of bare arrays, in Hz.
    n_threads : int
        Threads that read and decode.
    stop_at_error : bool
        Raise the first error instead of going on.
    progress : str
        Title of the progress bar; empty for none.

    Returns
    -------
    rows : ndarray of shape (n, *row_shape), float32, or list of ndarray
        In the order of `items`, NaN where a clip failed. A list where `row_shape` holds None; a clip that failed then has
        one frame of NaN.
    failures : list of AudioError
        Of the clips that failed, in order.

    Raises
    ------
    AudioError
        If a clip fails and `stop_at_error` is true.
    """
    rows: list[Row | None] = [None] * len(items)
    failures: dict[int, AudioError] = {}
    store = _Store(cache)

    def settle(index: int, name: str, result: Result) -> None:
        bar.update()
        if not isinstance(result, AudioError):
            rows[index] = result
            return
        failures[index] = result.at(name, index)
        if stop_at_error:
            raise failures[index] from result

    with tqdm(total=len(items), unit="clip", desc=progress, disable=not progress) as bar:
        missing: dict[str, _Look] = {}
        places: dict[str, list[tuple[int, str]]] = {}  # a clip that was given twice is encoded once
        look_up = _LookUp(sampling_rate, encoders[0], store)
        for index, look in enumerate(map_ahead(look_up, items, n_threads)):
            if look.result is not None:
                settle(index, look.name, look.result)
            else:
                missing.setdefault(look.key or str(index), look)
                places.setdefault(look.key or str(index), []).append((index, look.name))
        for key, result in _encode_missing(missing, encoders, n_threads):
            if not isinstance(result, AudioError):
                store.put(missing[key].key, result)
            for index, name in places[key]:
                settle(index, name, result)
    store.close()
    return _with_nan(rows, encoders[0].row_shape), [failures[index] for index in sorted(failures)]


def _with_nan(rows: list[Row | None], shape: RowShape | None) -> Rows:
    """One array of all rows, or a list for frames, with NaN in place of those that are missing."""
    if shape is None:
        found = {row.shape for row in rows if row is not None} or {(1,)}
        if len(found) > 1:
            raise ValueError(f"Got features of the shapes {sorted(found)}, expected one shape for all clips.")
        shape = found.pop()
    missing = np.full([1 if size is None else size for size in shape], np.nan, dtype=np.float32)
    whole = [missing if row is None else row for row in rows]
    return whole if None in shape else np.stack(whole)  # (n, *shape)


def join_rows(parts: list[Rows]) -> Rows:
    """Put the features of several calls together, in order."""
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return np.concatenate(parts)


class _LookUp:
    """Is this input a clip, is it in the cache, and if not, how long is it."""

    def __init__(self, sampling_rate: float | None, encoder: Encoder, store: _Store) -> None:
        self.sampling_rate = sampling_rate
        self.row_shape = encoder.row_shape
        self.store = store
        self.files: dict[str, bytes] = {}
        settings = {"format": FORMAT, "sampling_rate": encoder.sampling_rate, **encoder.identity}
        self.settings = json.dumps(settings, sort_keys=True).encode()

    def __call__(self, item: Any) -> _Look:
        look = _Look(type(item).__name__)
        try:
            look.clip = as_clip(item, self.sampling_rate)
            look.name = look.clip.name
            if self.store.cache is not None:
                content = look.clip.digest(self.files)
                look.key = hashlib.blake2b(self.settings + content, digest_size=20).hexdigest()
                look.result = self.store.get(look.key, self.row_shape)
            if look.result is None:
                look.seconds = look.clip.seconds()
        except AudioError as error:
            look.result = error
        return look


class _Store:
    """The cache during one call; a folder that cannot be written costs the caching, not the features."""

    def __init__(self, cache: FeatureCache | None) -> None:
        self.cache = cache
        self.untrimmed = 0
        self.warned = False

    def get(self, key: str, shape: RowShape | None) -> Row | None:
        if self.cache is None:
            return None
        row = self.cache.get(key)
        return row if row is not None and _has_shape(row, shape) else None

    def put(self, key: str, row: Row) -> None:
        if self.cache is None:
            return
        try:
            self.cache.put(key, row)
        except OSError as error:
            self._warn(error)
            return
        self.untrimmed += row.nbytes
        if self.cache.max_bytes is not None and self.untrimmed > self.cache.max_bytes // 10:
            self.close()

    def close(self) -> None:
        if self.cache is not None and self.untrimmed:
            with contextlib.suppress(OSError):
                self.cache.trim()
            self.untrimmed = 0

    def _warn(self, error: OSError) -> None:
        """Say once what could not be kept; other entries may still be."""
        if not self.warned:
            warnings.warn(
                f"Got cache={self.cache!r}, of which an entry cannot be used ({error}); such features are computed and not "
                "kept. Set cache to a folder that can be written, or to None.",
                stacklevel=2,
            )
        self.warned = True


def _has_shape(row: Row, shape: RowShape | None) -> bool:
    return shape is None or (
        row.ndim == len(shape) and all(b in (None, a) for a, b in zip(row.shape, shape, strict=True))
    )


def _encode_missing(missing: dict[str, _Look], encoders: list[Encoder], n_threads: int) -> Iterator[tuple[str, Result]]:
    clips = {key: look.clip for key, look in missing.items() if look.clip is not None}
    for group in decoded_in_turn(clips):
        yield from _encode(group, {key: missing[key].seconds for key in group}, encoders, n_threads)


def _encode(
    clips: dict[str, Clip], seconds: dict[str, float], encoders: list[Encoder], n_threads: int
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

    batches = plan_batches([seconds[key] for key in keys], encoders[0].batch_seconds)
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
