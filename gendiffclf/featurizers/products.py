"""Matrix products of an encoder on processors where the library torch takes them from holds back."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..device import mkl_holds_back

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

    if device.type == "cpu" and dtype == torch.float32 and mkl_holds_back():
        return _onednn_mode()
    return contextlib.nullcontext()


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
