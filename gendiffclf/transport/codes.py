"""Label codes: where transport ends (Eq. 2).

Every code has the same squared norm `width / 2` and is orthogonal to every other, so that projecting an estimate onto the
codes gives class probabilities (see `readout`). A code depends on the index of its class and the width alone, never on the
number of classes: a class that comes later gets a code while all the others keep theirs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class LabelCodes(Protocol):
    """A family of label codes."""

    def width_for(self, n_classes: int) -> int:
        """The smallest width that holds `n_classes`."""

    def matrix(self, n_classes: int, width: int) -> np.ndarray:
        """The codes of the first `n_classes` classes, float64 of shape (n_classes, width)."""


def _sinusoid(frequencies: np.ndarray, width: int, phase: float = 0.0) -> np.ndarray:
    """sin(2π l f / width + phase) for l = 0 … width-1; the product l·f is reduced as an integer, so no f is too high."""
    turns = (np.outer(frequencies, np.arange(width)) % width) / width  # (K, width), in [0, 1)
    return np.sin(2 * np.pi * turns + phase)


class SinusoidalCodes:
    """
    One sine per class, `x0(b)[l] = sin(2π l (i_b + 1) / L)` (Eq. 2).

    The codes of frequencies `f` and `L - f` are negatives of each other, and that of `L / 2` is zero: only the
    `⌊(L - 1) / 2⌋` frequencies below `L / 2` can be used.
    """

    def width_for(self, n_classes: int) -> int:
        return 2 * n_classes + 1

    def matrix(self, n_classes: int, width: int) -> np.ndarray:
        return _sinusoid(np.arange(1, n_classes + 1), width)


class PairedCodes:
    """
    Sine and cosine of each frequency in turn, and for even widths the alternating vector: `width - 1` classes.

    Twice as many as `SinusoidalCodes` has in the same space.
    """

    def width_for(self, n_classes: int) -> int:
        return n_classes + 1

    def matrix(self, n_classes: int, width: int) -> np.ndarray:
        """Rows sin 1, cos 1, sin 2, cos 2, …"""
        codes = np.empty((n_classes, width))
        frequency = np.arange(n_classes) // 2 + 1
        codes[0::2] = _sinusoid(frequency[0::2], width)
        codes[1::2] = _sinusoid(frequency[1::2], width, phase=np.pi / 2)
        if width % 2 == 0 and n_classes == width - 1:  # the last frequency is width / 2: its sine is zero
            codes[-1] = np.where(np.arange(width) % 2 == 0, 1.0, -1.0) / np.sqrt(2)
        return codes


class OneHotCodes:
    """Unit vectors scaled to the norm of the sinusoids."""

    def width_for(self, n_classes: int) -> int:
        return n_classes

    def matrix(self, n_classes: int, width: int) -> np.ndarray:
        return np.eye(n_classes, width) * np.sqrt(width / 2)


class RandomCodes(OneHotCodes):
    """Rows of one random orthogonal matrix, the same for a given width, scaled to the norm of the sinusoids."""

    def matrix(self, n_classes: int, width: int) -> np.ndarray:
        orthogonal, _ = np.linalg.qr(np.random.default_rng(width).standard_normal((width, width)))
        return orthogonal[:n_classes] * np.sqrt(width / 2)


CODES: dict[str, type[LabelCodes]] = {
    "sinusoidal": SinusoidalCodes,
    "paired": PairedCodes,
    "one_hot": OneHotCodes,
    "random": RandomCodes,
}


def label_codes(kind: str, n_classes: int, width: int) -> np.ndarray:
    """
    Codes of one of `CODES`, float64 of shape (n_classes, width): orthogonal rows of squared norm `width / 2`.

    A ValueError if the space is too narrow for the classes.

    Examples
    --------
    >>> codes = label_codes("sinusoidal", 3, 8)
    >>> (codes @ codes.T).round(6) + 0.0
    array([[4., 0., 0.],
           [0., 4., 0.],
           [0., 0., 4.]])
    """
    family = CODES[kind]()
    if width < (needed := family.width_for(n_classes)):
        raise ValueError(
            f"Got {n_classes} classes for {kind!r} codes of width={width}, expected a width of at least {needed}; fit with "
            f"width={needed} or more."
        )
    return family.matrix(n_classes, width)
