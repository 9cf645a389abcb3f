"""Checks of scalar parameters, with one form of message: what was received, what was expected."""

from collections.abc import Iterable
from math import isfinite, isinf
from numbers import Integral, Real
from typing import Any

import numpy as np


def shown(value: Any) -> str:
    """`repr(value)` for a message, with NumPy's numbers like Python's: `0`, not `np.int64(0)`."""
    with np.printoptions(legacy="1.21"):
        return repr(value)


def check_choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Raise unless `value` is one of `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"Got {name}={shown(value)}, expected one of {', '.join(map(repr, options))}.")


def check_integer(name: str, value: Any, minimum: int) -> None:
    """Raise unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"Got {name}={shown(value)}, expected an integer >= {minimum}.")


def check_real(
    name: str,
    value: Any,
    low: float = float("-inf"),
    high: float = float("inf"),
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Raise unless `value` is a finite real number in the interval from `low` to `high`."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    above = number > low if low_open else number >= low
    below = number < high if high_open else number <= high
    if not (isfinite(number) and above and below):
        interval = f"{'(' if low_open or isinf(low) else '['}{low}, {high}{')' if high_open or isinf(high) else ']'}"
        raise ValueError(f"Got {name}={shown(value)}, expected a number in {interval}.")


def check_flag(name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"Got {name}={shown(value)}, expected True or False.")
