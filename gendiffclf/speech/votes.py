"""Votes of several raters in the table of a corpus, and measures of predictions against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..validation import check_names, first_few
from ..votes import cross_entropies, divergences
from .intervals import Sums
from .measures import EPS, probabilities
from .names import VOTE_MEASURES

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "votes_"
"""Prefix of the columns `votes_<label>`, with the number or share of votes for each label."""


def with_votes(corpus: pd.DataFrame, columns: Sequence[str] | None, raters: Sequence[str] | None) -> pd.DataFrame:
    """Add the columns `votes_<label>`, and `label` with the label that has most votes; see `read_corpus`."""
    import pandas as pd

    if columns is not None and raters is not None:
        raise ValueError(
            f"Got votes={list(columns)!r} and raters={list(raters)!r}, expected one of them: a column for each class, or one "
            "for each rater."
        )
    for name, given in (("votes", columns), ("raters", raters)):
        check_names(name, given)
    named = list(dict.fromkeys(columns or raters or ()))
    missing = [name for name in named if name not in corpus]
    if missing or not named:
        name = "raters" if columns is None else "votes"
        raise ValueError(f"Got {name}={named!r}, expected some of the columns {list(corpus.columns)}.")
    text = corpus[named].fillna("").astype(str).apply(lambda column: column.str.strip())
    if raters is not None:
        given = pd.concat([text[name] for name in named])
        given = given[given != ""]
        votes = pd.crosstab(given.index, given).reindex(corpus.index, fill_value=0).astype(float)
    else:
        votes = text.replace("", "0").apply(pd.to_numeric, errors="coerce").astype(float)
        wrong = votes.isna() | (votes < 0) | ~np.isfinite(votes)
        if wrong.to_numpy().any():
            row, column = np.argwhere(wrong.to_numpy())[0]
            raise ValueError(
                f"Got {text.iloc[row, column]!r} in the column {named[column]!r} of votes, in row {row + 1}, expected a number "
                ">= 0; pass columns with the labels given by raters as raters (--rater-columns)."
            )
    _check_votes(corpus, votes)
    others = [name for name in vote_columns(corpus) if name not in named]
    if others:
        raise ValueError(
            f"Got the columns {others} beside the votes {named}, expected none that begin with {PREFIX!r}, as these are votes "
            "too; rename them."
        )
    votes = votes[sorted(votes.columns)]
    corpus = corpus.drop(columns=list(columns or ())).assign(label=votes.idxmax(axis=1))
    return pd.concat([corpus, votes.add_prefix(PREFIX)], axis=1)


def vote_columns(corpus: pd.DataFrame) -> list[str]:
    """Return the names of the columns `votes_<label>`, sorted."""
    return sorted(name for name in map(str, corpus.columns) if name.startswith(PREFIX))


def votes_of(corpus: pd.DataFrame) -> pd.DataFrame | None:
    """
    Return the shares of votes, (n_clips, n_classes), with sorted labels as columns; None without votes, an error if a clip
    has none.
    """
    names = vote_columns(corpus)
    if not names:
        return None
    votes = corpus[names].astype(float).rename(columns=lambda name: name.removeprefix(PREFIX))
    _check_votes(corpus, votes)
    labels = set(corpus["label"].astype(str))
    votes = votes.loc[:, votes.any() | votes.columns.isin(labels)]
    if unknown := sorted(labels - set(votes.columns)):
        raise ValueError(
            f"Got clips with the labels {unknown}, for which there are no votes, expected labels among {list(votes.columns)}; "
            f"correct the columns {PREFIX}<label>, or rename them if they are no votes."
        )
    return votes.div(votes.sum(axis=1), axis=0)


@dataclass(frozen=True)
class VoteTally(Sums):
    """
    Sums over the clips of m units, such as speakers, from which every measure against votes is computed.

    `sums` and `counts` have shape (m, 3), in the order of `VOTE_MEASURES`; a measure is their quotient. Sums are NaN without
    probabilities.
    """

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls, predictions: pd.DataFrame, votes: pd.DataFrame, classes: np.ndarray, unit: np.ndarray, m: int
    ) -> VoteTally:
        """Sum over predictions and their shares of votes, from `votes_of` in the same order; see `Tally.of`."""
        shares = votes.reindex(columns=classes, fill_value=0.0).to_numpy()
        proba = np.clip(probabilities(predictions, classes), EPS, 1)
        majority = has_majority(shares)
        right = predictions["predicted"].to_numpy() == classes[shares.argmax(axis=1)]
        missing = np.where(np.isnan(proba).any(axis=1), np.nan, 0.0)
        values = (divergences(shares, proba) + missing, cross_entropies(shares, proba) + missing, right & majority)
        clips = np.ones(len(right))
        sums, counts = (
            np.stack([np.bincount(unit, part, minlength=m) for part in parts], axis=1)
            for parts in (values, (clips, clips, majority))
        )
        return cls(sums, counts)

    def measures(self) -> dict[str, np.ndarray]:
        """Return the measures of each unit, of shape (m,); NaN without clips, or without probabilities that they need."""
        with np.errstate(invalid="ignore"):
            return dict(zip(VOTE_MEASURES, (self.sums / self.counts).T, strict=True))


def has_majority(votes: pd.DataFrame | np.ndarray) -> np.ndarray:
    """Return whether one label has more votes than any other, for each clip: (n, K) -> (n,)."""
    shares = np.asarray(votes)
    return np.asarray((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1)


def constant_guess(votes: pd.DataFrame) -> dict[str, float]:
    """Return the measures of `VOTE_MEASURES` if every clip has the mean shares of votes as its probabilities."""
    mean, labels = votes.mean(axis=0), votes.columns.to_numpy().astype(str)
    table = votes.assign(predicted=mean.idxmax(), **{f"p_{label}": mean[label] for label in labels})
    values = VoteTally.of(table, votes, labels, np.zeros(len(votes), int), 1).measures()
    return {name: float(value[0]) for name, value in values.items()}


def _check_votes(corpus: pd.DataFrame, votes: pd.DataFrame) -> None:
    without = ~(votes.sum(axis=1) > 0)
    if without.any():
        names = corpus["path"][without].astype(str).tolist()
        raise ValueError(
            f"Got {len(names)} of {len(corpus)} clips without votes ({first_few(names)}), expected at least one for each; leave "
            "them out."
        )
