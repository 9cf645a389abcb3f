"""On a GPU: a step of the paper's recipe against memory traffic, the default fit and predict against eager PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.parameters import code_width, frequencies
from gendiffclf.training import trainer

from ..models import create_model
from .eager import EagerNetwork, EagerTraining
from .fit import installed_peers
from .measuring import Finding, Measured, Options, class_rows, interleaved, spread, timed

TITLE = "On a GPU"
OPTIMISER_BYTES = 28
"""Per parameter: weight, gradient and two moments read, weight and two moments written, 4 bytes each."""
PASSES_BYTES = 8
"""Per parameter: weights in bfloat16 made, read forth and back, the gradient written."""
PAPER_STEPS = 400_000
BEFORE, AFTER = "kernel by kernel", "one graph"
KERNELS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "splitk"),
    "optimiser": ("adam", "multi_tensor"),
    "copies and casts": ("copy", "memcpy", "cat", "memset"),
    "random numbers": ("distribution", "philox"),
}
"""Parts of the names of kernels, in small letters."""
OTHERS = "elementwise operations and sums"


@dataclass(frozen=True)
class Sizes:
    """How much of each; the defaults are what the goals are stated for."""

    copied_bytes: int = 2**30
    product: int = 8192
    recipe_rows: int = 8192
    recipe_layers: int = 25
    recipe_width: int = 1024
    recipe_steps: int = 640
    default_rows: int = 60_000
    default_features: int = 256
    default_epochs: int = 5
    whole_epochs: int = 200
    predict_rows: int = 1_000_000
    predict_features: int = 1024
    repeats: int = 3


TINY = Sizes(2**16, 32, 256, 3, 32, 4, 600, 8, 2, 2, 300, 8, 1)


def measure(options: Options) -> Measured | None:
    """Measure where there is a CUDA device; None elsewhere."""
    if not torch.cuda.is_available():
        print("not measured: no CUDA device")
        return None
    return measure_on(torch.device("cuda"), TINY if options.quick else Sizes(), options.peers)


def measure_on(device: torch.device, sizes: Sizes, peers: tuple[str, ...] = ()) -> Measured:
    """Measure on any device; on a CPU only to see that every line runs."""
    floor = measure_floor(device, sizes)
    recipe = measure_recipe(device, sizes, floor["copy_bytes_per_second"])
    default = measure_default(device, sizes, peers)
    predict = measure_predict(device, sizes, floor["float32_flops"])
    step, epoch = recipe["step_seconds"]["median"], default["epoch_seconds"]
    findings = [
        Finding("step of the paper's recipe / memory traffic", step / recipe["floor_seconds"], "×", 1.6),
        Finding("step of the paper's recipe / eager PyTorch", step / recipe["eager_step_seconds"]["median"]),
        Finding(f"{PAPER_STEPS:,} steps", PAPER_STEPS * step / 60, "min", 7.0),
        Finding(
            "epoch of the default network / eager loop with a DataLoader",
            epoch["ours"]["median"] / epoch["eager"]["median"],
            "×",
            0.1,
        ),
        *(
            Finding(
                f"fit of the default network / {name}", default["fits"]["ours"]["seconds"] / fit["seconds"], "×", 1 / 3
            )
            for name, fit in default["fits"].items()
            if name != "ours"
        ),
        Finding(f"predict of {sizes.predict_rows:,} rows / its matrix products", predict["over_floor"]),
    ]
    figures = {"floor": floor, "recipe": recipe, "default": default, "predict": predict}
    return Measured(vars(sizes), figures, findings)


def measure_floor(device: torch.device, sizes: Sizes) -> dict[str, float]:
    """Bandwidth of a copy in bytes a second, read and write both counted, and products in operations a second."""
    source = torch.ones(sizes.copied_bytes // 4, device=device)
    target = torch.empty_like(source)
    calls: dict[str, Callable[[], Any]] = {"copy": _synchronised(device, partial(target.copy_, source))}
    for dtype in (torch.float32, torch.bfloat16):
        factor = torch.ones(sizes.product, sizes.product, device=device, dtype=dtype)
        calls[str(dtype)] = _synchronised(device, partial(torch.mm, factor, factor))
    seconds = {
        name: float(np.median(found)) for name, found in interleaved(calls, 10 * sizes.repeats, warm_up=3).items()
    }
    operations = 2 * sizes.product**3
    return {
        "copy_bytes_per_second": 2 * sizes.copied_bytes / seconds["copy"],
        "float32_flops": operations / seconds["torch.float32"],
        "bfloat16_flops": operations / seconds["torch.bfloat16"],
    }


def measure_recipe(device: torch.device, sizes: Sizes, bytes_per_second: float) -> dict[str, Any]:
    """Steps of the preset "gen-ser" and of the same in eager PyTorch, in turn; rows are on the device before."""
    X, y = class_rows(sizes.recipe_rows, sizes.recipe_width, 8, n_layers=sizes.recipe_layers)
    ours = GenerativeTransportClassifier.from_preset(
        "gen-ser", max_steps=sizes.recipe_steps, width=sizes.recipe_width, device=device.type, random_state=0
    )
    network = EagerNetwork(
        n_features=sizes.recipe_width,
        n_condition_layers=sizes.recipe_layers - 1,
        width=sizes.recipe_width,
        hidden_width=4 * sizes.recipe_width,
        time_width=ours.time_width,
        depth=ours.depth,
        n_frequencies=0,
    ).to(device)
    rows, labels = torch.as_tensor(X, device=device), torch.as_tensor(y, device=device)
    lift = torch.eye(sizes.recipe_width, device=device)
    training = EagerTraining(network, lift, torch.randn(8, sizes.recipe_width, device=device), bfloat16=True)
    parameters = [torch.zeros_like(p).requires_grad_() for p in network.parameters()]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    adamw = torch.optim.AdamW(parameters, fused=True)

    def eager_step() -> None:
        batch = torch.randint(len(rows), (ours.batch_size,), device=device)
        training.step(rows[batch], labels[batch])

    steps: dict[str, list[float]] = {"ours": [], "eager": [], "adamw": []}
    for _ in range(sizes.repeats):
        ours.fit(X, y)
        # Whatever is prepared once, such as a graph, is prepared in the first half.
        n_steps = max(1, round(sizes.recipe_rows / ours.batch_size))
        epochs = ours.history_["seconds"]
        steps["ours"] += [seconds / n_steps for seconds in epochs[len(epochs) // 2 :]]
        steps["eager"] += _block(device, eager_step, sizes.recipe_steps // 4)
        steps["adamw"] += _block(device, adamw.step, sizes.recipe_steps // 4)
    n_parameters = sum(p.numel() for p in ours.model_.network.parameters())
    return {
        "kernels": profile_steps(partial(ours.fit, X, y), sizes.recipe_steps) if device.type == "cuda" else {},
        "parameters": n_parameters,
        "eager_parameters": sum(p.numel() for p in network.parameters()),
        "floor_seconds": n_parameters * (OPTIMISER_BYTES + PASSES_BYTES) / bytes_per_second,
        "step_seconds": spread(steps["ours"]),
        "eager_step_seconds": spread(steps["eager"]),
        "fused_adamw_seconds": spread(steps["adamw"]),
    }


def profile_steps(fit: Callable[[], Any], n_steps: int) -> dict[str, dict[str, float]]:
    """Seconds of a step that each kind of kernel takes, before (launched one by one) and after (as one graph)."""
    found: dict[str, dict[str, float]] = {}
    for name in (BEFORE, AFTER):
        captures = trainer.captures if name == AFTER else lambda data, processes: False
        with (
            patch.object(trainer, "captures", captures),
            torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler,
        ):
            fit()
        found[name] = kernel_kinds({e.key: e.self_device_time_total / 1e6 / n_steps for e in profiler.key_averages()})
    return found


def kernel_kinds(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of kernels by name, summed by kind."""
    found: dict[str, float] = {}
    for name, value in seconds.items():
        kind = next((kind for kind, parts in KERNELS.items() if any(part in name.lower() for part in parts)), OTHERS)
        found[kind] = found.get(kind, 0.0) + value
    return found


