"""Suspect labels beside cleanlab, coverage of prediction sets beside MAPIE, and votes beside repeated rows."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from gendiffclf import GenerativeTransportClassifier

from .data import N_SPLITS, Table, chosen_tables, load_table, split_rows
from .markdown import circumstances, number, table_text
from .models import create_model
from .provenance import provenance, write_record

RESULTS = Path("benchmarks/results/labels.json")
PAGE = "labels.md"
FLIPPED = (0.1, 0.2)
LEVELS = (0.8, 0.9, 0.95)
VOTES = (5, 50)
"""Votes a row."""
ROUNDS = 7
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
"""Of cleanlab."""
PEER = "logreg"
NAMES = {
    "ours": "`label_quality`",
    **{f"cleanlab {method}": f"cleanlab, `{method}`, the same probabilities" for method in METHODS},
    "cleanlab logreg": "cleanlab, `self_confidence`, logistic regression by 5-fold cross-validation",
}
MODELS = {
    "ours": "ours, `SplitConformalClassifier` on held-out estimates",
    "ours without groups": "ours without `groups`",
    PEER: "logistic regression, `CrossConformalClassifier`",
}
LABELS_TEXT = """
Area under the precision-recall curve of finding labels that were flipped to another class at random, mean over {n} tables
({tables}), on up to {max_train} training rows of one split:
"""
SETS_TEXT = """
Share of test rows whose set holds their class (and the mean size of sets), mean over {n} tables ({tables}) and {splits} splits,
with up to {max_train} training rows:
"""
GROUPS_TEXT = """
The same for tables of speakers that training had not heard ({tables}), which break the assumption:
"""
VOTES_TEXT = """
`fit_votes` beside `fit` to every row once a vote, with the copies of a row as a group, on {n} rows of {table}; seconds of the
processor, medians of fits in turn after one of each that does not count:
"""


class Probabilities(ClassifierMixin, BaseEstimator):
    """Takes probabilities for features, as in docs/labels.md."""

    def __init__(self, classes: Any) -> None:
        self.classes = classes

    def fit(self, X: Any, y: Any) -> Probabilities:
        """Set the classes."""
        self.classes_ = np.asarray(self.classes)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """X."""
        return np.asarray(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class."""
        return self.classes_[np.argmax(X, axis=1)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help="names, comma between (default: all)")
    parser.add_argument("--max-train", type=int, default=600, help="training rows at most (default: %(default)s)")
    parser.add_argument(
        "--splits", type=int, default=N_SPLITS, help="splits of each table for sets (default: %(default)s)"
    )
    parser.add_argument("--votes", default="sk_digits", help="table that gets votes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, record after each table, and print."""
    record = {
        **provenance(arguments.command_line),
        "max_train": arguments.max_train,
        "splits": arguments.splits,
        "suspects": [],
        "sets": [],
        "votes": [
            measure_votes(load_table(arguments.votes, arguments.data_dir), arguments.max_train, n_votes)
            for n_votes in VOTES
        ],
    }
    for name in chosen_tables(arguments.tables, arguments.data_dir):
        table = load_table(name, arguments.data_dir)
        if table.groups is None:
            record["suspects"] += [
                {"table": name, **found}
                for share in FLIPPED
                for found in measure_suspects(table, share, arguments.max_train)
            ]
        for split in range(arguments.splits):
            record["sets"] += [
                {"table": name, "split": split, "grouped": table.groups is not None, **found}
                for found in measure_sets(table, split, arguments.max_train)
            ]
        print(f"{name}: measured", flush=True)
        write_record(record, arguments.output)
    print(labels_text(record))
    return 0


def _some(rows: np.ndarray, n: int) -> np.ndarray:
    """A random choice of so many rows, by the seed 0."""
    return np.random.default_rng(0).permutation(rows)[:n]


def flip(y: np.ndarray, share: float) -> np.ndarray:
    """Labels of which each is another one with the probability `share`, drawn evenly from the rest; seed 0."""
    rng = np.random.default_rng(0)
    classes, numbers = np.unique(y, return_inverse=True)
    moved = (numbers + rng.integers(1, len(classes), len(y))) % len(classes)
    return classes[np.where(rng.random(len(y)) < share, moved, numbers)]


def measure_suspects(table: Table, share: float, max_train: int) -> list[dict[str, Any]]:
    """Average precision of each way to find flipped labels among training rows."""
    from cleanlab.rank import get_label_quality_scores

    rows = _some(split_rows(table, 0)[0], max_train)
    X, y = table.X[rows], table.y[rows]
    noisy = flip(y, share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer rows than folds
        fitted = GenerativeTransportClassifier(random_state=0).fit(X, noisy)
        peer = cross_val_predict(create_model(PEER), X, noisy, method="predict_proba", cv=5)
    index, probabilities = fitted.held_out_index_, fitted.held_out_proba_
    numbers = np.searchsorted(fitted.classes_, noisy)
    scores = {"ours": probabilities[np.arange(len(index)), numbers[index]]}
    for method in METHODS:
        scores[f"cleanlab {method}"] = get_label_quality_scores(numbers[index], probabilities, method=method)
    scores["cleanlab logreg"] = get_label_quality_scores(numbers, peer)[index]
    wrong = (noisy != y)[index]
    return [
        {
            "share": share,
            "way": way,
            "average_precision": float(average_precision_score(wrong, -score)),
            "n_rows": len(index),
        }
        for way, score in scores.items()
    ]


def measure_sets(table: Table, split: int, max_train: int) -> list[dict[str, Any]]:
    """Coverage and mean size of prediction sets at each of `LEVELS`, of ours and of a peer."""
    from mapie.classification import CrossConformalClassifier, SplitConformalClassifier

    train, test = split_rows(table, split)
    train = _some(train, max_train)
    X, y, X_test, y_test = table.X[train], table.y[train], table.X[test], table.y[test]
    groups = None if table.groups is None else table.groups[train]
    found = []

    def add(model: str, member: np.ndarray, classes: np.ndarray) -> None:
        known = np.isin(y_test, classes)
        place = np.where(known, np.searchsorted(classes, y_test) % len(classes), 0)
        covered = member[np.arange(len(y_test)), place] & known[:, None]  # (n, levels)
        found.extend(
            {"model": model, "level": level, "coverage": float(share), "size": float(size), "n_test": len(test)}
            for level, share, size in zip(LEVELS, covered.mean(0), member.sum(1).mean(0), strict=True)
        )

    ways = {"ours": groups} if groups is None else {"ours": groups, "ours without groups": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, given in ways.items():
            fitted = GenerativeTransportClassifier(random_state=0).fit(X, y, groups=given)
            columns = Probabilities(fitted.classes_).fit(None, None)
            sets = SplitConformalClassifier(columns, confidence_level=list(LEVELS), prefit=True)
            sets.conformalize(fitted.held_out_proba_, y[fitted.held_out_index_])
            add(name, sets.predict_set(fitted.predict_proba(X_test))[1], fitted.classes_)
        peer = CrossConformalClassifier(create_model(PEER), confidence_level=list(LEVELS), cv=5, random_state=0)
        peer.fit_conformalize(X, y, groups=groups)
        add(PEER, peer.predict_set(X_test)[1], np.unique(y))
    return found


def measure_votes(table: Table, max_train: int, n_votes: int) -> dict[str, Any]:
    """Processor seconds of `fit_votes` and of a fit to repeated rows, and how far their probabilities are apart."""
    rows = _some(split_rows(table, 0)[0], max_train)
    X, (classes, y) = table.X[rows], np.unique(table.y[rows], return_inverse=True)
    shares = 0.1 / (len(classes) - 1) + (0.9 - 0.1 / (len(classes) - 1)) * np.eye(len(classes))[y]
    votes = np.random.default_rng(0).multinomial(n_votes, shares)
    row, label = np.repeat(np.arange(len(X)), n_votes), np.concatenate([np.repeat(classes, counts) for counts in votes])
    ours, repeated = (GenerativeTransportClassifier(random_state=0) for _ in range(2))
    fits = {
        "seconds": lambda: ours.fit_votes(X, votes, classes),
        "repeated_seconds": lambda: repeated.fit(X[row], label, groups=row),
    }
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(ROUNDS + 1):
        for name, fit in fits.items():
            start = time.process_time()
            fit()
            seconds[name].append(time.process_time() - start)
    return {
        "table": table.name,
        "n_rows": len(X),
        "n_votes": n_votes,
        "n_repeated": len(row),
        # The first fit pays for imports.
        **{name: float(np.median(values[1:])) for name, values in seconds.items()},
        "difference": float(np.abs(ours.predict_proba(X) - repeated.predict_proba(X)).max()),
    }


def mean_precisions(record: dict[str, Any]) -> dict[str, list[float]]:
    """Average precision of each ranking at each of `FLIPPED`, means over tables."""
    return {
        way: [
            float(
                np.mean([r["average_precision"] for r in record["suspects"] if (r["way"], r["share"]) == (way, share)])
            )
            for share in FLIPPED
        ]
        for way in NAMES
    }


def suspects_text(record: dict[str, Any]) -> str:
    """What the record says of suspect labels, as Markdown."""
    tables, means = list(dict.fromkeys(run["table"] for run in record["suspects"])), mean_precisions(record)
    best = np.max(list(means.values()), axis=0)
    rows = [
        [NAMES[way], *(number(v, 3, v == b) for v, b in zip(found, best, strict=True))] for way, found in means.items()
    ]
    head = ["Ranking", *(f"{100 * share:.0f} % flipped" for share in FLIPPED)]
    text = LABELS_TEXT.format(n=len(tables), tables=", ".join(tables), max_train=record["max_train"])
    return text + table_text(head, rows)


def mean_sets(record: dict[str, Any], *, grouped: bool) -> dict[str, list[tuple[float, float]]]:
    """Coverage and size of each model at each of `LEVELS`, means over tables of means over splits."""
    runs = [run for run in record["sets"] if run["grouped"] == grouped]
    tables = dict.fromkeys(run["table"] for run in runs)

    def mean(model: str, level: float, name: str) -> float:
        own = [run for run in runs if (run["model"], run["level"]) == (model, level)]
        return float(np.mean([np.mean([run[name] for run in own if run["table"] == table]) for table in tables]))

    models = [model for model in MODELS if any(run["model"] == model for run in runs)]
    return {model: [(mean(model, x, "coverage"), mean(model, x, "size")) for x in LEVELS] for model in models}


def sets_text(record: dict[str, Any]) -> str:
    """What the record says of prediction sets, as Markdown."""
    blocks = []
    for grouped, text in ((False, SETS_TEXT), (True, GROUPS_TEXT)):
        tables = list(dict.fromkeys(run["table"] for run in record["sets"] if run["grouped"] == grouped))
        if not tables:
            continue
        rows = [
            [MODELS[model], *(f"{coverage:.3f} ({size:.2f})" for coverage, size in found)]
            for model, found in mean_sets(record, grouped=grouped).items()
        ]
        blocks.append(
            text.format(n=len(tables), tables=", ".join(tables), splits=record["splits"], max_train=record["max_train"])
            + table_text(["Model", *(f"asked {level}" for level in LEVELS)], rows)
        )
    return "".join(blocks)


def votes_text(record: dict[str, Any]) -> str:
    """What the record says of votes, as Markdown."""
    runs = record["votes"]
    rows = [
        [
            *(f"{run[name]:,}" for name in ("n_votes", "n_repeated")),
            *(number(run[name], 1) for name in ("seconds", "repeated_seconds")),
            f"{run['difference']:.0g}",
        ]
        for run in runs
    ]
    head = ["Votes a row", "Rows repeated", "`fit_votes`, s", "Repeated rows, s", "Largest difference of probabilities"]
    return VOTES_TEXT.format(table=runs[0]["table"], n=runs[0]["n_rows"]) + table_text(head, rows)


def labels_text(record: dict[str, Any]) -> str:
    """What the record says, as Markdown."""
    return votes_text(record) + suspects_text(record) + sets_text(record)


def lead_text(record: dict[str, Any]) -> str:
    """The answer that the page opens with: a line with figures for votes, for suspect labels and for prediction sets."""
    few, *_, many = record["votes"]
    precisions = mean_precisions(record)
    best = np.max([precisions[f"cleanlab {method}"] for method in METHODS], axis=0)
    text = (
        f"\n- Votes: `fit_votes` gives the model of a fit to rows repeated once a vote (largest difference of probabilities: "
        f"{max(run['difference'] for run in record['votes']):.0g}), in {few['seconds'] / few['repeated_seconds']:.2f} times "
        f"its seconds with {few['n_votes']} votes a row and {many['seconds'] / many['repeated_seconds']:.2f} times with "
        f"{many['n_votes']}.\n"
        f"- Suspect labels: with {_each(FLIPPED, 100, 0)} % of the labels flipped, the ranking by `label_quality` has an area "
        f"under the precision-recall curve of {_each(precisions['ours'])}; the best of cleanlab's scores, of the same "
        f"probabilities, has {_each(best)}.\n"
    )
    for grouped, rows in ((False, "like those of training"), (True, "of speakers that training had not heard")):
        if sets := mean_sets(record, grouped=grouped):
            coverages, sizes = zip(*sets["ours"], strict=True)
            text += (
                f"- Prediction sets asked to hold the class of {_each(LEVELS, 100, 0)} % of rows {rows} held it in "
                f"{_each(coverages, 100, 1)} %, with {_each(sizes, digits=2)} classes a set.\n"
            )
            if grouped:
                without = [coverage for coverage, _ in sets["ours without groups"]]
                text = text.rstrip("\n") + f" Without `groups` in `fit` it was {_each(without, 100, 1)} %.\n"
    return text


def _each(values: Any, scale: float = 1, digits: int = 3) -> str:
    """Numbers as a list in words."""
    *first, last = (f"{scale * value:.{digits}f}" for value in values)
    return f"{', '.join(first)} and {last}"


def section(record: dict[str, Any]) -> str:
    """What the record says and how it was made."""
    return labels_text(record) + circumstances(record, ("scikit-learn", "cleanlab", "mapie", "torch"))
