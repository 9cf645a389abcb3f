"""How much memory a call takes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def added_memory(call: Callable[[], Any]) -> tuple[int, Any]:
    """Resident bytes that the process holds more during a call, at most, and the result of the call."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(
            "5"
        )  # a new peak, see proc(5); elsewhere it is that of the process so far
    before = _resident("VmRSS")
    result = call()
    return _resident("VmHWM") - before, result


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    if found is not None:
        return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
