"""Imports on first use, of optional dependencies and of public names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


def require(package: str, extra: str = "speech") -> ModuleType:
    """Import an optional package or one of its modules; if it is missing, an ImportError names the extra that installs it."""
    name = package.partition(".")[0]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise  # a dependency of the package is missing
        raise ImportError(
            f"This needs the package {name!r}, which is not installed: `pip install -e '.[{extra}]'` in a clone."
        ) from error


def lazy_exports(
    package: str, exports: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Functions `__getattr__` and `__dir__` of a package whose public names are imported on first use.

    `exports` are the names by module. If an optional dependency is missing, the ImportError names the extra that installs it.
    """
    homes = {name: module for module, names in exports.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(f".{homes[name]}", package), name)
        except ModuleNotFoundError as error:
            require(error.name or name)
            raise

    return get, lambda: sorted({*vars(sys.modules[package]), *homes})
