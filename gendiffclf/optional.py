"""Optional dependencies, imported on first use."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(package: str, extra: str = "speech") -> ModuleType:
    """
    Import an optional package or one of its modules; if it is missing, name the extra that installs it.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    name = package.partition(".")[0]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise  # a dependency of the package is missing
        raise ImportError(
            f"This needs the package {name!r}, which is not installed: `pip install -e '.[{extra}]'` in a clone."
        ) from error
