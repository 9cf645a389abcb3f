"""Plots of a comparison, as small SVG files that are the same for the same records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .records import Record
from .stored import SUFFIX
from .summary import Comparison, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBJECT_COLOUR = "#c0392b"
PEER_COLOUR = "#34495e"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "gendiffclf",  # else ids in the file differ from run to run
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}


@contextlib.contextmanager
def figure(path: Path, n_rows: int = 1, n_columns: int = 1, size: tuple[float, float] = (6.4, 3.6)) -> Iterator[Any]:
    """Axes of a figure that is written to the path at the end."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        canvas = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(canvas)
        yield canvas.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def draw_ranks(path: Path, ranks: dict[str, Interval], subject: str) -> None:
    """Mean rank of each model with its interval, best at the top."""
    ordered = sorted(ranks, key=lambda label: (-ranks[label].mean, label))
    with figure(path, size=(6.4, 0.8 + 0.28 * len(ordered))) as axes:
        axis = axes[0, 0]
        for height, label in enumerate(ordered):
            interval, colour = ranks[label], _colour(label, subject)
            axis.plot([interval.low, interval.high], [height, height], color=colour, linewidth=2)
            axis.plot(interval.mean, height, "o", color=colour, markerfacecolor=_fill(label, colour))
        axis.set_yticks(range(len(ordered)), ordered)
        axis.set_xlabel("Mean rank in accuracy (1 is best), with 95% interval")


def draw_accuracy_against_time(path: Path, comparison: Comparison, subject: str) -> None:
    """Mean accuracy over mean fit seconds."""
    seconds, accuracy = comparison.mean("fit_seconds"), 100 * comparison.mean("accuracy")
    with figure(path) as axes:
        axis = axes[0, 0]
        for label in comparison.labels:
            colour = _colour(label, subject)
            axis.plot(seconds[label], accuracy[label], "o", color=colour, markerfacecolor=_fill(label, colour))
            axis.annotate(
                label, (seconds[label], accuracy[label]), (5, 4), textcoords="offset points", color=colour, fontsize=8
            )
        axis.set_xscale("log")
        axis.margins(x=0.15, y=0.1)
        axis.set_xlabel("Mean seconds to fit (logarithmic)")
        axis.set_ylabel("Mean accuracy, %")


def draw_reliability(path: Path, records: Sequence[Record], labels: Sequence[str], subject: str) -> None:
    """Accuracy over confidence of each model, all its runs pooled, over the share of rows in each bin."""
    n_columns = min(4, len(labels))
    n_rows = -(-len(labels) // n_columns)
    with figure(path, n_rows, n_columns, size=(6.4, 0.4 + 1.7 * n_rows)) as axes:
        for axis, label in zip(axes.flat, labels, strict=False):
            confidence, accuracy, counts = pooled_bins([record for record in records if record["label"] == label])
            used = counts > 0
            axis.stairs(counts / counts.sum(), np.linspace(0, 1, len(counts) + 1), fill=True, color="#d5d8dc")
            axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
            axis.plot(confidence[used], accuracy[used], ".-", color=_colour(label, subject), linewidth=1)
            _label_reliability(axis, label)
        for axis in list(axes.flat)[len(labels) :]:
            axis.set_axis_off()
        axes[0, 0].figure.supxlabel("Probability of the most probable class", fontsize=9)
        axes[0, 0].figure.supylabel("Share of rows where it is the true one", fontsize=9)


def pooled_bins(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Merge the reliability bins of several records.

    Returns
    -------
    confidence, accuracy, n_rows : ndarray of shape (n_bins,)
        Means are 0 where there are no rows.
    """
    bins = [record["reliability"] for record in records]
    confidence, accuracy, n_rows = (
        np.concatenate([part[name] for part in bins]) for name in ("confidence", "accuracy", "n_rows")
    )
    n_bins = bins[0]["n_bins"]
    number = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    rows = np.bincount(number, n_rows, n_bins)
    mean = [np.bincount(number, value * n_rows, n_bins) / np.maximum(rows, 1) for value in (confidence, accuracy)]
    return mean[0], mean[1], rows


def _label_reliability(axis: Axes, label: str) -> None:
    axis.set_title(label, fontsize=8)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, 1.02)
    axis.set_xticks([0, 0.5, 1])
    axis.set_yticks([0, 0.5, 1])
    axis.set_aspect("equal")
    axis.grid(False)  # a dozen panels of lines would make the file large


def _colour(label: str, subject: str) -> str:
    return SUBJECT_COLOUR if label == subject else PEER_COLOUR


def _fill(label: str, colour: str) -> str:
    return "white" if label.endswith(SUFFIX) else colour
