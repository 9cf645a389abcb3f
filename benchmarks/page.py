"""What the page of benchmarks and the README's summary say, from the records of `python -m benchmarks tables`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import few_shot, relevance
from .arff import FURTHER
from .data import EMBEDDINGS, SOURCES
from .large import LARGE, NEW
from .markdown import number, table
from .models import named
from .records import FURTHER_TABLES, LARGE_TABLES, TABLES, Record, RecordStore
from .summary import HIGHER_IS_BETTER, SCORES, best, complete, current, less, means, runs

SUBJECT = "ours"
NEAR, FAR = 0.5, 2
"""Points of accuracy below the best other model from which pages list, and name, a table."""
FEW_ROWS, MANY_CLASSES = 400, 8
PACKAGES = ("scikit-learn", "torch", "lightgbm", "xgboost", "catboost", "pytabkit", "xrfm")
"""Packages of the models, whose versions pages name."""
TAKES_GROUPS = ("logreg_tuned", "svc_rbf", "svc_rbf_c10", "svc_tuned", "realmlp_td", "tabm_d", "xrfm")
FORMATS = {
    "accuracy": ("Accuracy, %", 2, 100),
    "uar": ("UAR, %", 2, 100),
    "log_loss": ("Log-loss", 3, 1),
    "brier": ("Brier", 3, 1),
    "ece": ("ECE", 3, 1),
}
"""Title, digits and scale of each score."""
KINDS: dict[str, Callable[[Record], bool]] = {
    "All": lambda record: True,
    "Embeddings": lambda record: record["table"] in EMBEDDINGS,
    "Other tables": lambda record: record["table"] not in EMBEDDINGS,
    f"Fewer than {FEW_ROWS} rows to learn from": lambda record: record["n_train"] < FEW_ROWS,
    "New speakers": lambda record: record["grouped"],
    f"{MANY_CLASSES} classes or more": lambda record: record["n_classes"] >= MANY_CLASSES,
}
"""What readers come with; a table can be of several kinds."""


def context(results: Path) -> dict[str, Any]:
    """Names for the templates; empty without records of the subject and a peer."""
    if not (records := current(RecordStore(results / TABLES.name).read())):
        return {}
    check_same_data(records)
    found = runs(records, complete(records, SUBJECT))
    if SUBJECT not in found["accuracy"] or len(found["accuracy"].columns) < 2:
        return {}
    tables = {record["table"]: record for record in records}
    measured = pd.DataFrame(records).groupby("label")["table"].nunique()
    without = {r["label"] for r in records if r["grouped"] and not r.get("takes_groups")} & set(TAKES_GROUPS)
    behind = _behind(records, sorted(tables))
    return {
        "records": records,
        "packages": PACKAGES,
        "found": found,
        "n_tables": found.index.get_level_values(0).nunique(),
        "n_peers": len(found["accuracy"].columns) - 1,
        "lacking": [f"{_named(k)} ({n})" for k, n in measured.items() if k not in found["accuracy"]],
        "kinds": _kinds(records),
        "models": _models(found, ("accuracy", "uar"), costs=True),
        "probabilities": _models(found, ("log_loss", "brier", "ece")),
        "incomplete": _incomplete(records, found),
        "against_best": _against_best(found),
        "against_each": _against_each(found),
        "each_table": _each_table(records, sorted(tables)),
        "behind": [f"{name} by {gap:.2f} points ({peer})" for name, gap, peer, *_ in behind if gap > FAR],
        "elsewhere": [[name, f"{rows:,}", peer, *found] for name, _, peer, rows, *found in behind],
        "near": NEAR,
        "far": FAR,
        "further": _others(results / FURTHER_TABLES.name, FURTHER),
        "large": _others(results / LARGE_TABLES.name, LARGE),
        "new": _others(results / LARGE_TABLES.name, NEW),
        "few_shot": few_shot.context(results),
        "relevance": relevance.context(results),
        "sizes": [
            [name, r["n_train"] + r["n_test"], r["n_features"], r["n_classes"]] for name, r in sorted(tables.items())
        ],
        "sources": {name: SOURCES.get(name, "unknown") for name in sorted(tables)},
        "ungrouped": ", ".join(_named(label) for label in sorted(without)),
        "n_busy": sum((r["load_average"] or 0) > r["hardware"]["cores_usable"] for r in records),
        "summary": _summary(found),
        "leads": {FORMATS[m][0].removesuffix(", %"): _leads(found, m) for m in ("accuracy", "uar", "log_loss", "ece")},
    }


def _others(folder: Path, tables: Collection[str]) -> dict[str, Any]:
    """Names for a section on other tables; empty without records of the subject and a peer."""
    records = [one for one in current(RecordStore(folder).read()) if one["table"] in tables]
    found = runs(records, complete(records, SUBJECT)) if records else pd.DataFrame()
    if found.empty or SUBJECT not in found["accuracy"] or len(found["accuracy"].columns) < 2:
        return {}
    losses = found["log_loss"].groupby(level=0).mean()
    first = {label: int(n) for label, n in losses.idxmin(axis=1).value_counts().items()}
    others = {label: n for label, n in first.items() if label != SUBJECT}
    return {
        "records": records,
        "tables": list(losses.index),
        "sizes": [min(one["n_train"] for one in records), max(one["n_train"] for one in records)],
        "models": _models(found, ("accuracy", "uar"), costs=True),
        "probabilities": _models(found, ("log_loss", "brier", "ece")),
        "incomplete": _incomplete(records, found),
        "differences": _against_each(found),
        "n_first": first.get(SUBJECT, 0),
        "others": ", ".join(f"{_named(label)} on {n}" for label, n in others.items()),
        "summary": {
            measure: (_scaled(values[SUBJECT], measure), _named(peer), _scaled(values[peer], measure))
            for measure in ("accuracy", "log_loss")
            for values in [means(found[measure])]
            for peer in [best(values.drop(SUBJECT), measure)]
        },
    }


def check_same_data(records: Sequence[Record]) -> None:
    """Raise a ValueError if records of one table name differ in content."""
    digests = pd.DataFrame(records).groupby("table")["data_digest"].nunique()
    if different := list(digests.index[digests > 1]):
        raise ValueError(
            f"Got records of different data for {', '.join(different)}, expected one content per table; "
            "run again with --again, or delete the old records."
        )


def scores_by_table(records: Sequence[Record]) -> pd.DataFrame:
    """Mean over splits of every score and of the seconds, one row per table and label."""
    columns = ["table", "label", *SCORES, "fit_cpu_seconds", "predict_seconds"]
    return pd.DataFrame(records)[columns].groupby(["table", "label"]).mean().round(5)


def _named(label: str) -> str:
    return "**ours**" if label == SUBJECT else named(label)


def _scaled(value: float, measure: str, is_best: bool = False) -> str:
    _, digits, scale = FORMATS[measure]
    return number(scale * value, digits, is_best)


def _seconds(seconds: float) -> str:
    return "<0.1" if seconds < 0.1 else f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"


def _kinds(records: Sequence[Record]) -> str:
    """The first three models for each kind of data, and the subject."""
    rows = []
    for kind, belongs in KINDS.items():
        if not (own := [record for record in records if belongs(record)]):
            continue
        found = runs(own, complete(own, SUBJECT))
        seconds, cells = means(found["fit_cpu_seconds"]), []
        for measure in ("accuracy", "log_loss"):
            values = means(found[measure]).sort_values(ascending=measure not in HIGHER_IS_BETTER, kind="stable")
            cells.append(
                "<br>".join(
                    f"{place}. {_named(label)} {_scaled(value, measure)} ({_seconds(seconds[label])})"
                    for place, (label, value) in enumerate(values.items(), 1)
                    if place <= 3 or label == SUBJECT
                )
            )
        rows.append([f"{kind} ({found.index.get_level_values(0).nunique()})", *cells])
    return table(("Data (tables)", "Accuracy, % (fit, s)", "Log-loss (fit, s)"), rows, numbers=False)


def _models(found: pd.DataFrame, measures: Sequence[str], costs: bool = False) -> str:
    """Means of every model, the best of the first measure first."""
    values = pd.DataFrame({measure: means(found[measure]) for measure in measures})
    ascending = measures[0] not in HIGHER_IS_BETTER
    values = values.loc[list(found["accuracy"])].sort_values(measures[0], ascending=ascending, kind="stable")
    leaders = {measure: values.loc[best(values[measure], measure), measure] for measure in measures}
    place, fit = means(found["accuracy"].rank(axis=1, ascending=False)), means(found["fit_cpu_seconds"])
    rows = [
        [_named(label), *(_scaled(row[m], m, row[m] == leaders[m]) for m in measures)]
        + [f"{place[label]:.2f}", _seconds(fit[label])] * costs
        for label, row in values.iterrows()
    ]
    return table(("Model", *(FORMATS[m][0] for m in measures), *("Rank", "Fit, s") * costs), rows)


def _incomplete(records: Sequence[Record], found: pd.DataFrame) -> str:
    """Models that lack tables, beside the subject on those that they have; empty if none does."""
    rows = []
    for label in sorted({record["label"] for record in records} - set(found["accuracy"])):
        pair = runs(records, [label, SUBJECT])
        if pair.empty or SUBJECT not in pair["accuracy"]:
            continue
        name = f"{_named(label)} ({pair.index.get_level_values(0).nunique()})<br>{_named(SUBJECT)}"
        values = {measure: means(pair[measure])[[label, SUBJECT]] for measure in ("accuracy", "log_loss", "ece")}
        cells = ["<br>".join(_scaled(value, measure) for value in own) for measure, own in values.items()]
        rows.append([name, *cells, "<br>".join(map(_seconds, means(pair["fit_cpu_seconds"])[[label, SUBJECT]]))])
    return table(("Model (tables)", "Accuracy, %", "Log-loss", "ECE", "Fit, s"), rows) if rows else ""


def _against_best(found: pd.DataFrame) -> str:
    rows = []
    for measure, (title, *form) in FORMATS.items():
        values = means(found[measure])
        peer = best(values.drop(SUBJECT), measure)
        cells = [_scaled(values[SUBJECT], measure), f"{_named(peer)}<br>{_scaled(values[peer], measure)}"]
        rows.append([title, *cells, less(found[measure], SUBJECT)[peer].difference(*form)])
    return table(("Measure", SUBJECT, "Best other", "Difference"), rows)


def _against_each(found: pd.DataFrame) -> str:
    intervals = {measure: less(found[measure], SUBJECT) for measure in ("accuracy", "log_loss", "brier")}
    rows = [
        [_named(label), *(own[label].difference(*FORMATS[measure][1:]) for measure, own in intervals.items())]
        for label in intervals["accuracy"]
    ]
    return table(("Model", "Accuracy, points", "Log-loss", "Brier"), rows)


def _beside_best(records: Sequence[Record], name: str, measure: str) -> tuple[float, str, float] | None:
    """The subject's mean on a table, the best other model and its mean; None where either is not measured."""
    own = pd.DataFrame([record for record in records if record["table"] == name]).groupby("label")[measure].mean()
    if SUBJECT not in own or len(own) < 2:
        return None
    peer = best(own.drop(SUBJECT), measure)
    return own[SUBJECT], peer, own[peer]


