"""On a GPU: a step of the paper's recipe against memory traffic, the default fit beside a CPU's, and predict of many rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gendiffclf import GenerativeTransportClassifier

from ..models import create_model
from .fit import installed_peers
from .measuring import QUICK, Finding, Measured, Options, class_rows, interleaved, spread, timed

TITLE = "On a GPU"
OPTIMISER_BYTES = 28
"""Per parameter: weight, gradient and two moments read, weight and two moments written, 4 bytes each."""
PASSES_BYTES = 8
"""Per parameter: weights in bfloat16 made, read forth and back, the gradient written."""
PAPER_STEPS = 400_000


@dataclass(frozen=True)
class Sizes:
    """How much of each."""

    copied_bytes: int = 2**30
    recipe_rows: int = 8192
    recipe_layers: int = 25
    recipe_width: int = 1024
    recipe_steps: int = 640
    default_rows: int = 60_000
    default_features: int = 256
    predict_rows: int = 1_000_000
    predict_features: int = 1024
    repeats: int = 3
    classifier: Any = None


TINY = Sizes(2**16, 64, 3, 32, 2, 300, 8, 100, 8, 1, QUICK)


def measure(options: Options) -> Measured | None:
    """Measure where there is a CUDA device; None elsewhere."""
    if not torch.cuda.is_available():
        print("not measured: no CUDA device")
        return None
    return measure_on(torch.device("cuda"), TINY if options.quick else Sizes(), options.peers)


def measure_on(device: torch.device, sizes: Sizes, peers: tuple[str, ...] = ()) -> Measured:
    """Measure on any device; on a CPU only to see that every line runs."""
    bytes_per_second = copy_speed(device, sizes)
    recipe = measure_recipe(device, sizes, bytes_per_second)
    fits = measure_fits(device, sizes, peers)
    predict = measure_predict(device, sizes)
    step = recipe["step_seconds"]["median"]
    findings = [
        Finding("step of the paper's recipe / memory traffic", step / recipe["floor_seconds"]),
        Finding(f"{PAPER_STEPS:,} steps", PAPER_STEPS * step / 60, "min"),
        *(
            Finding(f"fit of the default / {name}", fits["ours"]["seconds"] / fit["seconds"])
            for name, fit in fits.items()
            if name != "ours"
        ),
        Finding(f"predict of {sizes.predict_rows:,} rows", predict["seconds"]["median"], "s"),
    ]
    figures = {"copy_bytes_per_second": bytes_per_second, "recipe": recipe, "fits": fits, "predict": predict}
    return Measured(vars(sizes), figures, findings)


def copy_speed(device: torch.device, sizes: Sizes) -> float:
    """Bytes a second of a copy, read and write both counted."""
    source = torch.ones(sizes.copied_bytes // 4, device=device)
    target = torch.empty_like(source)
    copy = _synchronised(device, partial(target.copy_, source))
    return 2 * sizes.copied_bytes / float(np.median(interleaved({"copy": copy}, 10 * sizes.repeats, warm_up=3)["copy"]))


def measure_recipe(device: torch.device, sizes: Sizes, bytes_per_second: float) -> dict[str, Any]:
    """Seconds of a step of the preset "gen-ser": what twice as many steps take longer."""
    X, y = class_rows(sizes.recipe_rows, sizes.recipe_width, 8, n_layers=sizes.recipe_layers)
    steps = []
    for _ in range(sizes.repeats):
        seconds = []
        for n_steps in (sizes.recipe_steps, 2 * sizes.recipe_steps):
            ours = GenerativeTransportClassifier.from_preset(
                "gen-ser", max_steps=n_steps, width=sizes.recipe_width, device=device.type, random_state=0
            )
            seconds.append(timed(_synchronised(device, partial(ours.fit, X, y))))
        steps.append((seconds[1] - seconds[0]) / sizes.recipe_steps)
    n_parameters = sum(p.numel() for p in ours.network_.parameters())
    return {
        "parameters": n_parameters,
        "floor_seconds": n_parameters * (OPTIMISER_BYTES + PASSES_BYTES) / bytes_per_second,
        "step_seconds": spread(steps),
    }


def measure_fits(device: torch.device, sizes: Sizes, peers: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Seconds and accuracy of default fits, ours here and on the CPU, and of peers."""
    X, y = class_rows(sizes.default_rows, sizes.default_features, 10)
    train, test = slice(len(X) * 5 // 6), slice(len(X) * 5 // 6, None)
    models = {
        "ours": create_model("ours", {"device": device.type, **(sizes.classifier or {})}),
        "ours on the CPU": create_model("ours", {"device": "cpu", **(sizes.classifier or {})}),
        **{name: create_model(name, {"device": device.type}) for name in installed_peers(peers)},
    }
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return {
        name: {
            "seconds": timed(_synchronised(device, partial(model.fit, X[train], y[train]))),
            "accuracy": float(np.mean(model.predict(X[test]) == y[test])),
        }
        for name, model in models.items()
    }


def measure_predict(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Seconds to predict many rows that come from and go to NumPy, and the memory of the device that it takes."""
    classifier = create_model("ours", {"device": device.type, **(sizes.classifier or {})})
    classifier.fit(*class_rows(min(5000, sizes.predict_rows), sizes.predict_features, 10))
    X = np.random.default_rng(0).standard_normal((sizes.predict_rows, sizes.predict_features), np.float32)
    classifier.predict(X[:10_000])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = interleaved({"predict": partial(classifier.predict, X)}, sizes.repeats, warm_up=0)["predict"]
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    return {"seconds": spread(seconds), "device_memory_bytes": memory}


def _synchronised(device: torch.device, call: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    figures = record["figures"]
    recipe, predict = figures["recipe"], figures["predict"]
    rows = [
        ["What", "Measured"],
        ["copy, TB/s", f"{figures['copy_bytes_per_second'] / 1e12:.2f}"],
        ["parameters of the recipe", f"{recipe['parameters']:,}"],
        ["memory traffic of a step, ms", f"{1000 * recipe['floor_seconds']:.3f}"],
        ["step, ms", f"{1000 * recipe['step_seconds']['median']:.3f}"],
    ]
    for name, fit in figures["fits"].items():
        rows.append([f"default fit, {name}", f"{fit['seconds']:.1f} s, accuracy {100 * fit['accuracy']:.2f}%"])
    rows.append(["predict, s", f"{predict['seconds']['median']:.2f}"])
    if predict["device_memory_bytes"] is not None:
        rows.append(["its memory on the device, MiB", f"{predict['device_memory_bytes'] / 2**20:.0f}"])
    return rows
