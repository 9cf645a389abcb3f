"""The benchmark's whole path on small tables, in a folder that is removed."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from types import ModuleType

from . import render, tables
from .records import RecordStore

MAX_IMAGE_BYTES = 100 * 1024
_VARIANT = ("--variant", "ours", "ours", "max_steps=5", "n_members=2", "width=32", "depth=1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--reference", default="logreg", help="model to compare with (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run, and check what came out; the exit status is 0 when all is as it should be."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        records, page, images = (Path(name) / part for part in ("records", "docs/benchmarks.md", "docs/img"))
        words = ["--models", "logreg,extratrees", "--splits", "0", "--reference", arguments.reference, *_VARIANT]
        status = _call(tables, arguments.command_line, *words, "--output", str(records))
        found = RecordStore(records).read()
        status |= _call(tables, arguments.command_line, *words, "--output", str(records))
        if RecordStore(records).read() != found:
            raise ValueError("Got new records from a second run, expected it to find all done.")
        words = ["--records", str(records), "--page", str(page), "--images", str(images)]
        status |= _call(render, arguments.command_line, *words)
        drawn = sorted(images.glob("*.svg"))
        linked = [path for path in drawn if f"img/{path.name}" in page.read_text()]
        if len(linked) != 2 or any(path.stat().st_size > MAX_IMAGE_BYTES for path in drawn):
            raise ValueError(f"Got plots {[(p.name, p.stat().st_size) for p in drawn]}, expected two below 100 KiB.")
    print(f"smoke: {len(found)} records, {len(drawn)} plots, {time.perf_counter() - begin:.0f} s")
    return status


def _call(command: ModuleType, command_line: str, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.set_defaults(command_line=command_line)
    return command.run(parser.parse_args(words))
