"""What SELM's language model is asked and answers: texts of labels, and further views of an emotion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation import shown

PROMPT = "this person is feeling"


@dataclass(frozen=True)
class View:
    """
    Another question about a clip whose answer follows from its label.

    Parameters
    ----------
    prompt : str
        The question, as the language model reads it.
    texts : mapping of label to str
        The answer for each label. A label that is missing has no training examples of this view.
    """

    prompt: str
    texts: Mapping[Any, str]


# Sentiment, and levels of valence, arousal and dominance, of the emotions as the corpora's layouts name them. The words
# are our choice.
VIEWS: dict[str, View] = {
    "sentiment": View(
        "the sentiment of this person is",
        {
            "angry": "negative",
            "bored": "negative",
            "calm": "neutral",
            "disgusted": "negative",
            "fearful": "negative",
            "happy": "positive",
            "neutral": "neutral",
            "sad": "negative",
            "surprised": "positive",
        },
    ),
    "vad": View(
        "valence, arousal and dominance of this person are",
        {
            "angry": "low, high and high",
            "bored": "low, low and low",
            "calm": "high, low and high",
            "disgusted": "low, high and high",
            "fearful": "low, high and low",
            "happy": "high, high and high",
            "neutral": "medium, medium and medium",
            "sad": "low, low and low",
            "surprised": "high, high and low",
        },
    ),
}


def checked_label_texts(label_texts: Any) -> dict[Any, tuple[str, ...]]:
    """
    Texts of each label, as tuples, sorted by label.

    Parameters
    ----------
    label_texts : mapping of label to str or sequence of str
        As given to `SelmClassifier`.

    Returns
    -------
    texts : dict of label to tuple of str
        At least one text for each label, without blanks around it.

    Raises
    ------
    ValueError
        If it is no mapping or empty, a text is empty or no text, or two labels have one text.
    """
    if not isinstance(label_texts, Mapping) or not label_texts:
        raise ValueError(
            f"Got label_texts={shown(label_texts)}, expected a mapping from each label to its text or texts, or None."
        )
    texts: dict[Any, tuple[str, ...]] = {}
    owner: dict[str, Any] = {}
    for label in sorted_labels(label_texts):
        given = label_texts[label]
        several = [given] if isinstance(given, str) else given
        if not isinstance(several, Sequence) or not several:
            raise ValueError(f"Got {shown(given)} as the text of label {shown(label)}, expected a text or several.")
        for text in several:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"Got {shown(text)} as a text of label {shown(label)}, expected a text of words.")
            if owner.setdefault(text.strip(), label) != label:
                raise ValueError(
                    f"Got the text {text!r} for the labels {shown(owner[text.strip()])} and {shown(label)}, expected "
                    "texts that tell them apart."
                )
        texts[label] = tuple(dict.fromkeys(text.strip() for text in several))
    return texts


def sorted_labels(labels: Iterable[Any]) -> list[Any]:
    """Labels in the order that `numpy.unique` gives them, as Python's own objects; a ValueError if they cannot be sorted."""
    given = list(labels)
    try:
        found = list(np.unique(np.asarray(given)).tolist())
    except (TypeError, ValueError):
        found = []
    # NumPy would make one type of several, and an array of tuples.
    if set(found) != set(given):
        raise ValueError(
            f"Got labels {shown(list(dict.fromkeys(given)))}, expected all texts or all numbers; use one kind."
        )
    return found


def default_label_texts(labels: Iterable[Any]) -> dict[Any, tuple[str, ...]]:
    """The labels themselves as their texts, for a caller who gives none."""
    return checked_label_texts({label: str(label) for label in sorted_labels(labels)})


def checked_views(views: Any, labels: Iterable[Any]) -> dict[str, View]:
    """
    The views that a caller asked for.

    Parameters
    ----------
    views : sequence of str, or mapping of str to View
        Names of `VIEWS`, or views of the caller's own by name.
    labels : iterable of labels
        Labels of training; each view must have an answer for one of them.

    Returns
    -------
    views : dict of str to View

    Raises
    ------
    ValueError
        If a name is unknown, something is no view, or a view has an answer for none of the labels.
    """
    if isinstance(views, Mapping):
        found = dict(views)
    elif isinstance(views, Sequence) and not isinstance(views, str) and all(isinstance(name, str) for name in views):
        unknown = [name for name in views if name not in VIEWS]
        if unknown:
            raise ValueError(
                f"Got views={shown(views)}, expected names among {list(VIEWS)}, or a mapping from names to View objects."
            )
        found = {name: VIEWS[name] for name in views}
    else:
        raise ValueError(
            f"Got views={shown(views)}, expected a list of names among {list(VIEWS)}, or a mapping from names to View "
            "objects."
        )
    labels = list(labels)
    for name, view in found.items():
        if not isinstance(view, View):
            raise ValueError(f"Got a view {name!r} of type {type(view).__name__}, expected a View.")
        if not any(label in view.texts for label in labels):
            raise ValueError(
                f"Got the view {name!r} with answers for {sorted(map(str, view.texts))}, expected some of the labels "
                f"{labels}; give a View with texts of its own."
            )
    return found
