"""Figures of an evaluation, drawn without pyplot's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots import ReliabilityDisplay, plain_text
from .intervals import MIN_UNITS
from .measures import probabilities
from .names import TITLES
from .results import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED_SPEAKERS = 40
"""Maximum number of speakers that are shown by name; more are shown by rank."""
_WIDTH = 4.8  # inches; legible on a page 390 pixels wide


def draw(evaluation: Evaluation) -> dict[str, tuple[Figure, str]]:
    """Draw the figures that an evaluation has data for, by name, each with a description as alternative text."""
    pictures = {"confusion": _confusion(evaluation)}
    if evaluation.by_speaker is not None and len(evaluation.by_speaker) > 1:
        pictures["speakers"] = _speakers(evaluation)
    if len(evaluation.by_group):
        pictures["groups"] = _groups(evaluation)
    if not np.isnan(evaluation.pooled["ece"]):
        pictures["reliability"] = _reliability(evaluation)
    if evaluation.layer_weights is not None:
        pictures["layers"] = _layers(evaluation.layer_weights)
    return pictures


def _figure(height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _confusion(evaluation: Evaluation) -> tuple[Figure, str]:
    from sklearn.metrics import ConfusionMatrixDisplay

    n = len(evaluation.classes)
    figure, ax = _figure(max(3.2, 0.5 * n + 1.4))
    names = [plain_text(label) for label in evaluation.classes]
    display = ConfusionMatrixDisplay(evaluation.confusion, display_labels=names)
    display.plot(ax=ax, cmap="Blues", colorbar=False, xticks_rotation=45 if n > 3 else 0)
    right = int(np.trace(evaluation.confusion))
    return figure, f"Confusion matrix: {right} of {int(evaluation.confusion.sum())} clips are on its diagonal."


def _speakers(evaluation: Evaluation) -> tuple[Figure, str]:
    assert evaluation.by_speaker is not None
    table = evaluation.by_speaker.sort_values("wa", kind="stable").reset_index(drop=True)
    named = len(table) <= NAMED_SPEAKERS
    figure, ax = _figure(0.19 * len(table) + 1.2 if named else 4.0)
    value, low, high = evaluation.intervals.loc["wa"]
    if not np.isnan(low):
        ax.axvspan(low, high, color="tab:blue", alpha=0.15, label="95 % interval")
    ax.axvline(value, color="tab:blue", label="all clips")
    y = np.arange(len(table))
    if named:
        ax.hlines(y, 0, table["wa"], color="lightgrey", linewidth=1)
        ax.set_yticks(y, [plain_text(name) for name in table["speaker"]], fontsize=8)
    else:
        ax.set_ylabel("speakers, worst first")
    ax.plot(table["wa"], y, "o", color="black", markersize=4, label="one speaker")
    ax.set(xlim=(0, 1.02), ylim=(len(table) - 0.3, -0.7), xlabel="WA (share of a speaker's clips that are correct)")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    worst, best = table.iloc[0], table.iloc[-1]
    return figure, (
        f"Share of correct clips for each of {len(table)} speakers, from {worst['wa']:.2f} ({worst['speaker']}) to "
        f"{best['wa']:.2f} ({best['speaker']})."
    )


def _groups(evaluation: Evaluation) -> tuple[Figure, str]:
    table = evaluation.by_group
    figure, ax = _figure(0.25 * len(table) + 1.1)
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table["uar_low"], table["uar_high"], color="tab:blue", linewidth=2)
    ax.plot(table["uar"], y, "o", color="black")
    names = [plain_text(f"{column}: {value}") for column, value in zip(table["column"], table["value"], strict=True)]
    ax.set_yticks(y, names, fontsize=8)
    ax.axvline(evaluation.pooled["uar"], color="grey", linestyle=":")
    ax.set(
        xlim=(0, 1.02),
        ylim=(-0.6, len(table) - 0.4),
        xlabel=f"{TITLES['uar']}, with 95 % interval from {MIN_UNITS} speakers on",
    )
    return figure, f"UAR of {len(table)} groups with intervals; the values are in the table."


def _reliability(evaluation: Evaluation) -> tuple[Figure, str]:
    predictions = evaluation.predictions
    figure, ax = _figure(4.2)
    ReliabilityDisplay.from_predictions(
        predictions["label"], probabilities(predictions, evaluation.classes), labels=evaluation.classes, ax=ax
    )
    return (
        figure,
        f"Accuracy against confidence in bins; the mean difference, the ECE, is {evaluation.pooled['ece']:.3f}.",
    )


def _layers(weights: np.ndarray) -> tuple[Figure, str]:
    figure, ax = _figure(3.0)
    mean = weights.mean(axis=0)
    layer = np.arange(weights.shape[1])
    ax.bar(layer, mean, color="tab:blue", alpha=0.5, label="mean of folds")
    for fold in weights:
        ax.plot(layer, fold, ".", color="black", markersize=3)
    ax.set(xlabel="layer of the features", ylabel="weight in the kernel")
    return (figure, f"Weights of {len(mean)} layers; layer {int(mean.argmax())} has the largest, {mean.max():.2f}.")
