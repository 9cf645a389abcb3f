"""Output of a timeline as table, JSON, labels for Audacity, or figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import atomic_file, write_json
from ..optional import require
from ..plots import plain_text

if TYPE_CHECKING:
    from .timelines import Timeline

PICTURES = (".png", ".svg", ".pdf")
ENDINGS = (".csv", ".json", ".txt", *PICTURES)


def check_ending(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file name; raise an error unless it is one of `ENDINGS`, with matplotlib for a figure."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"Got {os.fspath(path)}, expected a name ending in one of {', '.join(ENDINGS)}.")
    if ending in PICTURES:
        require("matplotlib", "plots")
    return ending


def save_timeline(timeline: Timeline, path: str | os.PathLike[str]) -> None:
    """Write a timeline in the format given by the suffix; see `Timeline.save`."""
    ending = check_ending(path)
    if ending == ".json":
        return write_json(path, _content(timeline))
    with atomic_file(path, binary=ending in PICTURES) as file:
        if ending in PICTURES:
            draw_timeline(timeline).savefig(file, format=ending[1:], dpi=150)
        elif ending == ".csv":
            timeline.table.to_csv(file, index=False, lineterminator="\n", float_format="%.6g")
        else:
            for row in timeline.segments.itertuples():
                file.write(f"{row.start:.6f}\t{row.end:.6f}\t{row.label}\n")


def draw_timeline(timeline: Timeline) -> Any:
    """Draw probabilities over time, and the segments below them; the figure grows with the recording, up to 8 minutes."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = colormaps["tab10" if len(timeline.classes) <= 10 else "tab20"]
    colour_of = {label: colours(k % colours.N) for k, label in enumerate(timeline.classes)}
    figure = Figure(figsize=(float(np.clip(timeline.duration / 20, 6, 24)), 4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    middles = (timeline.table["start"] + timeline.table["end"]) / 2
    for label in timeline.classes:
        top.plot(middles, timeline.table[f"p_{label}"], color=colour_of[label], linewidth=1.5)
    top.set(ylabel="probability", ylim=(0, 1), title=plain_text(Path(timeline.name).name))
    for row in timeline.segments.itertuples():
        bottom.axvspan(row.start, row.end, color=colour_of[row.label])
    bottom.set(xlabel="time in seconds", yticks=[], ylabel="label", xlim=(0, timeline.duration))
    handles = [Patch(color=colour_of[label], label=plain_text(label)) for label in timeline.classes]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def _content(timeline: Timeline) -> dict[str, Any]:
    probabilities = [None if np.isnan(row).any() else [float(p) for p in row] for row in timeline.probabilities]
    steps = timeline.table[["start", "end", "speech"]].to_dict("records")
    return {
        "recording": timeline.name,
        "duration": timeline.duration,
        "classes": [str(label) for label in timeline.classes],
        "steps": [{**step, "probabilities": p} for step, p in zip(steps, probabilities, strict=True)],
        "segments": [{**row, "label": str(row["label"])} for row in timeline.segments.to_dict("records")],
    }
