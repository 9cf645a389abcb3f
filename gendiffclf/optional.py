"""Packages that only parts of this package need, imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(package: str, extra: str = "speech") -> ModuleType:
    """
    Import `package`, or say which extra of this package brings it.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # the package is there; something it needs is not
        raise ImportError(
            f"This needs the package {package!r}, which is not installed: `pip install -e '.[{extra}]'` in a clone."
        ) from error
