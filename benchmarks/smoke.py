"""Go the whole path on scikit-learn's tables in a folder that is thrown away: run, resume, render."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from . import render, tables
from .records import RecordStore

MAX_IMAGE_BYTES = 100 * 1024
_MODELS = "logreg,extratrees"
_QUICK = ["max_steps=5", "n_members=2", "width=32", "depth=1"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--reference", default="logreg", help="model to compare with (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run, and check what came out; the exit status is 0 when all is as it should be."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = folder / "records"
        words = ["--models", _MODELS, "--splits", "0", "--output", str(records), "--reference", arguments.reference]
        parser = argparse.ArgumentParser()
        tables.add_arguments(parser)
        options = parser.parse_args([*words, "--variant", "ours", "ours", *_QUICK])
        options.command_line = arguments.command_line
        status = tables.run(options)
        n_records = len(RecordStore(records).read())
        size = sum(path.stat().st_size for path in records.glob("*.jsonl"))
        status |= tables.run(options)
        if sum(path.stat().st_size for path in records.glob("*.jsonl")) != size:
            raise ValueError("Got new records from a second run, expected it to find all done.")
        parser = argparse.ArgumentParser()
        render.add_arguments(parser)
        page, images = folder / "docs" / "benchmarks.md", folder / "docs" / "img"
        words = ["--records", str(records), "--page", str(page), "--images", str(images)]
        status |= render.run(parser.parse_args([*words, "--reference", arguments.reference]))
        drawn = sorted(images.glob("*.svg"))
        linked = [path for path in drawn if f"img/{path.name}" in page.read_text()]
        if len(linked) != 3 or any(path.stat().st_size > MAX_IMAGE_BYTES for path in drawn):
            raise ValueError(f"Got plots {[(p.name, p.stat().st_size) for p in drawn]}, expected three below 100 KiB.")
    print(f"smoke: {n_records} records, {len(drawn)} plots, {time.perf_counter() - begin:.0f} s")
    return status
