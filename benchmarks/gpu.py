"""Measure a CUDA device: the paper's recipe, update by update, and fits of classifiers beside the CPU and peers."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.network import TransportNetwork
from gendiffclf.parameters import network_shape, training_settings
from gendiffclf.training import loop
from gendiffclf.training.distributed import Processes
from gendiffclf.training.folds import Folds

from . import encoding
from .data import class_rows
from .markdown import number, table
from .models import create_model, named
from .options import add_options, add_parts, chosen, refuse_quick
from .records import RESULTS, load_average, new_record, read_record, write_record
from .runner import quiet, timed

FOLDER = RESULTS / "gpu"
LAYERS, ROWS, CLASSES = 25, 5120, 7
"""Of the recipe's rows: HuBERT large has 25 layers of width 1024, IEMOCAP about so many clips."""
BYTES_PER_PARAMETER = 36
"""That an update must move at least: 28 for Adam, about 8 for products forward and backward in bfloat16."""
UPDATES = 400_000
"""Of the paper."""
WAYS: dict[str, dict[str, Any]] = {
    "kernel by kernel": {"pays": lambda *_: False, "CapturedUpdate": lambda _: lambda update, *inputs: update(*inputs)},
    "as a CUDA graph": {"pays": lambda *_: False},
    "compiled, as a CUDA graph": {"pays": lambda *_: True},
}
"""What changes in the training loop."""
KINDS = {"products": ("nvjet", "gemm", "cutlass", "splitK"), "weights and averages": ("lerp", "multi_tensor")}
"""Words in the names of kernels; all others are the rest."""
CASES: dict[str, dict[str, Any]] = {
    "50,000 rows, 256 features, 10 classes": {"n": 50_000, "d": 256, "K": 10},
    "100,000 rows, 1,024 features, 100 classes": {"n": 100_000, "d": 1024, "K": 100},
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": ("ours", {"device": "cuda"}),
    "ours on the CPU": ("ours", {"device": "cpu"}),
    "xgboost": ("xgboost", {"estimator__device": "cuda"}),
    "realmlp_td": ("realmlp_td", {"device": "cuda"}),
    "tabm_d": ("tabm_d", {"device": "cuda"}),
}
TEST_ROWS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_parts(parser, PARTS)
    add_options(parser, FOLDER, "--quick")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a fit at most (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    refuse_quick(arguments, FOLDER)
    if not arguments.quick and not torch.cuda.is_available():
        raise ValueError("Got a machine without a CUDA device, expected one; --quick runs tiny sizes on the CPU.")
    for part in chosen(arguments.parts, PARTS, "part"):
        load, figures = load_average(), PARTS[part](arguments)
        record = new_record(arguments.command_line, load_average=load, limit=arguments.limit, figures=figures)
        write_record(record, arguments.output / f"{part}.json")
    return 0


def measure_recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of updates of the paper's network, in several ways, beside the time in which memory could move its weights."""
    figures: dict[str, Any] = {"bytes_per_second": copy_rate(arguments.quick), "ways": {}}
    for way, changes in WAYS.items():
        if arguments.quick and way != "kernel by kernel":
            continue
        begin = time.perf_counter()
        with mock.patch.multiple(loop, **changes):
            learner = recipe(arguments.quick)
        for step in range(1, 9):
            learner.update(step)
        _synchronize()
        found: dict[str, Any] = {"setup_seconds": time.perf_counter() - begin}
        n_updates, rounds = 3 if arguments.quick else 80, []
        for _ in range(5):
            begin = time.perf_counter()
            for step in range(n_updates):
                learner.update(100 + step)
            _synchronize()
            rounds.append((time.perf_counter() - begin) / n_updates)
        found["update_seconds"] = float(np.median(rounds))
        if not arguments.quick:
            found["kernels"] = kernels(learner)
        figures["ways"][way] = found
        figures["n_parameters"] = sum(x.numel() for x in learner.network.parameters())
        del learner
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(way, found, flush=True)
    return figures


def recipe(quick: bool) -> loop._Learner:
    """The learner of the paper's recipe, on random rows."""
    device, n_rows, width = ("cpu", 256, 32) if quick else ("cuda", ROWS, 1024)
    classifier = GenerativeTransportClassifier.from_preset("gen-ser", width=width)
    classifier.path.set_params(time_width=width)
    params, generator = classifier.get_params(deep=False), torch.Generator(device).manual_seed(0)
    lift = np.random.default_rng(0).standard_normal((width, width)) / width**0.5
    network = TransportNetwork(network_shape(params, LAYERS, width, width), lift).to(device)
    rows = torch.randn(n_rows, LAYERS, width, generator=generator, device=device)
    codes = torch.randn(CLASSES, width, generator=generator, device=device)
    y = torch.arange(n_rows, device=device) % CLASSES
    data = loop.TrainingData(rows, y, torch.ones(n_rows, device=device), codes)
    folds = Folds([np.arange(n_rows)], np.empty(0, np.int64), np.empty(0, np.int64))
    settings = training_settings(params, n_rows, width, torch.device(device), validated=False)
    return loop._Learner(network, data, folds, settings, 0, params["path"], Processes())


def copy_rate(quick: bool) -> float:
    """Bytes that a copy on the device reads and writes a second."""
    device = "cpu" if quick else "cuda"
    source = torch.randn(2**20 if quick else 2**29, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(10):
        _synchronize()
        begin = time.perf_counter()
        target.copy_(source)
        _synchronize()
        seconds.append(time.perf_counter() - begin)
    return 2 * source.nbytes / float(np.median(seconds))


def kernels(learner: loop._Learner) -> dict[str, dict[str, float]]:
    """Number and seconds of the kernels of an update, by kind."""
    from torch.profiler import ProfilerActivity, profile

    n_updates = 5
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiled:
        for step in range(n_updates):
            learner.update(1000 + step)
        _synchronize()
    found = {kind: {"count": 0.0, "seconds": 0.0} for kind in (*KINDS, "rest")}
    for event in profiled.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "rest")
        found[kind]["count"] += event.count / n_updates
        found[kind]["seconds"] += event.self_device_time_total * 1e-6 / n_updates
    return found


def measure_classifiers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of fit and predict, and accuracy, of classifiers with defaults, all on the device but ours once more."""
    figures: dict[str, Any] = {}
    for case, sizes in CASES.items():
        shape = {"n": 300, "d": 8, "K": 3} if arguments.quick else sizes
        n, n_test = shape["n"], TEST_ROWS if not arguments.quick else 100
        X, y = class_rows(n + n_test, shape["d"], shape["K"])
        for label, (model, parameters) in MODELS.items():
            if arguments.quick:
                parameters = {name: "cpu" for name in parameters} | ({"max_steps": 3} if model == "ours" else {})
            found = fit_and_predict(create_model(model, parameters), X, y, n_test, arguments.limit)
            figures.setdefault(case, {})[label] = found
            print(case, label, {name: round(value, 4) for name, value in found.items()}, flush=True)
    return figures


def fit_and_predict(model: Any, X: np.ndarray, y: np.ndarray, n_test: int, limit: float) -> dict[str, float]:
    """Figures of a fit to all but the last rows, and of a prediction of these; none where the fit takes longer than a limit."""
    with quiet(), contextlib.suppress(TimeoutError), time_limit(min(5, limit)):
        clone(model).fit(*class_rows(300, 4, 3))  # what libraries set up once
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        with quiet(), time_limit(limit):
            fit_seconds, *_ = timed(lambda: model.fit(X[:-n_test], y[:-n_test]))
    except TimeoutError:
        return {}
    with quiet():
        predict_seconds, _, p = timed(lambda: model.predict_proba(X[-n_test:]))
    truth, predicted = y[-n_test:], model.classes_[p.argmax(1)]
    scores = {"accuracy": float((predicted == truth).mean()), "log_loss": log_loss(truth, p, labels=model.classes_)}
    return {"fit_seconds": fit_seconds, "predict_seconds": predict_seconds, **scores}


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Run for so many seconds at most.

    Raises
    ------
    TimeoutError
        After them, between two steps of the interpreter.
    """

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "recipe": measure_recipe,
    "classifiers": measure_classifiers,
}


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without any record."""
    folder = results / FOLDER.name
    read = {part: read_record(folder / f"{part}.json") for part in PARTS}
    records = {part: record for part, record in read.items() if record}
    if not records:
        return {}
    found: dict[str, Any] = {"records": records, "encoding": encoding.context(folder)}
    if "recipe" in records:
        found |= _recipe(records["recipe"]["figures"])
    if "classifiers" in records:
        figures = records["classifiers"]["figures"]
        found["cases"] = _classifiers(records["classifiers"])
        ratios = [own["ours on the CPU"]["fit_seconds"] / own["ours"]["fit_seconds"] for own in figures.values()]
        found["times_as_fast"] = f"{min(ratios):.1f} to {max(ratios):.1f}"
        found["name"] = records["classifiers"]["environment"]["hardware"]["gpu"]
    return found


def _recipe(figures: dict[str, Any]) -> dict[str, Any]:
    floor = BYTES_PER_PARAMETER * figures["n_parameters"] / figures["bytes_per_second"]
    rows, parts = [], []
    for way in WAYS:
        own = figures["ways"][way]
        seconds = own["update_seconds"]
        counts = sum(kind["count"] for kind in own["kernels"].values())
        cells = (number(1000 * seconds, 2), number(seconds / floor, 1), number(seconds * UPDATES / 60, 1))
        rows.append([way, *cells, number(counts, 0)])
        busy = [1000 * own["kernels"][kind]["seconds"] for kind in (*KINDS, "rest")]
        parts.append([way, *(number(x, 2) for x in (*busy, 1000 * seconds - sum(busy)))])
    heads = ("Update", "ms", "Times the least", "Minutes", "Kernels")
    kinds = ("Update", "products", "weights", "rest", "between kernels")
    fastest = min(own["update_seconds"] for own in figures["ways"].values())
    return {
        "recipe": table(heads, rows),
        "parts": table(kinds, parts),
        "floor": number(1000 * floor, 2),
        "rate": number(figures["bytes_per_second"] / 1e12, 2),
        "n_parameters": f"{figures['n_parameters']:,}",
        "setup": number(max(own["setup_seconds"] for own in figures["ways"].values()), 0),
        "minutes": number(fastest * UPDATES / 60, 1),
    }


def _classifiers(record: dict[str, Any]) -> dict[str, str]:
    formats = {"fit_seconds": (1, 1), "predict_seconds": (2, 1), "accuracy": (1, 100), "log_loss": (3, 1)}
    heads = ("Model", "Fit, s", "Predict, s", "Accuracy, %", "Log-loss")
    blocks = {}
    for case in CASES:
        rows = []
        for label in MODELS:
            found = record["figures"][case][label]
            cells = [
                number(scale * found[name], digits) if name in found else "–"
                for name, (digits, scale) in formats.items()
            ]
            if not found:
                cells[0] = f"> {record['limit']:.0f}"
            rows.append([named(label), *cells])
        blocks[case] = table(heads, rows)
    return blocks
