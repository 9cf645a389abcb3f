"""Where and with what a record was made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_PACKAGES = (
    "xrfm",
    "gendiffclf", "numpy", "scipy", "scikit-learn", "torch", "lightgbm", "xgboost", "catboost", "pytabkit",
    "transformers", "soundfile", "opensmile", "resemblyzer", "cleanlab", "mapie",
    "onnx", "onnxruntime", "onnxscript",
)  # fmt: skip
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Records and pages do not change what is measured.
_CODE = ("gendiffclf", "benchmarks", "pyproject.toml", ":(exclude)benchmarks/results")


def environment() -> dict[str, Any]:
    """Versions, hardware, threads, and the commit of the code with whether it was changed since."""
    return {
        "versions": {"python": platform.python_version(), **_package_versions()},
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": _memory_bytes(),
            "gpu": _gpu_name(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "commit": _git("rev-parse", "HEAD") if (ROOT / ".git").exists() else None,
        "dirty": bool(_git("status", "--porcelain", "--", *_CODE)),
    }


def _package_versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpu_name() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _git(*arguments: str) -> str | None:
    """Output of git, or None where this is no checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def load_average() -> float | None:
    """Mean number of running processes in the last minute: above the cores, seconds are not to be trusted."""
    return None if sys.platform == "win32" else os.getloadavg()[0]
