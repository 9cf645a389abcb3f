"""Plots as small SVG files that are the same for the same records, on white, in colours that everyone can tell apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .models import named
from .records import Record
from .summary import HIGHER_IS_BETTER, means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBJECT_COLOUR = "#d55e00"
PEER_COLOUR = "#0072b2"
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
        yield canvas.subplots(n_rows, n_columns, squeeze=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def draw_scores_against_time(path: Path, found: pd.DataFrame, subject: str) -> None:
    """Mean accuracy and mean log-loss of each model over its mean processor seconds of a fit, the better up."""
    seconds = means(found["fit_cpu_seconds"])
    with figure(path, 2, 1, size=(5.6, 6.4)) as axes:
        for axis, measure, title in zip(
            axes[:, 0], ("accuracy", "log_loss"), ("Accuracy, %", "Log-loss, less is better"), strict=True
        ):
            values = means(found[measure]) * (100 if measure == "accuracy" else 1)
            for label in values.index:
                own = label == subject
                colour, marker, size = (SUBJECT_COLOUR, "D", 8) if own else (PEER_COLOUR, "o", 5)
                axis.plot(seconds[label], values[label], marker, color=colour, markersize=size, zorder=3 if own else 2)
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.margins(x=0.08, y=0.06)
            axis.set_ylabel(title)
            if measure not in HIGHER_IS_BETTER:
                axis.set_yscale("log")
                axis.invert_yaxis()
                ticks = [tick for tick in (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3) if tick <= values.max()]
                axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
                axis.minorticks_off()
            _name_points(axis, seconds, values, subject)
        axes[1, 0].set_xlabel("Processor seconds of a fit, mean over tables")


def _name_points(axis: Axes, x: pd.Series, y: pd.Series, subject: str) -> None:
    """Names in a column at the right, in the order of the points, a thin line to each."""
    to_axes = axis.transData + axis.transAxes.inverted()
    axis.autoscale_view()
    heights = to_axes.transform(np.column_stack([x, y]))[:, 1]
    order = np.argsort(-heights)
    step = min(0.065, 1.0 / max(len(order) - 1, 1))
    places = heights[order].copy()
    for number in range(1, len(places)):
        places[number] = min(places[number], places[number - 1] - step)
    places = np.maximum(places, step * np.arange(len(places))[::-1])  # none below the axis, the upper ones give way
    for place, label in zip(places, y.index[order], strict=True):
        colour = SUBJECT_COLOUR if label == subject else "#333333"
        axis.annotate(
            named(label),
            (x[label], y[label]),
            (1.04, place),
            textcoords="axes fraction",
            fontsize=8,
            va="center",
            color=colour,
            fontweight="bold" if label == subject else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": "#bbbbbb",
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


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
            colour = SUBJECT_COLOUR if label == subject else PEER_COLOUR
            axis.plot(confidence[used], accuracy[used], ".-", color=colour, linewidth=1)
            axis.set_title(named(label), fontsize=8)
            axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
            axis.grid(False)  # a dozen panels of lines would make the file large
        for axis in list(axes.flat)[len(labels) :]:
            axis.set_axis_off()
        axes[0, 0].figure.supxlabel("Probability of the most probable class", fontsize=9)
        axes[0, 0].figure.supylabel("Share of rows where it is the true one", fontsize=9)


def pooled_bins(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, mean accuracy and number of rows in each reliability bin of all records; means are 0 without rows."""
    bins = [record["reliability"] for record in records]
    confidence, accuracy, n_rows = (
        np.concatenate([part[name] for part in bins]) for name in ("confidence", "accuracy", "n_rows")
    )
    n_bins = bins[0]["n_bins"]
    number = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    rows = np.bincount(number, n_rows, n_bins)
    mean = [np.bincount(number, value * n_rows, n_bins) / np.maximum(rows, 1) for value in (confidence, accuracy)]
    return mean[0], mean[1], rows
