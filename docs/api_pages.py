"""Write the API pages from the exports, when the site is built."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mkdocs.structure.files import File, Files

PAGES = {
    "api/gendiffclf.md": "gendiffclf",
    "api/featurizers.md": "gendiffclf.featurizers",
    "api/speech.md": "gendiffclf.speech",
}
"""From a page to the module whose `__all__` it shows."""


def page(module: str) -> str:
    """The page of a module, as Markdown."""
    exports = import_module(module).__all__
    return "\n\n".join([f"# {module}", *(f"::: {module}.{name}" for name in exports)])


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages to those of the docs folder."""
    for path, module in PAGES.items():
        files.append(File.generated(config, path, content=page(module)))
    return files
