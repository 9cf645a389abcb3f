"""Comparison of two evaluations on the same folds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ..validation import check_choice, first_few, shown
from .corpora import clip_keys, gaps
from .csv_files import read_csv
from .intervals import LEVEL, bounds_text, units_text
from .measures import Tally
from .names import LOWER_IS_BETTER, MEANS_OVER_CLASSES, MEASURES, TITLES, VOTE_MEASURES
from .provenance import JsonResult, as_json
from .results import Evaluation
from .tables import differences, number_voices
from .votes import PREFIX, VoteTally, vote_columns, votes_of

ROUNDING = 1e-6
"""Allowed error of probabilities."""
_WRITTEN = "a file written by `gendiffclf evaluate --predictions`"


@dataclass(frozen=True)
class Comparison(JsonResult):
    """
    Result of `compare`. Printing it shows the differences and the conclusion that they allow.

    Attributes
    ----------
    names : tuple of str
        Names of both evaluations.
    differences : DataFrame
        For each measure (rows): `a`, `b`, `difference` (a minus b), and `low` and `high` of its 95 % interval, from a
        bootstrap over speakers, the same ones for both. With votes, also the rows `jensen_shannon`, `cross_entropy` and
        `majority_accuracy`, as in `Evaluation.votes`.
    only_a, only_b : int
        Number of clips that only one of them classifies correctly.
    p_value : float
        Of the exact McNemar test that both are equally often correct. It assumes independent clips, which clips of the same
        speaker are not.
    n_clips, n_drawn : int
        Number of clips, and of bootstrap units.
    unit : str
        The bootstrap unit: "speakers", or "clips" if speakers are unknown.
    measure : str
        The measure that `claim` is about.
    """

    names: tuple[str, str]
    differences: pd.DataFrame
    only_a: int
    only_b: int
    p_value: float
    n_clips: int
    n_drawn: int
    unit: str
    measure: str

    @property
    def claim(self) -> str:
        """The conclusion that the interval allows, as a sentence."""
        difference, low, high = self.differences.loc[self.measure, ["difference", "low", "high"]]
        title, sign = TITLES[self.measure], -1 if self.measure in LOWER_IS_BETTER else 1
        bounds = f"95 % interval of {self.names[0]} minus {self.names[1]} {bounds_text(low, high)}"
        size = f"by {abs(difference):.3f} {title}, {bounds} over {self.n_drawn} {self.unit}"
        first, second = self.names if sign * difference >= 0 else self.names[::-1]
        if np.isnan(low):
            units = units_text(self.n_drawn, self.unit, lacking=self.measure in MEANS_OVER_CLASSES)
            return f"Nothing can be claimed about {title}, as it has no interval. {units}"
        if low > 0 or high < 0:
            return f"{first} is better than {second} on unseen {self.unit} like these ({size})."
        ending = (
            f" They differ over clips (McNemar, p = {self.p_value:.2g}), but not beyond the variation over {self.unit}."
            if self.p_value < 1 - LEVEL and self.unit == "speakers" and self.measure not in LOWER_IS_BETTER
            else ""
        )
        return f"It cannot be claimed that {first} is better than {second} ({size}).{ending}"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return as_json(
            {
                "names": self.names,
                "claim": self.claim,
                "measure": self.measure,
                "differences": self.differences.to_dict("index"),
                "mcnemar": {"only_a": self.only_a, "only_b": self.only_b, "p_value": self.p_value},
                "n_clips": self.n_clips,
                "drawn": self.unit,
                "n_drawn": self.n_drawn,
                "level": LEVEL,
            }
        )

    def __str__(self) -> str:
        width = max(10, *(len(name) + 2 for name in self.names))
        titles = {name: TITLES[name] for name in self.differences.index}
        first = max(10, *(len(title) + 1 for title in titles.values()))
        lines = [
            f"{'':<{first}}{self.names[0]:>{width}}{self.names[1]:>{width}}{'difference':>12}{'95 % interval':>20}"
        ]
        for name, title in titles.items():
            a, b, difference, low, high = self.differences.loc[name]
            bounds = bounds_text(low, high)
            lines.append(f"{title:<{first}}{a:>{width}.3f}{b:>{width}.3f}{difference:>12.3f}{bounds:>20}")
        lines += [
            "",
            f"Of {self.n_clips} clips, only {self.names[0]} is right on {self.only_a}, and only {self.names[1]} on {self.only_b} "
            f"(exact McNemar test, p = {self.p_value:.2g}).",
            self.claim,
        ]
        return "\n".join(lines)


def compare(
    a: Any, b: Any, *, measure: str = "uar", names: tuple[str, str] = ("a", "b"), random_state: int = 0
) -> Comparison:
    """
    Compare two evaluations of the same clips in the same folds.

    Parameters
    ----------
    a, b : Evaluation, DataFrame or path-like
        Evaluations, their `predictions`, or CSV files written by `gendiffclf evaluate --predictions`.
    measure : {"uar", "wa", "macro_f1", "log_loss", "ece", "jensen_shannon", "cross_entropy", "majority_accuracy"}, default="uar"
        Measure for the conclusion; the last three need votes.
    names : tuple of str, default=("a", "b")
        Names of the two in the output.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    comparison : Comparison
        `print` it, or read `claim`.

    Raises
    ------
    ValueError
        If they do not have the same clips with the same labels in the same folds, a table has no clip, an empty cell or a
        probability outside [0, 1], or there are no votes for a measure that needs them.

    Notes
    -----
    Only one of the evaluations needs to have votes, so that a classifier trained on votes can be compared with one trained
    on majority labels.

    Choose the measure and the systems before looking at results: of twenty comparisons of equally good systems, one is
    expected to show a difference.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from gendiffclf.speech import compare, evaluate
    >>> speaker, label = np.repeat(list("abcdef"), 6), np.tile(["angry", "calm"], 18)
    >>> corpus = pd.DataFrame({"path": "clip.wav", "label": label, "speaker": speaker})
    >>> features = (label == "calm")[:, None] + np.random.default_rng(0).normal(0, 0.1, (36, 3))
    >>> a, b = (evaluate(model, corpus, features=features) for model in (LogisticRegression(), DummyClassifier()))
    >>> compare(a, b, names=("logistic regression", "chance")).claim
    'logistic regression is better than chance on unseen speakers like these (by 0.500 UAR, ...
    """
    check_choice("measure", measure, TITLES)
    first, second = _predictions(a, "a"), _predictions(b, "b")
    classes, first, second = _matched(first, second)
    voice, n_drawn = number_voices(first)
    rows = differences([Tally.of(table, classes, voice, n_drawn) for table in (first, second)], random_state)
    votes = _shared_votes(first, second)
    if votes is not None:
        tallies = [VoteTally.of(table, votes, classes, voice, n_drawn) for table in (first, second)]
        rows |= differences(tallies, random_state)
    elif measure in VOTE_MEASURES:
        raise ValueError(
            f"Got measure={measure!r} for evaluations without votes, expected one of {list(MEASURES)}; specify the columns of "
            "votes when reading the corpus (raters or votes, --rater-columns or --votes-columns)."
        )
    right = [(table["predicted"] == table["label"]).to_numpy() for table in (first, second)]
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return Comparison(
        names=names,
        differences=pd.DataFrame.from_dict(rows, orient="index", columns=["a", "b", "difference", "low", "high"]),
        only_a=only_a,
        only_b=only_b,
        p_value=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        n_clips=len(first),
        n_drawn=n_drawn,
        unit="speakers" if "speaker" in first else "clips",
        measure=measure,
    )


def _predictions(given: Any, name: str) -> pd.DataFrame:
    if isinstance(given, Evaluation):
        table = given.predictions
    elif isinstance(given, str | os.PathLike):
        if not Path(given).is_file():
            raise ValueError(f"Got {os.fspath(given)!r}, which is not a file, expected predictions as CSV.")
        name = os.fspath(given)
        table = read_csv(Path(given), f"expected {_WRITTEN}", dtype=str, keep_default_na=False)
    else:
        table = given
    needed = ["path", "fold", "voice", "label", "predicted"]
    missing = [column for column in needed if column not in table]
    if missing:
        raise ValueError(
            f"Got {name} without {', '.join(missing)}, expected an Evaluation, its predictions, or {_WRITTEN}."
        )
    if not len(table):
        raise ValueError(f"Got {name} with 0 clips, expected at least 1; write it again.")
    _refuse(table[needed].apply(gaps), table, name, "a value")
    table = _with_numbers(table, name, "p_", 1)
    table = _with_numbers(table, name, PREFIX, None)
    clip = pd.Series(clip_keys(table))
    number = clip.groupby(clip).cumcount().astype(str)  # the same clip may be tested in several folds
    # As strings, so that a file can be compared with a table in memory.
    return table.astype(dict.fromkeys(needed, str)).set_axis(clip + "\t" + number, axis=0)


def _with_numbers(table: pd.DataFrame, name: str, prefix: str, highest: float | None) -> pd.DataFrame:
    """Turn the columns with a prefix into numbers, after a check that they are from 0 to `highest`, or all without a value."""
    columns = [column for column in table if str(column).startswith(prefix)]
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    if not table[columns].apply(gaps).all(axis=None):
        within = (numbers - numbers.clip(0, highest)).abs() < ROUNDING  # not for NaN and infinity
        _refuse(~within, table, name, "a number >= 0" if highest is None else f"a number from 0 to {highest:g}")
    return table.assign(**numbers)


def _refuse(wrong: pd.DataFrame, table: pd.DataFrame, name: str, expected: str) -> None:
    """Raise a ValueError for the first cell of a table that is wrong."""
    if wrong.any(axis=None):
        row, column = np.argwhere(wrong.to_numpy())[0]
        column = wrong.columns[column]
        raise ValueError(
            f"Got {name} with {shown(table[column].iloc[row])} in the column {column!r} of row {row + 1}, expected {expected}; "
            "write it again by `gendiffclf evaluate --predictions`."
        )


def _shared_votes(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame | None:
    """Return the shares of votes, which must be equal if both tables have them; None if neither does."""
    shares = [votes for votes in (votes_of(first), votes_of(second)) if votes is not None]
    if not shares:
        return None
    if len(shares) == 2 and not (list(shares[0]) == list(shares[1]) and np.allclose(shares[0], shares[1])):
        raise ValueError("Got a and b with different votes, expected the same; evaluate both on the same table.")
    return shares[0]


def _matched(first: pd.DataFrame, second: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """
    Return the labels of both tables, and the tables with the clips in the order of the first.

    Labels that only raters gave get probabilities of 0 in a table without votes, which lacks them.
    """
    classes = [sorted(c.removeprefix("p_") for c in table if c.startswith("p_")) for table in (first, second)]
    voted = {name.removeprefix(PREFIX) for table in (first, second) for name in vote_columns(table)}
    if not voted.issuperset(set(classes[0]) ^ set(classes[1])):
        raise ValueError(
            f"Got a with the labels {classes[0]} and b with {classes[1]}, expected the same; evaluate both on the same table."
        )
    union = sorted({*classes[0], *classes[1]})
    first, second = (
        table.assign(**{f"p_{label}": 0.0 for label in union if label not in own})
        for table, own in zip((first, second), classes, strict=True)
    )
    if set(first.index) != set(second.index):
        others = set(first.index) ^ set(second.index)
        paths = sorted({key.partition("\t")[0] for key in others})
        raise ValueError(
            f"Got a with {len(first)} clips and b with {len(second)}, {len(others)} of them in one only ({first_few(paths)}), "
            "expected the same clips; evaluate both on the same table, without clips that are broken for one of them."
        )
    second = second.loc[first.index]
    for column, what in (("label", "labels"), ("fold", "folds"), ("voice", "speakers")):
        n_other = int((first[column] != second[column]).sum())
        if n_other:
            raise ValueError(
                f"Got a and b with different {what} for {n_other} of {len(first)} clips, expected the same; evaluate both with "
                "the same folds, n_folds and random_state (--folds, --n-folds, --seed)."
            )
    unknown = sorted(set(np.unique([table[["label", "predicted"]] for table in (first, second)])) - set(union))
    if unknown:
        raise ValueError(
            f"Got clips with the labels {unknown}, expected some of those with a column of probabilities, {union}; evaluate both "
            "again."
        )
    return np.array(union), first, second
