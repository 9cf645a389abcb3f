"""Seconds and memory of a fit against rows, features, classes, layers and members."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import numpy as np

from gendiffclf import GenerativeTransportClassifier

from ..memory import peak_bytes, reset_peak, resident_bytes
from .measuring import QUICK, Finding, Measured, Options, call_in_fresh_process, class_rows, timed

TITLE = "Growth"
BASE = {"n": 5000, "d": 64, "K": 10, "layers": 1, "members": 3}
AXES: dict[str, tuple[int, ...]] = {
    "n": (1000, 3000, 10_000, 30_000, 100_000),
    "d": (8, 32, 128, 512),
    "K": (2, 5, 10, 25, 50),
    "layers": (1, 2, 4, 8, 16, 24),
    "members": (1, 2, 4, 8),
}
NAMES = {"n": "rows n", "d": "features d", "K": "classes K", "layers": "layers", "members": "members"}
_QUICK_BASE = {"n": 200, "d": 8, "K": 3, "layers": 1, "members": 2}
_QUICK_AXES = {"n": (100, 400), "d": (4, 16), "K": (2, 4), "layers": (1, 3), "members": (1, 2)}


def measure(options: Options) -> Measured:
    """Fit at each point of each axis, at full size in a process of its own, so that its memory is its own."""
    base, axes = (_QUICK_BASE, _QUICK_AXES) if options.quick else (BASE, AXES)
    repeats, steps = (1, 3) if options.quick else (3, 200)
    figures: dict[str, Any] = {}
    findings = []
    for axis, values in axes.items():
        points = []
        for value in values:
            arguments: dict[str, Any] = {**base, axis: value, "steps": steps, "repeats": repeats}
            found = fit_point(**arguments) if options.quick else call_in_fresh_process(fit_point, **arguments)
            points.append({axis: value, **found})
            print(f"{axis}={value}: {found['seconds']:.2f} s, {found['memory_bytes'] / 2**20:.0f} MiB", flush=True)
        figures[axis] = {"points": points, "exponents": {}}
        for name in ("seconds", "kernel_seconds", "memory_bytes"):
            figures[axis]["exponents"][name] = exponent(values, [point[name] for point in points])
        growth = points[-1]["seconds"] / points[0]["seconds"] / (values[-1] / values[0])
        findings.append(
            Finding(f"seconds, {values[-1]:,} / {values[0]:,} {NAMES[axis]}, in units of linear growth", growth)
        )
    return Measured({"base": base, "steps": steps, "repeats": repeats}, figures, findings)


def fit_point(n: int, d: int, K: int, layers: int, members: int, steps: int, repeats: int) -> dict[str, float]:
    """
    Fit the default classifier with a fixed number of updates, and its kernel alone.

    Returns
    -------
    dict
        Median seconds of both, and the memory that the first fit after a small one adds, in bytes.
    """
    X, y = class_rows(n, d, K, n_layers=layers)

    def create(**parameters: Any) -> GenerativeTransportClassifier:
        return GenerativeTransportClassifier(device="cpu", random_state=0, **parameters)

    create(**QUICK).fit(*class_rows(60, 4, 3))
    gc.collect()
    reset_peak()
    before = resident_bytes() or peak_bytes()
    seconds: dict[str, list[float]] = {"seconds": [], "kernel_seconds": []}
    memory = 0
    for number in range(repeats):
        both = create(max_steps=steps, patience=None, n_members=members)
        seconds["seconds"].append(timed(partial(both.fit, X, y)))
        if number == 0:
            memory = peak_bytes() - before
        seconds["kernel_seconds"].append(timed(partial(create(estimator="kernel").fit, X, y)))
    # A fit too small to need a new page still holds something; zero has no logarithm.
    return {**{name: float(np.median(found)) for name, found in seconds.items()}, "memory_bytes": max(memory, 2**16)}


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """The slope of a line through logarithms by least squares: 1 for what grows as the size does."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [["Axis", "From, to", "Seconds", "Exponent", "Kernel alone, s", "Exponent", "Memory, MiB", "Exponent"]]
    for axis, found in record["figures"].items():
        first, last, slopes = found["points"][0], found["points"][-1], found["exponents"]
        rows.append(
            [
                NAMES[axis],
                f"{first[axis]:,}, {last[axis]:,}",
                f"{first['seconds']:.2f}, {last['seconds']:.2f}",
                f"{slopes['seconds']:.2f}",
                f"{first['kernel_seconds']:.2f}, {last['kernel_seconds']:.2f}",
                f"{slopes['kernel_seconds']:.2f}",
                f"{first['memory_bytes'] / 2**20:.0f}, {last['memory_bytes'] / 2**20:.0f}",
                f"{slopes['memory_bytes']:.2f}",
            ]
        )
    return rows