def _each_table(records: Sequence[Record], names: Sequence[str]) -> str:
    """Accuracy and log-loss on each table, beside the best other model that was measured on it."""
    rows = []
    for name in names:
        cells = []
        for measure in ("accuracy", "log_loss"):
            if (found := _beside_best(records, name, measure)) is None:
                continue
            own, peer, other = found
            leads = own >= other if measure in HIGHER_IS_BETTER else own <= other
            beside = f"{_scaled(other, measure, not leads)} {_named(peer)}"
            cells.append(f"{_scaled(own, measure, leads)} {SUBJECT}<br>{beside}")
        rows += [[name, *cells]] if cells else []
    return table(("Table", "Accuracy, %", "Log-loss"), rows, numbers=False)


def _behind(records: Sequence[Record], names: Sequence[str]) -> list[tuple[str, float, str, int, str, str]]:
    """Tables on which the best other model leads by `NEAR`, the largest lead first: name, lead, model, rows, both accuracies."""
    sizes = {record["table"]: record["n_train"] + record["n_test"] for record in records}
    found = []
    for name in names:
        own, peer, other = _beside_best(records, name, "accuracy") or (0, "", 0)
        if (gap := 100 * (other - own)) >= NEAR:
            found.append((name, gap, _named(peer), sizes[name], number(100 * other, 1), number(100 * own, 1)))
    return sorted(found, key=lambda row: -row[1])


def _summary(found: pd.DataFrame) -> str:
    """Means of each model, the best accuracy first, the subject in bold."""
    measures = (("accuracy", 1, 100), ("log_loss", 3, 1), ("ece", 3, 1), ("fit_cpu_seconds", 1, 1))
    values = {name: means(found[name]) for name, *_ in measures}
    rows = [
        [_named(one), *(number(scale * values[name][one], digits, one == SUBJECT) for name, digits, scale in measures)]
        for one in found["accuracy"]
    ]
    return table(("Model", "Accuracy, %", "Log-loss", "ECE", "Fit, s"), rows)


def _leads(found: pd.DataFrame, measure: str) -> str:
    """Models that the subject leads by a difference of which the interval excludes zero."""
    intervals = less(found[measure], SUBJECT)
    near = [_named(label) for label, one in intervals.items() if one.verdict(measure in HIGHER_IS_BETTER) >= 0]
    return "none" if len(near) == len(intervals) else f"all but {', '.join(near)}" if near else "all"
