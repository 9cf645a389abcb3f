"""Memory of a fit to rows on disk (`np.memmap`), beside the size of their file and MLPClassifier's memory."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from gendiffclf import GenerativeTransportClassifier

from ..memory import peak_bytes, reset_peak, resident_bytes
from .measuring import QUICK, Finding, Measured, Options, call_in_fresh_process, class_rows

TITLE = "Rows on disk"
N_CLASSES = 10
_CHUNK = 100_000
_STATM = Path("/proc/self/statm")


class AnonymousPeak:
    """
    Highest memory that the process holds beyond files, while the context lasts, by looking every 5 ms.

    Pages of a mapped file count as resident although the system may drop them at any time; a copy of them does not go away.

    Attributes
    ----------
    added_bytes : int or None
        Above what it was at the beginning; None where the system does not say.
    """

    def __enter__(self) -> Self:
        self._seen = [anonymous_bytes()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._seen.append(anonymous_bytes())

    @property
    def added_bytes(self) -> int | None:
        """Bytes added at most."""
        known = [seen for seen in self._seen if seen is not None]
        return max(known) - known[0] if known else None

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self._seen.append(anonymous_bytes())


def anonymous_bytes() -> int | None:
    """Resident memory less what is backed by files, in bytes; None where the system does not say."""
    try:
        _, resident, shared, *_ = map(int, _STATM.read_text().split())
    except OSError:
        return None
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def measure(options: Options) -> Measured:
    """Write a file, and fit to it in processes of their own."""
    settings: dict[str, Any] = {
        "n": 5000 if options.quick else 500_000,
        "d": 8 if options.quick else 128,
        "max_steps": 2 if options.quick else 300,
        "mlp_epochs": 1,
    }
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, settings["n"], settings["d"])
        settings["file_bytes"] = path.stat().st_size
        for name in ("ours", "MLPClassifier"):
            arguments = {"model": name, "path": str(path), "max_steps": settings["max_steps"]}
            figures[name] = fit_file(**arguments) if options.quick else call_in_fresh_process(fit_file, **arguments)
    ours, mlp = figures["ours"], figures["MLPClassifier"]
    size = settings["file_bytes"]
    findings = []
    if ours["anonymous_bytes"] is not None:
        findings = [
            Finding("memory added beyond files / size of the file", ours["anonymous_bytes"] / size, "×", 1.0),
            Finding("the same of MLPClassifier", mlp["anonymous_bytes"] / size),
        ]
    findings.append(
        Finding("resident memory added, mapped pages of the file too / its size", ours["peak_bytes"] / size)
    )
    return Measured(settings, figures, findings)


def write_rows(path: Path, n: int, d: int) -> None:
    """Write rows of float32 to a NumPy file, and their labels beside it, without holding all of them."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    labels = np.empty(n, np.int64)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        rows[part], labels[part] = class_rows(part.stop - start, d, N_CLASSES, seed=start)
    rows.flush()
    np.save(path.with_name("labels.npy"), labels)


def fit_file(model: str, path: str, max_steps: int) -> dict[str, Any]:
    """Fit to a file; seconds, and memory added at most."""
    X = np.load(path, mmap_mode="r")
    y = np.load(Path(path).with_name("labels.npy"))
    create: dict[str, BaseEstimator] = {
        "ours": GenerativeTransportClassifier(max_steps=max_steps, device="cpu", random_state=0),
        "MLPClassifier": MLPClassifier((256, 256), max_iter=1, random_state=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        type(create[model])(**(QUICK if model == "ours" else {"max_iter": 1})).fit(*class_rows(60, 4, 3))
        gc.collect()
        reset_peak()
        before = resident_bytes() or peak_bytes()
        begin = time.perf_counter()
        with AnonymousPeak() as anonymous:
            create[model].fit(X, y)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak_bytes": peak_bytes() - before, "anonymous_bytes": anonymous.added_bytes}


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    size = record["settings"]["file_bytes"]
    rows = [["Fit", "Seconds", "Added beyond files, MiB", "/ file", "Resident added, MiB", "/ file"]]
    for name, found in record["figures"].items():
        cells = [name, f"{found['seconds']:.1f}"]
        for key in ("anonymous_bytes", "peak_bytes"):
            value = found[key]
            cells += ["–", "–"] if value is None else [f"{value / 2**20:.0f}", f"{value / size:.2f}"]
        rows.append(cells)
    return rows
