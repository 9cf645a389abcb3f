"""Packages that only speech needs."""

from ..optional import require

__all__ = ["require"]
