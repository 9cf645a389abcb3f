"""What every method that trains promises its caller."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

S = TypeVar("S", bound=Any)
P = ParamSpec("P")
R = TypeVar("R")


def training_method(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """
    Let a method train although its caller may have switched gradients off, and change its object wholly or not at all.

    If the method fails, or is interrupted, the object gets the attributes back that it had. The method must therefore put
    new objects into attributes: what it changes in place stays changed.
    """

    @functools.wraps(method)
    def wrapped(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import torch

        before = dict(vars(self))
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before
            raise

    return wrapped
