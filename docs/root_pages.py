"""Add the repository's CONTRIBUTING and CHANGELOG to the site, when it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""From a page to the file that it shows."""


def page(name: str) -> str:
    """The text of a file, with links as they are within the site."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for target, source in PAGES.items():
        text = text.replace(f"]({source})", f"]({target})")
    return text


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages to those of the docs folder."""
    for target, source in PAGES.items():
        files.append(File.generated(config, target, content=page(source)))
    return files