def measure_default(device: torch.device, sizes: Sizes, peers: tuple[str, ...]) -> dict[str, Any]:
    """Epochs of the default classifier and of as many eager networks, in turn; whole fits beside those of peers."""
    X, y = class_rows(sizes.default_rows, sizes.default_features, 10)
    n_train = sizes.default_rows * 5 // 6
    train, test = slice(n_train), slice(n_train, None)
    ours = GenerativeTransportClassifier(max_epochs=sizes.default_epochs, device=device.type, random_state=0)
    params = ours.get_params()
    width = code_width(params, 10)
    network = EagerNetwork(
        n_features=sizes.default_features,
        n_condition_layers=1,
        width=width,
        hidden_width=round(ours.feedforward_ratio * width),
        time_width=ours.time_width,
        depth=ours.depth,
        n_frequencies=frequencies(params, sizes.default_features)[0],
    ).to(device)
    lift = torch.randn(sizes.default_features, width, device=device) / sizes.default_features**0.5
    training = EagerTraining(network, lift, torch.randn(10, width, device=device), bfloat16=False)
    learnt_from = n_train * (ours.n_members - 1) // ours.n_members  # a member leaves out the rows that it judges
    loader = DataLoader(
        TensorDataset(torch.as_tensor(X[:learnt_from, None]), torch.as_tensor(y[:learnt_from])),
        batch_size=ours.batch_size,
        shuffle=True,
    )

    def eager_epoch() -> None:
        for rows, labels in loader:
            training.step(rows.to(device), labels.to(device))

    epochs: dict[str, list[float]] = {"ours": [], "eager": []}
    call = _synchronised(device, eager_epoch)
    call()
    for _ in range(sizes.repeats):
        ours.fit(X[train], y[train])
        epochs["ours"] += ours.history_["seconds"][1:]
        epochs["eager"].append(ours.n_members * timed(call))  # a loop trains one member after another
    whole: dict[str, Any] = {"ours": ours.set_params(max_epochs=sizes.whole_epochs)}
    for name in installed_peers(peers):
        whole[name] = create_model(name, {"device": device.type})
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    fits = {
        name: {
            "seconds": timed(partial(model.fit, X[train], y[train])),
            "accuracy": float(np.mean(model.predict(X[test]) == y[test])),
        }
        for name, model in whole.items()
    }
    return {"epoch_seconds": {name: spread(found) for name, found in epochs.items()}, "fits": fits}


