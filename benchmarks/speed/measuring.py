"""What the parts share: calls in turn, fresh processes, rows of one's own, and the form of what was found."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..environment import ROOT
from .baseline import Baseline

QUICK: dict[str, Any] = {"max_steps": 3, "n_members": 2, "width": 32, "depth": 1}
"""Parameters of the classifier where figures mean nothing."""


@dataclass(frozen=True)
class Options:
    """
    What a part is asked for.

    Attributes
    ----------
    quick : bool
        Whether sizes are tiny: figures then say nothing, but every line has run.
    data_dir : Path or None
        Folder of more tables.
    peers : tuple of str
        Slow peers to measure where they are installed.
    baseline : Baseline or None
        An older version to measure beside this one.
    """

    quick: bool = False
    data_dir: Path | None = None
    peers: tuple[str, ...] = ()
    baseline: Baseline | None = None


@dataclass(frozen=True)
class Finding:
    """
    A figure that has a peer or a floor.

    Attributes
    ----------
    name : str
        What it is of, and relative to what.
    value : float
    unit : str
        "×" for a ratio.
    at_most : float or None
        The goal, in the same unit.
    """

    name: str
    value: float
    unit: str = "×"
    at_most: float | None = None


@dataclass(frozen=True)
class Measured:
    """
    What a part found: JSON objects, and the findings to show first.

    Attributes
    ----------
    settings : dict
        Sizes and repeats.
    figures : dict
    findings : list of Finding
    """

    settings: dict[str, Any]
    figures: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], repeats: int, *, in_a_row: int = 1, warm_up: int = 1
) -> dict[str, list[float]]:
    """
    Time calls in turn, so that what slows the machine for a while slows all of them.

    Parameters
    ----------
    calls : mapping of str to callable
    repeats : int
        Rounds; each starts with another call than the one before.
    in_a_row : int
        How often a call is timed before the next one has its turn.
    warm_up : int
        Calls of each before the first that counts.

    Returns
    -------
    dict of str to list of float
        Seconds of every single call, `repeats * in_a_row` of each.
    """
    for call in calls.values():
        for _ in range(warm_up):
            call()
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            for _ in range(in_a_row):
                seconds[name].append(timed(calls[name]))
    return seconds


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of values."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(values)}


def fresh_process(code: str, *arguments: str) -> Any:
    """
    What code in a Python process of its own prints, as JSON.

    Raises
    ------
    RuntimeError
        If the process fails; with the last line of what it says.
    """
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Got exit status {done.returncode} from a process of its own: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def call_in_fresh_process(function: Callable[..., Any], **arguments: Any) -> Any:
    """The result of a function of a module, called in a process of its own: memory held before does not count there."""
    code = (
        "import json, sys\n"
        f"from {function.__module__} import {function.__name__} as function\n"
        "print(json.dumps(function(**json.loads(sys.argv[1]))))\n"
    )
    return fresh_process(code, json.dumps(arguments))


def class_rows(
    n: int, n_features: int, n_classes: int, *, n_layers: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """
    Rows around the centres of their classes, both normal, so that no class is lost and a few errors remain.

    Parameters
    ----------
    n, n_features, n_classes, n_layers : int
    seed : int
        Of the rows; the centres are the same for every seed.

    Returns
    -------
    X : ndarray of shape (n, n_features) or (n, n_layers, n_features), float32
    y : ndarray of shape (n,), int
        Every class, evenly.
    """
    shape = (n_features,) if n_layers == 1 else (n_layers, n_features)
    # Distances between centres do not depend on the number of features.
    spread_of_centres = np.float32(3 / np.sqrt(np.prod(shape)))
    centres = np.random.default_rng(0).standard_normal((n_classes, *shape), np.float32) * spread_of_centres
    rng = np.random.default_rng([1, seed])
    y = rng.permutation(np.arange(n) % n_classes)
    X = rng.standard_normal((n, *shape), np.float32)
    X += centres[y]
    return X, y
