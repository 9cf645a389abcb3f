"""Functions of tensors as TorchScript, whose interpreter runs without Python's global lock.

Groups of members train in threads of their own, each of which calls some two hundred small operations a step; in Python they
would wait for each other at every call. TorchScript is deprecated in favour of compilers, which need one for C++ at hand. It does
the same operations, so that nothing but time is lost where it is missing or refuses.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

TensorFunction = Callable[..., Tensor]
"""From tensors to a tensor; changes none but those it gets."""

LIMIT = 300
"""Functions to make in one process: torch keeps them as long as it lives."""
_KNOWN: dict[Hashable, TensorFunction | None] = {}
_TRACING = threading.Lock()


def known(key: Hashable) -> TensorFunction | None:
    """What was traced under that key; None if nothing was, or it failed."""
    return _KNOWN.get(key)


def trace(key: Hashable, function: TensorFunction, inputs: Sequence[Tensor]) -> TensorFunction | None:
    """
    A function as TorchScript.

    Parameters
    ----------
    key : hashable
        Everything that the function depends on besides its inputs, and the inputs' shapes as far as it depends on them.
    function : callable
        From tensors to a tensor, with neither choices nor random numbers of its own. Called once, or not at all if there is
        something under that key.
    inputs : sequence of Tensor
        Examples, which the call may change.

    Returns
    -------
    callable or None
        None if tracing failed, or `LIMIT` functions were traced before.

    Notes
    -----
    Warnings are switched off meanwhile, in all threads: call it from the one that the caller is in.
    """
    return script(key, lambda: torch.jit.trace(function, tuple(inputs), check_trace=False))


def script(key: Hashable, make: Callable[[], TensorFunction]) -> TensorFunction | None:
    """What `make` makes, a function in TorchScript, under a key as `trace` has it; None where `trace` gives None."""
    with _TRACING:
        if key not in _KNOWN and len(_KNOWN) < LIMIT:
            _KNOWN[key] = _made(make)
        return _KNOWN.get(key)


def _made(make: Callable[[], TensorFunction]) -> TensorFunction | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = make()
    except Exception:  # whatever goes wrong in there, the function is there still
        return None
    if not isinstance(found, torch.jit.ScriptFunction):  # TorchScript is switched off
        return None
    vars(found).pop("_torchdynamo_inline", None)  # the function, with all that it knows
    return found
