"""Faster linear layers on CPUs where MKL, torch's default library, does not use AVX-512."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..device import mkl_holds_back

if TYPE_CHECKING:
    import torch


def fast_products(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """
    Run the linear layers of this thread with oneDNN where that is known to be faster; otherwise do nothing.

    The order of summation differs, which changes float32 features by a relative 1e-6. Models stay unchanged.
    """
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    if device.type != "cpu" or dtype != torch.float32 or not mkl_holds_back():
        return contextlib.nullcontext()

    class OneDnnMode(TorchFunctionMode):
        """Replaces `torch.nn.functional.linear` in this thread."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is functional.linear and not kwargs and args[0].dtype == args[1].dtype == torch.float32:
                bias = args[2] if len(args) > 2 else None
                # The operator that torch.compile uses for linear layers.
                return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
            return func(*args, **(kwargs or {}))

    return OneDnnMode()
