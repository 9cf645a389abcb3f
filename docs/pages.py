"""Add the API pages, from the exports, and the repository's CONTRIBUTING and CHANGELOG to the site, when it is built."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
MODULES = {
    "api/gendiffclf.md": "gendiffclf",
    "api/featurizers.md": "gendiffclf.featurizers",
    "api/speech.md": "gendiffclf.speech",
}
"""From a page to the module whose `__all__` it shows."""
FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""From a page to the file of the repository that it shows."""


def api(module: str) -> str:
    """The page of a module, as Markdown."""
    return "\n\n".join([f"# {module}", *(f"::: {module}.{name}" for name in import_module(module).__all__)])


def page(name: str) -> str:
    """The text of a file, with links as they are within the site."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for target, source in FILES.items():
        text = text.replace(f"]({source})", f"]({target})")
    return text


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages to those of the docs folder."""
    contents = {path: api(module) for path, module in MODULES.items()} | {
        path: page(name) for path, name in FILES.items()
    }
    for path, content in contents.items():
        files.append(File.generated(config, path, content=content))
    return files
