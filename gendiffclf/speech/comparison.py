"""Whether one evaluation is better than another on the same folds, and what may be claimed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from ..optional import require
from ..validation import check_choice
from .files import whole_file
from .intervals import LEVEL, interval
from .measures import LOWER_IS_BETTER, MEASURES, TITLES
from .provenance import as_json
from .results import Evaluation
from .tables import draw_measures, tally_by
from .votes import LOWER_IS_BETTER as LOWER_OF_VOTES
from .votes import PREFIX, VOTE_TITLES, compare_votes, votes_of

if TYPE_CHECKING:
    import pandas as pd

ALL_TITLES = {**TITLES, **VOTE_TITLES}
ALL_LOWER = (*LOWER_IS_BETTER, *LOWER_OF_VOTES)


@dataclass(frozen=True)
class Comparison:
    """
    What `compare` found. Printing it shows the differences and says what may be claimed.

    Attributes
    ----------
    names : tuple of str
        Of both evaluations.
    differences : DataFrame
        For each measure (rows): `a`, `b`, `difference` (a minus b), and `low` and `high` of its 95 % interval, from a
        bootstrap that draws the same speakers for both. Where there are votes, also rows `jensen_shannon`, `cross_entropy`
        and `majority_accuracy`, as of `Evaluation.votes`.
    only_a, only_b : int
        Clips that one gets right and the other wrong.
    p_value : float
        Of the exact McNemar test that both are right equally often. It takes clips as independent, which those of one
        speaker are not.
    n_clips, n_drawn : int
        Clips, and what the bootstrap draws.
    unit : str
        "speakers", or "clips" where speakers are unknown.
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
        """A sentence that says what may be claimed."""
        difference, low, high = self.differences.loc[self.measure, ["difference", "low", "high"]]
        title, sign = ALL_TITLES[self.measure], -1 if self.measure in ALL_LOWER else 1
        bounds = f"95 % interval of {self.names[0]} minus {self.names[1]} {low:.3f} to {high:.3f}"
        size = f"by {abs(difference):.3f} {title}, {bounds} over {self.n_drawn} {self.unit}"
        first, second = self.names if sign * difference >= 0 else self.names[::-1]
        if np.isnan(low):
            return f"Nothing can be claimed about {title}: there is no interval, as of {self.n_drawn} {self.unit}."
        if low > 0 or high < 0:
            return f"{first} is better than {second} on unheard {self.unit} like these ({size})."
        ending = (
            f" Clip by clip they differ (McNemar, p = {self.p_value:.2g}), but not by more than {self.unit} do."
            if self.p_value < 1 - LEVEL and self.unit == "speakers" and self.measure not in ALL_LOWER
            else ""
        )
        return f"It cannot be claimed that {first} is better than {second} ({size}).{ending}"

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON knows it."""
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

    def to_json(self, path: str | Path) -> None:
        """
        Write the comparison as JSON.

        Parameters
        ----------
        path : path-like
            Replaced if it exists, once the new content is complete.
        """
        with whole_file(path) as file:
            file.write(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n")

    def __str__(self) -> str:
        """A table of differences, McNemar's counts, and the claim."""
        width = max(10, *(len(name) + 2 for name in self.names))
        titles = {name: ALL_TITLES[name] for name in self.differences.index}
        first = max(10, *(len(title) + 1 for title in titles.values()))
        lines = [
            f"{'':<{first}}{self.names[0]:>{width}}{self.names[1]:>{width}}{'difference':>12}{'95 % interval':>20}"
        ]
        for name, title in titles.items():
            a, b, difference, low, high = self.differences.loc[name]
            bounds = f"{low:.3f} to {high:.3f}"
            lines.append(f"{title:<{first}}{a:>{width}.3f}{b:>{width}.3f}{difference:>12.3f}{bounds:>20}")
        lines += [
            "",
            f"Of {self.n_clips} clips, {self.only_a} are right with {self.names[0]} only and {self.only_b} with {self.names[1]} "
            f"only (exact McNemar test, p = {self.p_value:.2g}).",
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
        Evaluations, their `predictions`, or the CSV files that `gendiffclf evaluate --predictions` writes.
    measure : {"uar", "wa", "macro_f1", "log_loss", "ece", "jensen_shannon", "cross_entropy", "majority_accuracy"}, default="uar"
        What the claim is about; the last three need votes.
    names : tuple of str, default=("a", "b")
        What to call them.
    random_state : int, default=0
        Of the bootstrap.

    Returns
    -------
    comparison : Comparison
        `print` it, or read `claim`.

    Raises
    ------
    ValueError
        If they do not hold the same clips with the same labels in the same folds, or there are no votes for a measure that
        needs them.

    Notes
    -----
    Votes may be in one of the evaluations only, so that a classifier that learnt from votes can be compared with one that
    learnt from the majority.

    Choose measure and systems before looking: of twenty comparisons of equals, one claims a difference.

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
    'logistic regression is better than chance on unheard speakers like these (by 0.500 UAR, ...
    """
    check_choice("measure", measure, tuple(ALL_TITLES))
    first, second = _predictions(a, "a"), _predictions(b, "b")
    classes, second = _matched(first, second)
    names_of_voices, voice = np.unique(first["voice"].to_numpy().astype(str), return_inverse=True)
    n_drawn = len(names_of_voices)
    tallies = [tally_by(table, classes, voice, n_drawn) for table in (first, second)]
    (of_a, drawn_a), (of_b, drawn_b) = draw_measures(tallies, random_state)
    rows: dict[str, tuple[float, ...]] = {}
    for name in MEASURES:
        bounds = interval(drawn_a[name] - drawn_b[name], n_drawn)
        rows[name] = (of_a[name], of_b[name], of_a[name] - of_b[name], *bounds)
    votes = _shared_votes(first, second)
    if votes is not None:
        rows |= compare_votes((first, second), votes, classes, voice, n_drawn, random_state)
    elif measure in VOTE_TITLES:
        raise ValueError(
            f"Got measure={measure!r} for evaluations without votes, expected one of {list(MEASURES)}; name the columns of "
            "votes when reading the corpus (raters or votes, --rater-columns or --votes-columns)."
        )
    right = [(table["predicted"] == table["label"]).to_numpy() for table in (first, second)]
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return Comparison(
        names=names,
        differences=type(first).from_dict(rows, orient="index", columns=["a", "b", "difference", "low", "high"]),
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
        pandas = require("pandas")
        if not Path(given).is_file():
            raise ValueError(f"Got {os.fspath(given)!r}, which is no file, expected predictions as CSV.")
        text = pandas.read_csv(given, dtype=str, keep_default_na=False)
        numbers = [column for column in text if column.startswith(("p_", PREFIX))]
        table = text.assign(**{column: pandas.to_numeric(text[column]) for column in numbers})
    else:
        table = given
    missing = [column for column in ("path", "fold", "voice", "label", "predicted") if column not in table]
    if missing:
        raise ValueError(
            f"Got {name} without {', '.join(missing)}, expected an Evaluation, its predictions, or the file that "
            "`gendiffclf evaluate --predictions` writes."
        )
    # As text, so that a file can be compared with what is in memory.
    plain = {column: table[column].astype(str) for column in ("path", "fold", "voice", "label", "predicted")}
    places = [column for column in ("path", "start", "end") if column in table]
    number = table.groupby(places).cumcount().astype(str)  # the same clip may be tested in several folds
    index = table[places].astype(str).agg("\t".join, axis=1) + "\t" + number
    return table.assign(**plain).set_axis(index, axis=0)


def _shared_votes(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame | None:
    """Shares of votes of either table, which must not differ; None if neither has any."""
    found = [votes for votes in (votes_of(first), votes_of(second)) if votes is not None]
    if not found:
        return None
    if len(found) == 2 and not (list(found[0]) == list(found[1]) and np.allclose(found[0], found[1])):
        raise ValueError("Got a and b with different votes, expected the same; evaluate both on one table.")
    return found[0]


def _matched(first: pd.DataFrame, second: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """The labels that both have probabilities for, and the second table in the order of the first."""
    classes = [sorted(c.removeprefix("p_") for c in table if c.startswith("p_")) for table in (first, second)]
    if classes[0] != classes[1]:
        raise ValueError(f"Got a with the labels {classes[0]} and b with {classes[1]}, expected the same.")
    if set(first.index) != set(second.index):
        n_other = len(set(first.index) ^ set(second.index))
        raise ValueError(
            f"Got a with {len(first)} clips and b with {len(second)}, {n_other} of them in one only, expected the same clips; "
            "evaluate both on one table."
        )
    second = second.loc[first.index]
    for column, what in (("label", "labels"), ("fold", "folds"), ("voice", "speakers")):
        n_other = int((first[column] != second[column]).sum())
        if n_other:
            raise ValueError(
                f"Got a and b with different {what} for {n_other} of {len(first)} clips, expected the same; evaluate both with "
                "the same folds, n_folds and random_state (--folds, --n-folds, --seed)."
            )
    return np.array(classes[0]), second
