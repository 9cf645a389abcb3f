"""
Matrix products of an encoder on processors where the library torch takes them from holds back.

On x86, torch hands float32 products to MKL, which does not use AVX-512 on processors of other makers than its own. oneDNN,
which torch brings along for convolutions, does, and is about twice as fast there.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def fast_products(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """
    Send linear layers that this thread runs to oneDNN, where that is known to be faster; else change nothing.

    Parameters
    ----------
    device : torch.device
        Where the encoder runs.
    dtype : torch.dtype
        What it computes in.

    Returns
    -------
    context : context manager
        Under it the sums of a product run in another order, which changes float32 features by some 1e-6 of their size.
        Models are not touched.
    """
    import torch

    if device.type == "cpu" and dtype == torch.float32 and _mkl_holds_back():
        return _onednn_mode()
    return contextlib.nullcontext()


@functools.cache
def _mkl_holds_back() -> bool:
    import torch

    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and "GenuineIntel" not in _maker()
    )


def _maker() -> str:
    """Text that names the maker of the processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return platform.processor()


def _onednn_mode() -> AbstractContextManager[Any]:
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    class OneDnnMode(TorchFunctionMode):
        """Replaces one function while it is entered, in one thread."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is functional.linear and not kwargs and args[0].dtype == args[1].dtype == torch.float32:
                bias = args[2] if len(args) > 2 else None
                # What torch.compile turns linear layers into; a convolution of width 1 would not always go to oneDNN.
                return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
            return func(*args, **(kwargs or {}))

    return OneDnnMode()
