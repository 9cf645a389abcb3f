"""What the time of a fit on a CPU is made of, by kind of operation."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from gendiffclf import GenerativeTransportClassifier

from .measuring import Finding, Measured, Options, call_in_fresh_process, class_rows, spread, timed

TITLE = "Where the time of a CPU fit goes"
KINDS: dict[str, tuple[str, ...]] = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "baddbmm_", "matmul", "linear", "mkldnn_linear", "dot", "mv"),
    "optimiser": ("_fused_adamw_", "_foreach_lerp_", "lerp_", "lerp", "_foreach_mul_", "_foreach_add_"),
    "normalisation": ("rsqrt", "pow", "mean", "rms_norm", "_fused_rms_norm", "_fused_rms_norm_backward", "layer_norm"),
    "random numbers": ("rand", "uniform_", "randn", "normal_", "bernoulli_", "random_"),
    "gathering of batches": ("index", "index_select", "gather", "argsort", "sort", "take"),
    "copies": (
        "copy_",
        "clone",
        "contiguous",
        "to",
        "_to_copy",
        "cat",
        "stack",
        "fill_",
        "zero_",
        "zeros",
        "zeros_like",
    ),
    "elementwise": (
        *("mul", "mul_", "add", "add_", "sub", "sub_", "rsub", "div", "div_", "neg", "exp", "log", "sum", "cumsum"),
        *("gelu", "gelu_backward", "silu", "silu_backward", "cos", "sin", "ge", "gt", "le", "lt", "where", "clamp_min"),
        *("_softmax", "softmax", "log_softmax", "sigmoid", "native_dropout", "threshold_backward"),
    ),
}
PYTHON = "Python, and all that is not torch"
_KIND_OF = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}


def measure(options: Options) -> Measured:
    """Profile a fit in a process of its own, with one thread, as each group of members has."""
    settings = {
        "n": 300 if options.quick else 5000,
        "d": 8 if options.quick else 64,
        "members": 3,
        "epochs": 1 if options.quick else 3,
        "repeats": 1 if options.quick else 3,
    }
    figures = profile_fit(**settings) if options.quick else call_in_fresh_process(profile_fit, **settings)
    products = figures["shares"].get("matrix products", 0.0)
    return Measured(settings, figures, [Finding("fit / its matrix products", 1 / max(products, 1e-9))])


def profile_fit(n: int, d: int, members: int, epochs: int, repeats: int) -> dict[str, Any]:
    """
    Fit with and without a profiler.

    Returns
    -------
    dict
        `shares` of the profiled seconds by kind, `operations` with the largest ones and their calls, and `seconds` without
        the profiler, which makes small operations slower.
    """
    X, y = class_rows(n, d, 10)

    def fit() -> None:
        # No more members than one group trains: the profiler sees its own thread alone.
        GenerativeTransportClassifier(max_epochs=epochs, n_members=members, device="cpu", random_state=0).fit(X, y)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fit()
        seconds = [timed(fit) for _ in range(repeats)]
        with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiler:
            begin = time.perf_counter()
            fit()
            wall = time.perf_counter() - begin
    finally:
        torch.set_num_threads(before)
    own = {event.key: (event.self_cpu_time_total / 1e6, event.count) for event in profiler.key_averages()}
    return {
        "seconds": spread(seconds),
        "profiled_seconds": wall,
        "shares": shares({name: found for name, (found, _) in own.items()}, wall),
        "operations": [
            {"name": name, "share": own[name][0] / wall, "calls": own[name][1]}
            for name in sorted(own, key=lambda name: -own[name][0])[:12]
        ],
    }


def shares(seconds: dict[str, float], wall: float) -> dict[str, float]:
    """Share of the wall seconds that each kind of operation has; they sum to 1."""
    found: dict[str, float] = {}
    for name, value in seconds.items():
        kind = kind_of(name)
        found[kind] = found.get(kind, 0.0) + value / wall
    found[PYTHON] = max(0.0, 1 - sum(found.values()))
    return found


def kind_of(name: str) -> str:
    """The kind of an operation, by the name that the profiler gives it."""
    if name.startswith("Optimizer."):
        return "optimiser"
    if name.startswith("autograd::") or name.endswith("Backward0"):
        return "autograd's bookkeeping"
    return _KIND_OF.get(name, "other")


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    found = sorted(record["figures"]["shares"].items(), key=lambda item: -item[1])
    return [["Kind", "Share, %"], *([kind, f"{100 * share:.1f}"] for kind, share in found)]
