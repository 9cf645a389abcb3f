"""Seconds and memory of a fit of a few epochs against rows, features, classes, layers and members."""

from __future__ import annotations

import gc
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from gendiffclf import GenerativeTransportClassifier

from ..memory import peak_bytes, reset_peak, resident_bytes
from .measuring import Finding, Measured, Options, call_in_fresh_process, class_rows, timed

TITLE = "Growth"
BASE = {"n": 5000, "d": 64, "K": 10, "layers": 1, "members": 6}
AXES: dict[str, tuple[int, ...]] = {
    "n": (1000, 3000, 10_000, 30_000, 100_000),
    "d": (8, 32, 128, 512),
    "K": (2, 5, 10, 25, 50),
    "layers": (1, 2, 4, 8, 16, 24),
    "members": (1, 2, 4, 8, 16),
}
NAMES = {"n": "rows n", "d": "features d", "K": "classes K", "layers": "layers", "members": "members"}
_QUICK_BASE = {"n": 200, "d": 8, "K": 3, "layers": 1, "members": 2}
_QUICK_AXES = {"n": (100, 400), "d": (4, 16), "K": (2, 4), "layers": (1, 3), "members": (1, 2)}


def measure(options: Options) -> Measured:
    """Fit at each point of each axis, at full size in a process of its own, so that its memory is its own."""
    base, axes = (_QUICK_BASE, _QUICK_AXES) if options.quick else (BASE, AXES)
    repeats, epochs = (1, 1) if options.quick else (3, 3)
    figures: dict[str, Any] = {}
    findings = []
    for axis, values in axes.items():
        points = []
        for value in values:
            arguments: dict[str, Any] = {**base, axis: value, "epochs": epochs, "repeats": repeats}
            # Without members of its own, the peer has nothing to say about them.
            arguments["peer"] = axis != "members"
            found = fit_point(**arguments) if options.quick else call_in_fresh_process(fit_point, **arguments)
            points.append({axis: value, **found})
            print(f"{axis}={value}: {found['seconds']:.2f} s, {found['memory_bytes'] / 2**20:.0f} MiB", flush=True)
        figures[axis] = {"points": points, "exponents": {}}
        for name in ("seconds", "epoch_seconds", "memory_bytes", "mlp_seconds"):
            if name in points[0]:
                figures[axis]["exponents"][name] = exponent(values, [point[name] for point in points])
        last = points[-1]
        growth = last["seconds"] / points[0]["seconds"] / (values[-1] / values[0])
        findings.append(
            Finding(f"seconds, {values[-1]:,} / {values[0]:,} {NAMES[axis]}, in units of linear growth", growth)
        )
        if "mlp_seconds" in last:
            ratio = last["seconds"] / last["mlp_seconds"]
            findings.append(Finding(f"{values[-1]:,} {NAMES[axis]}, ours / MLPClassifier of as many epochs", ratio))
    return Measured({"base": base, "epochs": epochs, "repeats": repeats}, figures, findings)


def fit_point(
    n: int, d: int, K: int, layers: int, members: int, epochs: int, repeats: int, peer: bool
) -> dict[str, float]:
    """
    Fit ours, and MLPClassifier where it is a peer, in turn.

    Returns
    -------
    dict
        Median seconds, those of them in epochs, and the memory that the first fit after a small one adds, in bytes.
    """
    X, y = class_rows(n, d, K, n_layers=layers)

    def ours() -> GenerativeTransportClassifier:
        return GenerativeTransportClassifier(max_epochs=epochs, n_members=members, device="cpu", random_state=0)

    def mlp() -> BaseEstimator:
        return MLPClassifier((256, 256), max_iter=epochs, random_state=0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        small = class_rows(60, 4, 3)
        GenerativeTransportClassifier(max_epochs=1, n_members=1, device="cpu").fit(*small)
        mlp().fit(*small)
        gc.collect()
        reset_peak()
        before = resident_bytes() or peak_bytes()
        seconds, of_epochs, of_peer = [], [], []
        memory = 0
        for number in range(repeats):
            model = ours()
            seconds.append(timed(partial(model.fit, X, y)))
            of_epochs.append(sum(model.history_["seconds"]))
            if number == 0:
                memory = peak_bytes() - before
            if peer:
                flat = X.reshape(n, -1)
                of_peer.append(timed(partial(mlp().fit, flat, y)))
    found = {"seconds": float(np.median(seconds)), "epoch_seconds": float(np.median(of_epochs))}
    # A fit too small to need a new page still holds something; zero has no logarithm.
    found["memory_bytes"] = max(memory, 2**16)
    return found | ({"mlp_seconds": float(np.median(of_peer))} if peer else {})


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """The slope of a line through logarithms by least squares: 1 for what grows as the size does."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [
        ["Axis", "From, to", "Seconds", "Exponent", "of epochs alone", "of MLPClassifier", "Memory, MiB", "Exponent"]
    ]
    for axis, found in record["figures"].items():
        first, last, slopes = found["points"][0], found["points"][-1], found["exponents"]
        rows.append(
            [
                NAMES[axis],
                f"{first[axis]:,}, {last[axis]:,}",
                f"{first['seconds']:.2f}, {last['seconds']:.2f}",
                f"{slopes['seconds']:.2f}",
                f"{slopes['epoch_seconds']:.2f}",
                f"{slopes['mlp_seconds']:.2f}" if "mlp_seconds" in slopes else "–",
                f"{first['memory_bytes'] / 2**20:.0f}, {last['memory_bytes'] / 2**20:.0f}",
                f"{slopes['memory_bytes']:.2f}",
            ]
        )
    return rows
