"""Records of measurements: where and with what they were made, and the files that hold them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gendiffclf import GenerativeTransportClassifier

from .models import configuration

Record = dict[str, Any]
SCHEMA = 2
"""Raised with every change after which older records of ours say nothing of the code."""
OURS = "ours"
"""Key of our model in `MODELS`, whatever the label of its runs."""
ROOT = Path(__file__).parent.parent
RESULTS = Path("benchmarks/results")
TABLES = RESULTS / "tables"
FURTHER_TABLES, LARGE_TABLES = RESULTS / "further", RESULTS / "large"
_PACKAGES = (
    "gendiffclf", "numpy", "scipy", "scikit-learn", "torch", "lightgbm", "xgboost", "catboost", "pytabkit", "xrfm",
    "transformers", "soundfile", "opensmile", "resemblyzer", "cleanlab", "mapie", "onnx", "onnxruntime", "onnxscript",
)  # fmt: skip
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Records and pages do not change what is measured.
_CODE = ("gendiffclf", "benchmarks", "pyproject.toml", ":(exclude)benchmarks/results", ":(exclude)benchmarks/pages")


def environment() -> dict[str, Any]:
    """Versions, hardware, threads, and the commit of the code with whether it was changed since, None where git tells neither."""
    import torch

    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": versions,
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": None if os.name == "nt" else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if (changes := _git("status", "--porcelain", "--", *_CODE)) is None else bool(changes),
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        if names := re.findall(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        ):
            return names[0]
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """Output of git, or None where there is none, or this is no checkout of its own."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def load_average() -> float | None:
    """Mean number of running processes in the last minute: above the cores, seconds are not to be trusted."""
    return None if sys.platform == "win32" else os.getloadavg()[0]


def now() -> str:
    """Date and time to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_record(command: str, **values: Any) -> Record:
    """A record of one file: values, and the command, date, environment and default parameters of the classifier."""
    defaults = configuration(GenerativeTransportClassifier())
    made = {"schema": SCHEMA, "command": command, "date": now(), "environment": environment(), "defaults": defaults}
    return {**made, **values}


def read_record(path: Path) -> Record | None:
    """The record of a file; None if there is none, or one of an older schema."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return record if record.get("schema") == SCHEMA else None


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def record_key(record: Record) -> tuple[str, str, str, int, bool]:
    """What tells one run from another: label, configuration, table, split, and whether the split is an inner one."""
    parameters = json.dumps(record["configuration"], sort_keys=True)
    return record["label"], parameters, record["table"], record["split"], record["inner"]


class RecordStore:
    """A folder of records of single runs: a file of JSON lines for each label, appended when a run is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, label: str) -> Path:
        """File of a label, which must be a plain file name."""
        if not re.fullmatch(r"[A-Za-z0-9_.+=-]+", label) or label.startswith("."):
            raise ValueError(f"Got label={label!r}, expected letters, digits and _ . + = - only.")
        return self.folder / f"{label}.jsonl"

    def read(self) -> list[Record]:
        """
        Records that count, labels sorted, each label's in the order of writing; of equal keys the later.

        Those of peers count whatever their schema, those of our model only with the present one.
        """
        found: dict[tuple[str, str, str, int, bool], Record] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # cut off when its writer was killed
                    record = json.loads(line)
                    if record.get("model") == OURS and record.get("schema") != SCHEMA:
                        continue
                    found.pop(record_key(record), None)  # the later one also takes the later place
                    found[record_key(record)] = record
        return list(found.values())

    def append(self, record: Record) -> None:
        """Write a record to the end of its label's file, onto the disk; what was cut off there stays a line of its own."""
        path = self.path(record["label"])
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, sort_keys=True, allow_nan=False) + "\n"
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            cut_off = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if cut_off else b"") + line.encode())
            os.fsync(file.fileno())
