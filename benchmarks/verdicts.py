"""What an interval of differences allows to say."""

from __future__ import annotations

from .summary import Interval

GAIN = "better"
LOSS = "worse"


def verdict(interval: Interval, more_is_better: bool = True) -> str:
    """
    `GAIN` or `LOSS` where the interval excludes zero, else an empty string.

    An interval without any width comes from a single run, or from equal ones, and says nothing of chance.
    """
    if interval.low <= 0 <= interval.high or interval.low == interval.high or interval.mean != interval.mean:
        return ""
    return GAIN if (interval.low > 0) is more_is_better else LOSS


def difference(interval: Interval, scale: float = 1, digits: int = 2) -> str:
    """A difference with its interval, bold where that excludes zero; a dash for NaN."""
    if interval.mean != interval.mean:
        return "–"
    mean, low, high = (f"{value * scale:+.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{f'**{mean}**' if verdict(interval) else mean} ({low} to {high})"
