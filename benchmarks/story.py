"""Run the code of docs/speech-emotion.md in an empty folder, and keep its pictures beside the page."""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

PAGE = Path("docs/speech-emotion.md")
IMAGES = Path("docs/img")
PICTURES = {
    "pictures/speakers.svg": "speech_speakers.svg",
    "pictures/reliability.svg": "speech_reliability.svg",
    "timeline.svg": "speech_timeline.svg",
}
"""Files that the page's code writes, and what they are called beside the page."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the pictures (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run the page and copy its pictures."""
    text, images = PAGE.read_text(encoding="utf-8"), arguments.images.resolve()
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_code(text)
        for written, name in PICTURES.items():
            shutil.copyfile(written, images / name)
    return 0


def run_code(text: str) -> dict[str, Any]:
    """Run a page's blocks of Python one after the other, and return the names they define."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "page", "exec"), names)
    return names
