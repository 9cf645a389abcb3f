"""Prompts and answers of SELM: texts of labels, and further views of an emotion, also as JSON."""

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
    An additional prompt about a clip, with an answer for each label.

    Parameters
    ----------
    prompt : str
        The prompt.
    texts : mapping of label to str
        Answer for each label. Clips with other labels give no training examples for this view.
    """

    prompt: str
    texts: Mapping[Any, str]


# Sentiment, and levels of valence, arousal and dominance, for the emotions named in the corpora's layouts. The wording is
# our choice.
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
    """Return the texts of labels as tuples, stripped of surrounding blanks and sorted by label; each is of one label only."""
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
            raise ValueError(
                f"Got {shown(given)} as the text of label {shown(label)}, expected a string or a list of them."
            )
        for text in several:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"Got {shown(text)} as a text of label {shown(label)}, expected a string that is not blank."
                )
            if owner.setdefault(text.strip(), label) != label:
                raise ValueError(
                    f"Got the text {text!r} for the labels {shown(owner[text.strip()])} and {shown(label)}, expected a "
                    "different text for each."
                )
        texts[label] = tuple(dict.fromkeys(text.strip() for text in several))
    return texts


def sorted_labels(labels: Iterable[Any]) -> list[Any]:
    """Unique labels, sorted as by `numpy.unique`, as Python objects; a ValueError if they are of different types."""
    given = list(labels)
    try:
        unique = list(np.unique(np.asarray(given)).tolist())
    except (TypeError, ValueError):
        unique = []
    # NumPy converts mixed types to one, and tuples to an array.
    if set(unique) != set(given):
        raise ValueError(
            f"Got labels {shown(list(dict.fromkeys(given)))}, expected all strings or all numbers; use one type."
        )
    return unique


def checked_views(views: Any, labels: Iterable[Any]) -> dict[str, View]:
    """Return views by name, from names of `VIEWS` or a mapping; each answers for some of the training labels."""
    if isinstance(views, Mapping):
        by_name = dict(views)
    elif isinstance(views, Sequence) and not isinstance(views, str) and all(name in list(VIEWS) for name in views):
        by_name = {name: VIEWS[name] for name in views}
    else:
        raise ValueError(
            f"Got views={shown(views)}, expected a list of names among {list(VIEWS)}, or a mapping from names to View "
            "objects."
        )
    labels = list(labels)
    for name, view in by_name.items():
        if not isinstance(view, View):
            raise ValueError(f"Got a view {name!r} of type {type(view).__name__}, expected a View.")
        if not any(label in view.texts for label in labels):
            raise ValueError(
                f"Got the view {name!r} with answers for {sorted(map(str, view.texts))}, expected some of the labels "
                f"{labels}; pass a View with texts for these labels."
            )
    return by_name


def plain_texts(label_texts: Mapping[Any, Any] | None) -> list[Any] | None:
    """Return pairs of label and text, since keys in JSON must be strings."""
    return None if label_texts is None else [[label, text] for label, text in label_texts.items()]


def texts_from_plain(pairs: list[Any] | None) -> dict[Any, Any] | None:
    """Inverse of `plain_texts`; tuples become lists."""
    return None if pairs is None else {label: text for label, text in pairs}


def plain_views(views: Any) -> Any:
    """Return the names of views, or a list of [name, prompt, pairs of label and text]."""
    if not isinstance(views, Mapping):
        return list(views)
    return [[name, view.prompt, plain_texts(view.texts)] for name, view in views.items()]


def views_from_plain(views: list[Any]) -> Any:
    """Inverse of `plain_views`."""
    if all(isinstance(view, str) for view in views):
        return list(views)
    return {name: View(prompt, texts_from_plain(texts) or {}) for name, prompt, texts in views}
