"""The benchmark's whole path on small tables, in a folder that is removed."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from .records import RecordStore

MAX_IMAGE_BYTES = 100 * 1024
_VARIANT = ("--variant", "ours", "ours", "max_steps=5", "n_members=2", "width=32", "depth=1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(arguments: argparse.Namespace) -> int:
    """Run, and check what came out; the exit status is 0 when all is as it should be."""
    from .__main__ import main

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        results, docs = Path(name) / "results", Path(name) / "docs"
        words = ["tables", "--models", "logreg,extratrees", "--splits", "0", "--reference", "logreg", *_VARIANT]
        status = main([*words, "--output", str(results / "tables")])
        found = RecordStore(results / "tables").read()
        status |= main([*words, "--output", str(results / "tables")])
        if RecordStore(results / "tables").read() != found:
            raise ValueError("Got new records from a second run, expected it to find all done.")
        status |= main(["render", "--results", str(results), "--docs", str(docs)])
        drawn = sorted(docs.glob("img/*.svg"))
        linked = [path for path in drawn if f"img/{path.name}" in (docs / "benchmarks.md").read_text(encoding="utf-8")]
        if len(linked) != 2 or any(path.stat().st_size > MAX_IMAGE_BYTES for path in drawn):
            raise ValueError(f"Got plots {[(p.name, p.stat().st_size) for p in drawn]}, expected two below 100 KiB.")
    print(f"smoke: {len(found)} records, {len(drawn)} plots, {time.perf_counter() - begin:.0f} s")
    return status
