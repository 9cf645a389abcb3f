"""How long a fit may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Budget:
    """A time limit in seconds, if there is one, counted from the creation of this object."""

    limit: float | None = None
    _started: float = field(default_factory=lambda: perf_counter())

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._started

    def is_short_of(self, seconds: float) -> bool:
        """Whether there is a limit and less than so many seconds are left."""
        return self.limit is not None and self.spent + seconds > self.limit
