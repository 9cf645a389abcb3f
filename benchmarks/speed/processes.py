"""Training shared by two processes on a CPU, beside one process: seconds, and how far the classifiers are apart."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import distributed

from gendiffclf import GenerativeTransportClassifier

from ..environment import ROOT
from .measuring import Finding, Measured, Options, class_rows, spread, timed

TITLE = "Training in two processes on a CPU"
ALONE, THREADS, SHARED = "one process, one thread", "one process, two threads", "two processes of one thread"
_LAUNCHES = {ALONE: (1, 1), THREADS: (1, 2), SHARED: (2, 1)}
"""Processes, and threads of each."""


def measure(options: Options) -> Measured:
    """Fit in turn in one process and in two, each launched anew."""
    settings = {
        "n": 300 if options.quick else 5000,
        "d": 8 if options.quick else 64,
        "width": 32 if options.quick else 512,
        "batch_size": 64 if options.quick else 512,
        "max_steps": 3 if options.quick else 100,
        "repeats": 1 if options.quick else 5,
    }
    seconds: dict[str, list[float]] = {name: [] for name in _LAUNCHES}
    probabilities = {}
    names = list(_LAUNCHES)
    for number in range(settings["repeats"]):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            fit_seconds, probabilities[name] = _launch(*_LAUNCHES[name], settings)
            seconds[name].append(fit_seconds)
    apart = float(np.abs(probabilities[SHARED] - probabilities[ALONE]).max())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    findings = [Finding(f"{SHARED} / {name}", medians[SHARED] / medians[name]) for name in (ALONE, THREADS)]
    findings.append(Finding("greatest difference of a probability", 1e6 * apart, "millionths", 1000.0))
    figures = {"seconds": {name: spread(values) for name, values in seconds.items()}, "difference": apart}
    return Measured(settings, figures, findings)


def _launch(n_processes: int, n_threads: int, settings: dict[str, Any]) -> tuple[float, np.ndarray]:
    """Seconds of a fit, and the probabilities of the rows."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *launcher, "-m", __name__, json.dumps(settings), folder]
        environment = {**os.environ, "OMP_NUM_THREADS": str(n_threads)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Got exit status {done.returncode} from {n_processes} processes: {done.stderr[-500:]}")
        return json.loads((Path(folder) / "seconds.json").read_text()), np.load(Path(folder) / "proba.npy")


def work(settings: dict[str, Any], folder: Path) -> None:
    """What each process of a launch does; the first writes what it found."""
    distributed.init_process_group("gloo")
    try:
        X, y = class_rows(settings["n"], settings["d"], 10)

        names = ("width", "batch_size", "max_steps")
        measured = GenerativeTransportClassifier(
            distributed=True,
            device="cpu",
            precision="float32",
            random_state=0,
            n_members=1,
            patience=None,
            **{name: settings[name] for name in names},
        )
        clone(measured).set_params(max_steps=1).fit(X, y)  # imports, and starts threads
        seconds = timed(lambda: measured.fit(X, y))
        if distributed.get_rank() == 0:
            (folder / "seconds.json").write_text(json.dumps(seconds))
            np.save(folder / "proba.npy", measured.predict_proba(X))
    finally:
        distributed.destroy_process_group()


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [["Fit", "Seconds", "Quartiles"]]
    for name, found in record["figures"]["seconds"].items():
        rows.append([name, f"{found['median']:.2f}", f"{found['low']:.2f}–{found['high']:.2f}"])
    return rows


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    work(json.loads(sys.argv[1]), Path(sys.argv[2]))
