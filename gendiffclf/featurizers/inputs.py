"""Parsing of the forms in which callers may pass clips."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from ..validation import shown
from .audio import AudioError, Clip

EXPECTED = (
    "a path, an array, (array, rate), {'array', 'sampling_rate'}, (path, start, end), a torch tensor or an AudioDecoder"
)


def as_items(X: Any) -> list[Any]:
    """
    Split `X` into a list of inputs, one per row of the result; they are not checked yet.

    A DataFrame has one column of clips, or the columns `path`, `start` and `end`. A two-dimensional numeric array has one clip
    per row. A ValueError if `X` is empty, a single clip, or a table with other columns.
    """
    items = _split(X)
    if not items:
        raise ValueError("Got X with 0 clips, expected at least 1.")
    return items


def _split(X: Any) -> list[Any]:
    if isinstance(X, str | bytes | os.PathLike | Mapping | Real) or not isinstance(X, Iterable) or _is_one_clip(X):
        raise ValueError(f"Got X of type {type(X).__name__}, expected a list of clips; pass a single clip as [clip].")
    if hasattr(X, "columns") and hasattr(X, "shape"):  # pandas, polars
        return _table_items(X)
    if hasattr(X, "detach"):
        X = _numpy(X)
    if isinstance(X, np.ndarray):
        if X.dtype.kind in "fiub" and X.ndim < 2:
            raise ValueError(f"Got X of shape {X.shape}, which is a single clip, expected a list of clips; pass [X].")
        if X.dtype.kind not in "fiub" and X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]  # (n, 1) -> (n,), one column of a table
    return list(X)


def _is_one_clip(X: Iterable[Any]) -> bool:
    """Whether `X` is `(array, rate)`, `(path, start, end)` or a list of numbers."""
    if not isinstance(X, tuple | list) or not X:
        return False
    if isinstance(X, tuple) and len(X) == 2 and isinstance(X[1], Real):
        return True
    if isinstance(X, tuple) and len(X) == 3 and isinstance(X[1], Real | None):
        return True
    return all(isinstance(item, Real) for item in X[:9])


def _table_items(table: Any) -> list[Any]:
    names = [str(name) for name in table.columns]
    if len(names) == 1:
        return list(table[table.columns[0]])
    if set(names) == {"path", "start", "end"}:
        return list(zip(table["path"], table["start"], table["end"], strict=True))
    raise ValueError(f"Got X with columns {names}, expected one column of clips, or 'path', 'start' and 'end'.")


def as_clip(item: Any, sampling_rate: float | None) -> Clip:
    """
    Turn one input, in one of the forms listed at `HubertFeaturizer`, into a `Clip`, which is not read yet.

    `sampling_rate` is that of bare arrays, in Hz. An input in none of these forms is an AudioError, subject to `on_error`; a bare
    array without `sampling_rate` is a ValueError of the call, whatever `on_error` is. A `Clip` is returned as it is.
    """
    if isinstance(item, Clip):
        return item
    if isinstance(item, str | os.PathLike | bytes) or hasattr(item, "get_all_samples"):
        return Clip(item)
    if isinstance(item, Mapping):
        return _from_mapping(item)
    if isinstance(item, tuple | list) and len(item) == 3 and isinstance(item[0], str | os.PathLike):
        return _segment(*item)
    if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[1]) == 0:
        return Clip(_array(item[0]), _rate(item[1]))
    samples = _array(item)
    if sampling_rate is None:
        raise ValueError(
            "Got a bare array and sampling_rate=None, expected a rate in Hz; set sampling_rate, or pass (array, rate)."
        )
    return Clip(samples, float(sampling_rate))


def _from_mapping(item: Mapping[str, Any]) -> Clip:
    if item.get("array") is not None and item.get("sampling_rate") is not None:
        return Clip(_array(item["array"]), _rate(item["sampling_rate"]))
    if item.get("bytes") is not None:
        return Clip(bytes(item["bytes"]))
    if item.get("path") is not None:
        return _segment(item["path"], item.get("start"), item.get("end"))
    raise AudioError(f"it is a mapping with keys {list(item)}, expected 'array' and 'sampling_rate'", "dict")


def _segment(path: Any, start: Any, end: Any) -> Clip:
    start, end = _seconds("start", start), _seconds("end", end)
    clip = Clip(path, start=start or 0.0, end=end)
    if end is not None and end <= clip.start:
        raise AudioError(f"its segment has start={clip.start:g} s and end={end:g} s, expected start < end", clip.name)
    return clip


def _seconds(name: str, value: Any) -> float | None:
    """A time in seconds; None, NaN and pandas' NA stand for a missing one."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if not isinstance(value, Real) or float(value) < 0 or math.isinf(value):
        raise AudioError(f"its {name} is {shown(value)}, expected seconds >= 0 or None")
    return None if math.isnan(value) else float(value)


def _rate(value: Any) -> float:
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise AudioError(f"its sampling rate is {value!r}, expected a positive number in Hz")
    return float(value)


def _numpy(tensor: Any) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _array(value: Any) -> np.ndarray[Any, Any]:
    if hasattr(value, "detach"):
        return _numpy(value)
    if not isinstance(value, np.ndarray | list | tuple):
        raise AudioError(f"it is of type {type(value).__name__}, expected {EXPECTED}", type(value).__name__)
    try:
        samples = np.asarray(value)
    except ValueError as error:
        raise AudioError("it is a ragged list, expected samples of a single clip", "list") from error
    if samples.dtype.kind not in "fiu" and samples.size:
        raise AudioError(f"its samples are {samples.dtype}, expected numbers", type(value).__name__)
    return samples
