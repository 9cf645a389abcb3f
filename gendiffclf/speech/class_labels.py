"""Labels of a corpus beside the classes of a trained model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from ..validation import first_few
from .votes import vote_columns


def with_classes(corpus: pd.DataFrame, classes: np.ndarray) -> pd.DataFrame:
    """
    Turn labels into the classes that they stand for, if none is a class itself: "1" or 1.0 into 1, "TRUE" into True.

    A table, whose labels are text, then fits a model that was trained on numbers, and vice versa. The corpus stays as it is if a
    label stands for no class, or two of them for the same one, and with votes, which are named after labels.
    """
    labels = corpus["label"].astype(object)
    known = {_plain(label): label for label in classes.tolist()}
    given = {label: _plain(label) for label in labels.unique()}
    unique = len(known) == len(classes) and len(set(given.values())) == len(given)
    if labels.isin(classes).any() or vote_columns(corpus) or not unique or not known.keys() >= set(given.values()):
        return corpus
    return corpus.assign(label=labels.map({label: known[plain] for label, plain in given.items()}))


def _plain(label: Any) -> Any:
    """A label as a number, as the name of a truth value in lower case, or as text."""
    text = str(label)
    try:
        return float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text


def warn_of_foreign(
    labels: np.ndarray,
    trained: np.ndarray,
    effect: str = "each counts as an error; leave them out, or rename the labels",
) -> None:
    """Warn of clips whose `labels` are none of the `trained` ones."""
    foreign = ~np.isin(labels, trained)
    if foreign.any():
        unknown = np.unique(labels[foreign]).astype(str).tolist()
        warnings.warn(
            f"Got {foreign.sum()} of {len(labels)} clips with labels that the model does not have ({first_few(unknown)}): "
            f"{effect}.",
            stacklevel=3,
        )