def measure_predict(device: torch.device, sizes: Sizes, flops: float) -> dict[str, Any]:
    """Seconds to predict many rows that come from and go to NumPy, and the memory of the device that it takes."""
    classifier = GenerativeTransportClassifier(max_epochs=1, device=device.type, random_state=0)
    classifier.fit(*class_rows(min(5000, sizes.predict_rows), sizes.predict_features, 10))
    X = np.random.default_rng(0).standard_normal((sizes.predict_rows, sizes.predict_features), np.float32)
    classifier.predict(X[:10_000])
    memory = None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = interleaved({"predict": partial(classifier.predict, X)}, sizes.repeats, warm_up=0)["predict"]
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    floor = sizes.predict_rows * 2 * row_weights(classifier) / flops
    return {
        "seconds": spread(seconds),
        "floor_seconds": floor,
        "over_floor": float(np.median(seconds)) / floor,
        "device_memory_bytes": memory,
    }


def row_weights(classifier: GenerativeTransportClassifier) -> int:
    """Weights that each row is multiplied with, once each: matrices of all members but those that read only the time."""
    matrices: list[Tensor] = [
        weight
        for name, weight in classifier.model_.network.named_parameters()
        if weight.dim() == 3 and weight.shape[1] > 1 and "time" not in name and "modulation" not in name
    ]
    return classifier.model_.lift.numel() + sum(weight.numel() for weight in matrices)


def _block(device: torch.device, step: Callable[[], Any], n_steps: int) -> list[float]:
    """Seconds of a step: the mean of many that follow each other, so that waiting for the device does not count."""
    call = _synchronised(device, lambda: [step() for _ in range(n_steps)])
    call()
    return [timed(call) / n_steps for _ in range(3)]


def _synchronised(device: torch.device, call: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    floor, recipe, default, predict = (record["figures"][name] for name in ("floor", "recipe", "default", "predict"))
    rows = [["What", "Measured"]]
    rows += [["copy, TB/s", f"{floor['copy_bytes_per_second'] / 1e12:.2f}"]]
    rows += [
        [f"products in {kind}, TFLOP/s", f"{floor[f'{kind}_flops'] / 1e12:.0f}"] for kind in ("float32", "bfloat16")
    ]
    rows += [["parameters of the recipe", f"{recipe['parameters']:,}"]]
    rows += [["memory traffic of a step, ms", f"{1000 * recipe['floor_seconds']:.3f}"]]
    steps = {"step": "step_seconds", "eager step": "eager_step_seconds", "fused AdamW alone": "fused_adamw_seconds"}
    for name, key in steps.items():
        rows.append([f"{name}, ms", f"{1000 * recipe[key]['median']:.3f}"])
    for name, kinds in recipe["kernels"].items():
        rows += [[f"of a step, {name}: {kind}, ms", f"{1000 * value:.3f}"] for kind, value in kinds.items()]
    for name, found in default["epoch_seconds"].items():
        rows.append([f"epoch of the default network, {name}, ms", f"{1000 * found['median']:.1f}"])
    for name, fit in default["fits"].items():
        rows.append([f"whole fit, {name}", f"{fit['seconds']:.1f} s, accuracy {100 * fit['accuracy']:.2f}%"])
    rows.append(["predict, s", f"{predict['seconds']['median']:.2f}"])
    rows.append(["its matrix products in float32, s", f"{predict['floor_seconds']:.3f}"])
    if predict["device_memory_bytes"] is not None:
        rows.append(["its memory on the device, MiB", f"{predict['device_memory_bytes'] / 2**20:.0f}"])
    return rows
