"""Output of a comparison as text and as an HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..html_page import as_svg, document, figure
from ..html_page import table as html_table
from ..plots import ReliabilityDisplay
from .comparison import OURS, Comparison
from .datasets import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("classifier", "accuracy", "log-loss", "ECE", "seconds")
ROW = "row (1 = first after the header)"
N_ERRORS = 10
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5b5b5b")
"""Colours of Okabe and Ito, distinguishable by colour-blind readers."""
MEASURES = (
    "Accuracy is the share of correct rows. Log-loss and ECE measure the probabilities, and lower is better: log-loss is the "
    "mean negative log-probability of the true class, ECE the mean difference between confidence and accuracy in bins of "
    "confidence."
)


def cells(row: Comparison) -> list[str]:
    """Return the values of a comparison for the columns of `HEADER`."""
    numbers = [f"{row.accuracy:.3f}", f"{row.log_loss:.3f}", f"{row.calibration_error:.3f}", f"{row.seconds:.1f}"]
    return [row.classifier, *numbers]


def text_table(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as aligned text, one line each."""
    lines = []
    for dataset in dict.fromkeys(row.dataset for row in comparisons):
        rows = [HEADER, *(cells(row) for row in comparisons if row.dataset == dataset)]
        lines += ["", dataset, *(f"  {name:<22}" + "".join(f"{value:>10}" for value in rest) for name, *rest in rows)]
    return "\n".join(lines[1:])


def verdict(rows: Sequence[Comparison]) -> str:
    """Return sentences about the best classifiers of all comparisons on one table, and the uncertainty of the accuracy."""
    calibrated = min(rows, key=lambda row: row.log_loss)
    best = max(rows, key=lambda row: row.accuracy)
    tied = [row.classifier for row in rows if row.accuracy == best.accuracy]
    _, counts = np.unique(best.y, return_counts=True)
    n = len(best.y)
    share = (best.accuracy * n + 2) / (n + 4)  # Agresti and Coull 1998, so that an accuracy of 1 has an error too
    error = np.sqrt(share * (1 - share) / (n + 4))
    return (
        f"Highest accuracy: {', '.join(tied)}; lowest log-loss: {calibrated.classifier}. Always predicting the most frequent "
        f"class has an accuracy of {counts.max() / counts.sum():.3f}. With {n:,} rows, the standard error of an "
        f"accuracy is about {error:.3f}; smaller differences mean little."
    )


def page(datasets: Sequence[Dataset], comparisons: Sequence[Comparison], made: str) -> str:
    """Return the HTML of the report; `made` is a sentence on how the results were obtained."""
    sections = []
    for data in datasets:
        rows = [row for row in comparisons if row.dataset == data.name]
        ours = next(row for row in rows if row.classifier == OURS)
        text = html_table(f"{data.name}: cross-validated results", HEADER, [cells(row) for row in rows])
        text += f"<p>{escape(verdict(rows))}</p>{_about(data)}"
        text += f'<div class="pair">{_picture(rows)}<div>{_classes(ours)}</div></div>'
        sections.append((data.name, text + _errors(data, ours)))
    sections.append(("What the columns mean", f"<p>{escape(MEASURES)}</p>"))
    sections.append(("How it was made", f"<p>{escape(made)}</p>"))
    return document("Classifiers compared", sections)


def _about(data: Dataset) -> str:
    gaps = data.X.isna().to_numpy().mean()
    n_numbers = data.X.select_dtypes(["number", "bool"]).shape[1]
    text = (
        f"{len(data.y):,} rows, {data.X.shape[1]} columns ({data.X.shape[1] - n_numbers} categorical), "
        f"{100 * gaps:.1f} % missing values, {len(np.unique(data.y))} classes"
    )
    if data.groups is not None:
        text += f", {len(np.unique(data.groups))} groups, each within one fold"
    return f"<p>{text}.</p>" + "".join(f'<div class="finding note"><p>{escape(note)}</p></div>' for note in data.notes)


def _picture(rows: Sequence[Comparison]) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in rows[0].dataset)
    text = "Accuracy against confidence in bins; on the dotted line, the classifier is perfectly calibrated."
    return figure(as_svg(reliability(rows), name), text)


def reliability(rows: Sequence[Comparison]) -> Figure:
    """Draw the reliability diagram of the classifiers on one table."""
    from matplotlib.figure import Figure

    diagram = Figure(figsize=(4.8, 4.4), layout="constrained")
    ax: Any = diagram.subplots()
    ax.set_prop_cycle(color=COLOURS)
    for row in rows:
        ReliabilityDisplay.from_predictions(row.y, row.proba, name=row.classifier, ax=ax)
    return diagram


def _classes(ours: Comparison) -> str:
    rows = []
    for label in np.unique(ours.y):
        true, predicted = ours.y == label, ours.predicted == label
        right = (true & predicted).sum()
        wrong, counts = np.unique(ours.predicted[true & ~predicted], return_counts=True)
        confused_with = str(wrong[counts.argmax()]) if len(wrong) else ""
        precision = f"{right / predicted.sum():.3f}" if predicted.any() else ""
        rows.append([str(label), f"{true.sum():,}", f"{right / true.sum():.3f}", precision, confused_with])
    header = ("class", "rows", "recall", "precision", "most often predicted as")
    return html_table(f"{ours.dataset}: classes, by {OURS}", header, rows)


def _errors(data: Dataset, ours: Comparison) -> str:
    """Return a table of the most confident errors, which often have wrong labels, with their row in the file."""
    wrong = np.flatnonzero(ours.predicted != ours.y)
    wrong = wrong[np.argsort(-ours.proba[wrong].max(axis=1), kind="stable")]
    rows = [
        [str(data.X.index[i] + 1), str(ours.y[i]), str(ours.predicted[i]), f"{ours.proba[i].max():.3f}"]
        for i in wrong[:N_ERRORS].tolist()
    ]
    caption = (
        f"{data.name}: {len(rows)} of {len(wrong)} errors, the most confident first; check whether the labels are right"
    )
    return html_table(caption, (ROW, "label", "predicted", "probability"), rows) if rows else ""
