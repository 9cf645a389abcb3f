"""A cache of features on disk, keyed by a hash of the clip and all settings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from ..validation import check_integer

DEFAULT_MAX_BYTES = 10 * 2**30
ENDING = ".safetensors"
# A temporary file older than this was left by a process killed while writing.
STALE_SECONDS = 3600.0
# Trimming goes below the bound, so that it is not due again after the next few clips.
TRIM_TO = 0.9


@dataclass(frozen=True)
class FeatureCache:
    """
    A folder of features, with one safetensors file per clip, named by a hash of everything that the features depend on.

    Parameters
    ----------
    folder : str or Path
        Created on the first write. Machines of a cluster can share a folder on a network filesystem.
    max_bytes : int or None, default=None
        Bound on the size of the folder; the least recently used entries are removed first. None means no bound.

    See Also
    --------
    HubertFeaturizer : Takes a cache or its folder.

    Notes
    -----
    Each entry is written to a temporary file and moved into place by `os.replace`, which is atomic: any number of
    processes may read and write, and a killed one leaves at most a temporary file, which `trim` removes. An entry
    carries a checksum of its values, so that a corrupted one is removed and computed again.

    Of the alternatives, `diskcache` unpickles what it reads (CVE-2025-69872) and, being built on SQLite, is not safe on
    network filesystems; `joblib.Memory` caches whole calls, not clips, and starts anew when the function's source
    changes. Reading a safetensors file runs no code.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FeatureCache(folder)
    ...     cache.put("0" * 40, np.ones(3, dtype=np.float32))
    ...     cache.get("0" * 40), cache.get("1" * 40)
    (array([1., 1., 1.], dtype=float32), None)
    """

    folder: str | os.PathLike[str]
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"Got folder={self.folder!r}, expected a path.")
        check_integer("max_bytes", self.max_bytes, 1, also=(None,))

    def get(self, key: str) -> NDArray[Any] | None:
        """
        Return the features stored under `key`.

        Parameters
        ----------
        key : str
            Hexadecimal digits.

        Returns
        -------
        features : ndarray or None
            None if there is no entry, or if it cannot be read or does not match its checksum.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:  # missing or unreadable: only this entry is computed again
            return None
        try:
            entry = safetensors.numpy.load(content)
            features = entry["features"]
            if _checksum(features) != entry["checksum"].tobytes():
                raise KeyError("checksum")
        except (safetensors.SafetensorError, KeyError, ValueError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if self.max_bytes is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # time of last use, for `trim`
        return features

    def put(self, key: str, features: NDArray[Any]) -> None:
        """
        Store features under `key`.

        Parameters
        ----------
        key : str
            Hexadecimal digits.
        features : ndarray
            Any shape, float32 or float64.

        Raises
        ------
        OSError
            If the folder cannot be written, for example because the disk is full.
        """
        features = np.ascontiguousarray(features)
        checksum = np.frombuffer(_checksum(features), dtype=np.uint8)
        content = safetensors.numpy.save({"features": features, "checksum": checksum})
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{key}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except PermissionError:
            # Windows refuses while another process reads the entry; it then exists already, with the same content.
            if not path.exists():
                raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def trim(self) -> None:
        """Remove stale temporary files and, if the folder exceeds `max_bytes`, the least recently used entries."""
        entries, stale = [], time.time() - STALE_SECONDS
        for path, status in self._files():
            if path.suffix == ENDING:
                entries.append((status.st_mtime, status.st_size, path))
            elif status.st_mtime < stale:
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries)
        if self.max_bytes is None or total <= self.max_bytes:
            return
        for _, size, path in sorted(entries):
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
            if total <= TRIM_TO * self.max_bytes:
                return

    def clear(self) -> None:
        """Remove every entry; the folder stays."""
        for path, _ in self._files():
            path.unlink(missing_ok=True)

    @property
    def n_bytes(self) -> int:
        """Size of all entries, in bytes."""
        return sum(status.st_size for _, status in self._files())

    def __len__(self) -> int:
        return sum(path.suffix == ENDING for path, _ in self._files())

    def __bool__(self) -> bool:
        """Return True, also for an empty cache."""
        return True

    def _path(self, key: str) -> Path:
        # 256 subfolders, since some filesystems are slow with very large ones.
        return Path(self.folder) / key[:2] / f"{key}{ENDING}"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files written by this class with their size and times; others in the folder are left alone."""
        for path in Path(self.folder).glob("[0-9a-f][0-9a-f]/*"):
            if re.fullmatch(r"[0-9a-f]+\.(safetensors|[0-9a-f]+\.tmp)", path.name):
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.stat()


def open_cache(cache: Any) -> FeatureCache | None:
    """
    Turn a featuriser's `cache` parameter into a cache; a ValueError if it is of another type.

    True means `default_folder()` with at most 10 GiB; None and False mean no cache.
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return FeatureCache(default_folder(), max_bytes=DEFAULT_MAX_BYTES)
    if isinstance(cache, FeatureCache):
        return cache
    if isinstance(cache, str | os.PathLike) and os.fspath(cache):
        return FeatureCache(cache)
    raise ValueError(f"Got cache={cache!r}, expected True, None, a folder or a FeatureCache.")


def default_folder() -> Path:
    """Folder for `cache=True`: `$GENDIFFCLF_CACHE`, or `gendiffclf/features` in the user's cache folder."""
    if folder := os.environ.get("GENDIFFCLF_CACHE"):
        return Path(folder)
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "gendiffclf" / "features"


def _checksum(features: NDArray[Any]) -> bytes:
    state = hashlib.blake2b(f"{features.dtype.str} {features.shape}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(features).data)
    return state.digest()
