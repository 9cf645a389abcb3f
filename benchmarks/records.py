"""Records: one JSON object a line, one file a label, appended when a run is done."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

Record = dict[str, Any]
SCHEMA = 2
"""Raised with every change after which older records of ours say nothing of the code."""
RESULTS = Path("benchmarks/results/tables")


def record_key(record: Record) -> tuple[str, str, str, int, bool]:
    """What tells one run from another: label, configuration, table, split, and whether the split is an inner one."""
    parameters = json.dumps(record["configuration"], sort_keys=True)
    return record["label"], parameters, record["table"], record["split"], record["inner"]


class RecordStore:
    """A folder of records, made when the first one is appended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, label: str) -> Path:
        """
        File of a label.

        Raises
        ------
        ValueError
            If the label is no plain file name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.+=-]+", label) or label.startswith("."):
            raise ValueError(f"Got label={label!r}, expected letters, digits and _ . + = - only.")
        return self.folder / f"{label}.jsonl"

    def read(self) -> list[Record]:
        """All records, labels sorted, each label's in the order of writing; of two with the same key the later."""
        found: dict[tuple[str, str, str, int, bool], Record] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for record in read_lines(path):
                key = record_key(record)
                found.pop(key, None)  # the later one also takes the later place
                found[key] = record
        return list(found.values())

    def append(self, record: Record) -> None:
        """Write a record to the end of its label's file, onto the disk; what was cut off there stays a line of its own."""
        path = self.path(record["label"])
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_off = path.exists() and not path.read_bytes().endswith(b"\n")
        line = json.dumps(record, sort_keys=True, allow_nan=False) + "\n"
        with path.open("ab", buffering=0) as file:
            file.write((b"\n" if cut_off else b"") + line.encode())
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[Record]:
    """Records of a file; a line cut off when its writer was killed is left out, and so measured anew."""
    records = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records
