"""Results that were measured elsewhere, for peers that are not measured here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .records import Record

SUFFIX = " (stored)"
_NAMES = {
    "data": "table",
    "split": "split",
    "model": "model",
    "acc": "accuracy",
    "uar": "uar",
    "logloss": "log_loss",
    "ece": "ece",
    "fit_s": "fit_seconds",
    "predict_s": "predict_seconds",
}


def read_stored(path: Path) -> list[Record]:
    """
    Read a JSON list of objects with data, split, model, acc, uar, logloss, ece, fit_s and predict_s.

    Returns
    -------
    list of dict
        Marked as stored, also in the label.

    Raises
    ------
    ValueError
        If an entry lacks one of them.
    """
    records = []
    for entry in json.loads(path.read_text()):
        if missing := sorted(set(_NAMES) - set(entry)):
            raise ValueError(f"{path}: got an entry without {', '.join(missing)}, expected {', '.join(_NAMES)}.")
        values = {name: entry[key] for key, name in _NAMES.items()}
        records.append({**values, "label": f"{entry['model']}{SUFFIX}", "inner": False, "stored": True})
    return records


def add_stored(measured: Sequence[Record], stored: Sequence[Record]) -> list[Record]:
    """Add stored results of models that were not measured, on the tables and splits that were measured."""
    models = {record["model"] for record in measured}
    cells = {(record["table"], record["split"]) for record in measured}
    fitting = [r for r in stored if r["model"] not in models and (r["table"], r["split"]) in cells]
    return [*measured, *fitting]
