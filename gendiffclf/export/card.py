"""Model cards of fitted classifiers."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import log_loss
from sklearn.utils.validation import column_or_1d

from .._version import VERSION
from ..metrics import expected_calibration_error
from ..validation import shown

_PACKAGES = ("torch", "scikit-learn", "numpy")


def model_card(classifier: Any, name: str, y: ArrayLike | None) -> str:
    """Return the card of a fitted classifier, saved to a file `name`, as Markdown; `y` are the labels (n,) passed to `fit`."""
    layers, d = classifier.scaler_.center.shape
    counts, encoder, kernel = classifier._class_counts, classifier.table_encoder_, classifier.kernel_
    columns = "" if encoder is None else f", from {len(encoder.columns)} columns of a table"
    kept = "none" if kernel is None else f"{kernel.settings.kernel}; the file holds {len(kernel.centers)} training rows"
    classes = [f"| {_cell(c)} | {n:g} |\n" for c, n in zip(classifier.classes_.tolist(), counts, strict=True)]
    parameters = classifier.get_params(deep=False)
    versions = {"Python": platform.python_version(), "gendiffclf": VERSION, **{p: version(p) for p in _PACKAGES}}
    return "".join(
        [
            f"# {name}\n\nA classifier of {len(classes)} classes, fitted with gendiffclf.\n",
            "\n## Data\n\n",
            f"- Rows of {f'{layers} layers of ' if layers > 1 else ''}{d} features{columns}\n",
            f"- Sum of row weights: {counts.sum():g}\n",
            f"- Features whose missing values in training depend on the class: {len(classifier.scaler_.missing.gaps)}\n",
            "\n| Class | Sum of row weights |\n| :-- | --: |\n",
            *classes,
            "\n## Held-out rows\n\n",
            _measures(classifier, y),
            "\n## Model\n\n",
            f"- Kernel: {kept}\n",
            f"- Network: {_network(classifier)}\n",
            "- Parameters: " + ", ".join(f"`{key}={shown(value)}`" for key, value in parameters.items()) + "\n",
            "- Versions: " + ", ".join(f"{package} {number}" for package, number in versions.items()) + "\n",
        ]
    )


def _cell(label: Any) -> str:
    return str(label).replace("|", "\\|").replace("\n", " ")


def _network(classifier: Any) -> str:
    if classifier.network_ is None:
        return "none"
    members = classifier.network_.shape.n_members
    trained = sum(x.numel() for x in classifier.network_.parameters())
    return (
        f"{members} members, {trained:,} parameters, averaged at update {classifier.best_iter_} of {classifier.n_iter_}"
    )


def _measures(classifier: Any, y: ArrayLike | None) -> str:
    """Measures of held-out estimates: each member of the network leaves out a fold, the kernel a row or its group."""
    index = getattr(classifier, "held_out_index_", None)
    if y is None:
        return "Not measured: the training labels were not given.\n"
    if index is None or not len(index):
        raise ValueError(
            "Got y for a classifier without held-out estimates, expected one that was just fitted to labels, since files and "
            "pickles do not keep them; write the card after fit, or set y=None."
        )
    truth = column_or_1d(y)
    if len(truth) <= index.max() or not np.isin(truth[index], classifier.classes_).all():
        raise ValueError(
            f"Got y of {len(truth)} labels that are not those of fit, expected the same labels in the same order; pass the y "
            "passed to fit."
        )
    truth, proba, classes = truth[index], classifier.held_out_proba_, classifier.classes_
    accuracy = (classes[proba.argmax(1)] == truth).mean()
    calibration = expected_calibration_error(truth, proba, labels=classes)
    members = 0 if classifier.network_ is None else classifier.network_.shape.n_members
    folds = f"{members} folds" if members > 1 else "one fold" if members else "leaving out one row or group at a time"
    return (
        f"{len(index)} rows, {'' if not members else 'in '}{folds}; no row was used for its own estimate. The calibration was "
        "fitted on the same rows, each counted once.\n\n"
        "| Accuracy | Log-loss, nats | Expected calibration error |\n| --: | --: | --: |\n"
        f"| {accuracy:.4f} | {log_loss(truth, proba, labels=classes):.4f} | {calibration:.4f} |\n"
    )
