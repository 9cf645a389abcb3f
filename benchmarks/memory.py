"""How much memory the process holds."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> bool:
    """Start a new peak. False where the system cannot: the peak is then that of the process so far."""
    try:
        _CLEAR.write_text("5")  # documented in proc(5); needs no rights over one's own process
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Highest resident memory since the last reset, in bytes."""
    if (value := _status_bytes("VmHWM")) is not None:
        return value
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int | None:
    """Resident memory now, in bytes; None where the system does not say."""
    return _status_bytes("VmRSS")


def _status_bytes(field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+)", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    return int(found[1]) * 1024 if found else None
