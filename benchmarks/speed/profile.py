"""What the time of a fit on a CPU is made of, by kind of operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.training.written_out import WrittenOutGradients

from .measuring import Finding, Measured, Options, call_in_fresh_process, class_rows, interleaved, spread, timed

TITLE = "Where the time of a CPU fit goes"
KINDS: dict[str, tuple[str, ...]] = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "baddbmm_", "matmul", "linear", "mkldnn_linear", "dot", "mv"),
    "optimiser": ("_fused_adam_", "_fused_adamw_", "_foreach_lerp_", "lerp_", "lerp", "_foreach_mul_", "_foreach_add_"),
    "normalisation": (
        "rsqrt",
        "rsqrt_",
        "pow",
        "mean",
        "linalg_vecdot",
        "vecdot",
        "linalg_vector_norm",
        "rms_norm",
        "_fused_rms_norm",
        "_fused_rms_norm_backward",
        "layer_norm",
    ),
    "random numbers": ("rand", "uniform_", "randn", "normal_", "bernoulli_", "random_"),
    "gathering of batches": ("index", "embedding", "index_select", "gather", "argsort", "sort", "take"),
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
        *(
            "addcmul",
            "addcmul_",
            "_softmax",
            "softmax",
            "log_softmax",
            "sigmoid",
            "native_dropout",
            "threshold_backward",
        ),
    ),
}
WRITTEN_OUT, AUTOMATIC = "gradients written out", "automatic differentiation"
PYTHON = "Python, and all that is not torch"
_KIND_OF = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}


def measure(options: Options) -> Measured:
    """Profile fits in a process of their own, with one thread, as each group of members has."""
    settings = {
        "n": 300 if options.quick else 5000,
        "d": 8 if options.quick else 64,
        "members": 3,
        "epochs": 1 if options.quick else 10,  # so many that steps run as TorchScript
        "repeats": 1 if options.quick else 7,
    }
    figures = profile_fits(**settings) if options.quick else call_in_fresh_process(profile_fits, **settings)
    after, before = (figures[name] for name in (WRITTEN_OUT, AUTOMATIC))
    findings = [
        Finding(
            f"fit / its matrix products, {name}", 1 / max(figures[name]["shares"].get("matrix products", 0.0), 1e-9)
        )
        for name in (AUTOMATIC, WRITTEN_OUT)
    ]
    ratio = after["seconds"]["median"] / before["seconds"]["median"]
    return Measured(settings, figures, [*findings, Finding(f"fit, {WRITTEN_OUT} / {AUTOMATIC}", ratio)])


def profile_fits(n: int, d: int, members: int, epochs: int, repeats: int) -> dict[str, Any]:
    """
    Fit with and without a profiler, by gradients written out and by automatic differentiation.

    Returns
    -------
    dict of dict
        For both: `shares` of the profiled seconds by kind, `operations` with the largest ones and their calls, and `seconds`
        without the profiler, which makes small operations slower.
    """
    X, y = class_rows(n, d, 10)

    def fit() -> None:
        # No more members than one group trains: the profiler sees its own thread alone.
        GenerativeTransportClassifier(max_epochs=epochs, n_members=members, device="cpu", random_state=0).fit(X, y)

    def fit_by_torch() -> None:
        with patch.object(WrittenOutGradients, "applies", lambda model: False):
            fit()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calls = {WRITTEN_OUT: fit, AUTOMATIC: fit_by_torch}
        seconds = interleaved(calls, repeats)
        return {name: {"seconds": spread(seconds[name]), **_profiled(call)} for name, call in calls.items()}
    finally:
        torch.set_num_threads(before)


def _profiled(call: Callable[[], None]) -> dict[str, Any]:
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiler:
        wall = timed(call)
    own = {event.key: (event.self_cpu_time_total / 1e6, event.count) for event in profiler.key_averages()}
    return {
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
    found = record["figures"]
    kinds = sorted(found[AUTOMATIC]["shares"], key=lambda kind: -found[AUTOMATIC]["shares"][kind])
    rows = [["Milliseconds of a fit", f"Before: {AUTOMATIC}", f"After: {WRITTEN_OUT}"]]
    for kind in kinds:
        rows.append(
            [kind, *(_of_fit(found[name], found[name]["shares"].get(kind, 0.0)) for name in (AUTOMATIC, WRITTEN_OUT))]
        )
    return [*rows, ["in all", *(_of_fit(found[name], 1.0) for name in (AUTOMATIC, WRITTEN_OUT))]]


def _of_fit(found: dict[str, Any], share: float) -> str:
    """A share of the milliseconds of a fit without the profiler."""
    return f"{1000 * share * found['seconds']['median']:.0f}"
