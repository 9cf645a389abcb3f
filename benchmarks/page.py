"""The page of benchmarks, made from the records of `python -m benchmarks tables`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from .data import EMBEDDINGS, SOURCES
from .markdown import number, runs_circumstances, table_text
from .models import NAMES
from .records import Record
from .summary import HIGHER_IS_BETTER, SCORES, best, bootstrap, complete, means, ranks, runs
from .verdicts import difference

FAR = 2
"""Points of accuracy below the best other model that the page names."""
FEW_ROWS, MANY_CLASSES = 400, 8
TAKES_GROUPS = ("logreg_tuned", "svc_rbf", "svc_rbf_c10", "svc_tuned", "realmlp_td", "tabm_d", "xrfm")
FORMATS = {
    "accuracy": ("Accuracy, %", 100, 2),
    "uar": ("UAR, %", 100, 2),
    "log_loss": ("Log-loss", 1, 3),
    "brier": ("Brier", 1, 3),
    "ece": ("ECE", 1, 3),
}
"""Title, scale and digits of each score."""
KINDS: dict[str, Callable[[Record], bool]] = {
    "Embeddings": lambda record: record["table"] in EMBEDDINGS,
    "Other tables": lambda record: record["table"] not in EMBEDDINGS,
    f"Fewer than {FEW_ROWS} rows to learn from": lambda record: record["n_train"] < FEW_ROWS,
    "New speakers": lambda record: record["grouped"],
    f"{MANY_CLASSES} classes or more": lambda record: record["n_classes"] >= MANY_CLASSES,
}
"""What readers come with; a table can be of several kinds."""
HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Benchmarks
"""
EMPTY = """
There are no records yet. `python -m benchmarks tables` makes them, `python -m benchmarks render` then makes this page.
"""
LEAD = """
Which classifier should I take, for what kind of data, and what does it cost? `GenerativeTransportClassifier()` with nothing set
(`ours`) beside its peers on {n_tables} real tables, each split three times.

![Mean accuracy and mean log-loss of each model over its seconds to fit]({images}/benchmark_time.svg)

## Which should I take?

The first three for each kind of data, and where `ours` comes if later, with the processor seconds of a mean fit in parentheses.
Log-loss measures probabilities; less is better. A model is ranked where it was measured on all tables of the kind{lacking}.
"""
ALL_MODELS = """
## All models

Means over {n_tables} tables of means over three splits, {n_runs} runs of each model. UAR is the mean recall of the classes; the
rank is in accuracy, 1 is best. Fit is the mean of processor seconds over all threads.
"""
PROBABILITIES = """
Log-loss is in nats, of probabilities not below 1e-7; the Brier score is summed over classes; ECE is the expected calibration
error of the most probable class in 15 bins of equal width.
"""
DIFFERENCES = """
## Is the difference more than chance?

Each model less `ours`, run by run, with 95 % bootstrap intervals that draw tables, and splits within them. A bold difference has
an interval without zero. Against the best other model in each measure:
"""
RELIABILITY = """
## Reliability

All test rows of all runs pooled; on the diagonal, stated probability is what happens. Grey is the share of rows.

![Accuracy over confidence of each model]({images}/benchmark_reliability.svg)
"""
PROTOCOL = """
## Protocol

Tables are split 70 to 30 and stratified, or into three folds that keep groups (speakers) whole where there are groups.
Settings are those of `benchmarks/models.py`: defaults, but for the tuned logistic regression (C) and the tuned SVM (C,
gamma), which choose on inner folds of the training rows. `ours` and every peer that can use groups gets those of its
training rows: logistic regression, tuned, and the SVMs keep them whole in their inner folds, RealMLP, TabM and xRFM in
their validation part{ungrouped}. Without groups, probabilities of the SVMs are libsvm's.
The tables are few: what comes first on yours, a run of your own tells.

Defaults of `ours` were mostly chosen on parts split off from the training parts of these tables. The test parts were
looked at several times meanwhile: the number of members was settled between two values that had both been measured on
them, and groups were passed after runs without them. As test parts of one split are in training parts of another
besides, figures of `ours` are a little better than new tables would give; those who made the peers had other tables.

Runs took place on machines that did other work too: in {n_busy} of {n_records} runs more processes wanted a core than
there were cores. Seconds by the clock would be unfair; processor seconds, given here, suffer little.

`make bench DATA_DIR=folder OUTPUT=records` measures all models on the tables in `folder/tabular/*.csv.gz` and on those
of scikit-learn; without `DATA_DIR` on the latter alone, and without `OUTPUT` beside the records of this page, of which
no run is repeated (`--again` does). Each run is recorded as it ends, so that a call that was interrupted goes on where
it stopped. `make bench-render` makes this page anew. A table is written by

```python
table = pandas.DataFrame(embeddings).assign(target=labels)  # and group=speakers, where rows belong together
table.to_csv("folder/tabular/mine.csv.gz", index=False)
```
"""
UNGROUPED = "; of records made before that, {labels} had none"


def benchmarks_page(records: Sequence[Record], subject: str, images: str, few_shot: str) -> str:
    """
    Text of the page.

    Parameters
    ----------
    records : sequence of dict
        Current ones, of at least one run.
    subject : str
        Label that the page is about.
    images : str
        Folder of the plots, relative to the page.
    few_shot : str
        Section on new classes.
    """
    found = runs(records, complete(records, subject))
    n_tables = found.index.get_level_values(0).nunique()
    blocks = [
        HEADER,
        LEAD.format(n_tables=n_tables, images=images, lacking=_lacking(records, found)),
        _kinds(records, subject),
    ]
    blocks += [ALL_MODELS.format(n_tables=n_tables, n_runs=len(found)), _costs(found, subject), PROBABILITIES]
    blocks += [_probabilities(found, subject), _incomplete(records, found, subject)]
    if subject in found["accuracy"] and len(found["accuracy"].columns) > 1:
        blocks += [DIFFERENCES, _against_best(found, subject), _against_each(found, subject)]
    blocks += [
        _each_table(records, subject),
        RELIABILITY.format(images=images),
        few_shot,
        _data(records),
        _protocol(records),
        runs_circumstances(records, subject),
    ]
    return "".join(blocks)


def scores_by_table(records: Sequence[Record]) -> pd.DataFrame:
    """Mean over splits of every score and of the seconds, one row per table and label."""
    columns = ["table", "label", *SCORES, "fit_cpu_seconds", "predict_seconds"]
    return pd.DataFrame(records)[columns].groupby(["table", "label"]).mean().round(5)


def _named(label: str, subject: str) -> str:
    title = NAMES.get(label, label)
    return f"**{title}**" if label == subject else title


def _scaled(values: pd.Series, measure: str, label: str, is_best: bool = False) -> str:
    _, scale, digits = FORMATS[measure]
    return number(scale * values[label], digits, is_best)


def _kinds(records: Sequence[Record], subject: str) -> str:
    rows = []
    for kind, belongs in {"All": lambda record: True, **KINDS}.items():
        own = [record for record in records if belongs(record)]
        if not own:
            continue
        found = runs(own, complete(own, subject))
        tables = found.index.get_level_values(0).nunique()
        seconds = means(found["fit_cpu_seconds"])
        cells = [_podium(means(found[measure]), measure, seconds, subject) for measure in ("accuracy", "log_loss")]
        rows.append([f"{kind} ({tables})", *cells])
    return table_text(("Data (tables)", "Accuracy, % (fit, s)", "Log-loss (fit, s)"), rows, numbers=False)


def _lacking(records: Sequence[Record], found: pd.DataFrame) -> str:
    """Which models were not measured on all tables, and on how many they were."""
    tables: dict[str, set[str]] = {}
    for record in records:
        tables.setdefault(record["label"], set()).add(record["table"])
    named = [f"{NAMES.get(k, k)} ({len(own)})" for k, own in sorted(tables.items()) if k not in found["accuracy"]]
    return f"; fewer tables have {', '.join(named)}" if named else ""


def _podium(values: pd.Series, measure: str, seconds: pd.Series, subject: str) -> str:
    ordered = list(values.sort_values(ascending=measure not in HIGHER_IS_BETTER, kind="stable").index)
    shown = [label for place, label in enumerate(ordered) if place < 3 or label == subject]
    return "<br>".join(
        f"{ordered.index(label) + 1}. {_named(label, subject)} {_scaled(values, measure, label)} ({_seconds(seconds[label])})"
        for label in shown
    )


def _seconds(seconds: float) -> str:
    return "<0.1" if seconds < 0.1 else f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"


def _costs(found: pd.DataFrame, subject: str) -> str:
    place, fit = bootstrap(ranks(found["accuracy"])), means(found["fit_cpu_seconds"])
    rows = [
        [
            _named(label, subject),
            *_scores(found, ("accuracy", "uar"), label),
            f"{place[label].mean:.2f}",
            _seconds(fit[label]),
        ]
        for label in found["accuracy"]
    ]
    ratios = [
        f"{fit[subject] / fit[peer]:.2f} times those of {NAMES[peer]}"
        for peer in ("mlp", "catboost")
        if peer in fit and subject in fit
    ]
    spent = f"\nThe processor seconds of `{subject}` are {' and '.join(ratios)}.\n" if ratios else ""
    return table_text(("Model", "Accuracy, %", "UAR, %", "Rank", "Fit, s"), rows) + spent


def _probabilities(found: pd.DataFrame, subject: str) -> str:
    measures = ("log_loss", "brier", "ece")
    order = means(found["log_loss"]).sort_values(kind="stable").index
    rows = [[_named(label, subject), *_scores(found, measures, label)] for label in order]
    return table_text(("Model", *(FORMATS[measure][0] for measure in measures)), rows)


def _scores(found: pd.DataFrame, measures: Sequence[str], label: str) -> list[str]:
    cells = []
    for measure in measures:
        values = means(found[measure])
        cells.append(_scaled(values, measure, label, values[label] == values[best(values, measure)]))
    return cells


def _incomplete(records: Sequence[Record], found: pd.DataFrame, subject: str) -> str:
    """Models that lack tables, beside the subject on those that they have."""
    rows = []
    for label in sorted({record["label"] for record in records} - set(found["accuracy"])):
        pair = runs(records, [label, subject])
        if pair.empty or subject not in pair["accuracy"]:
            continue
        n_tables = pair.index.get_level_values(0).nunique()
        cells = [
            "<br>".join(_scaled(means(pair[measure]), measure, one) for one in (label, subject))
            for measure in ("accuracy", "log_loss", "ece")
        ]
        cells.append("<br>".join(_seconds(means(pair["fit_cpu_seconds"])[one]) for one in (label, subject)))
        rows.append([f"{NAMES.get(label, label)} ({n_tables})<br>{_named(subject, subject)}", *cells])
    if not rows:
        return ""
    text = (
        "\nNot measured on all tables, as they are slow, and so beside `ours` on the number of tables in parentheses:\n"
    )
    return text + table_text(("Model (tables)", "Accuracy, %", "Log-loss", "ECE", "Fit, s"), rows)


def _less(values: pd.DataFrame, subject: str) -> pd.DataFrame:
    return values.drop(columns=subject).sub(values[subject], axis=0)


def _against_best(found: pd.DataFrame, subject: str) -> str:
    rows = []
    for measure, (title, scale, digits) in FORMATS.items():
        values = means(found[measure])
        peer = best(values.drop(subject), measure)
        interval = bootstrap(_less(found[measure], subject))[peer]
        beside = f"{NAMES.get(peer, peer)}<br>{_scaled(values, measure, peer)}"
        rows.append(
            [
                title,
                _scaled(values, measure, subject),
                beside,
                difference(interval, scale, digits).replace(" (", "<br>("),
            ]
        )
    return table_text(("Measure", subject, "Best other", "Difference"), rows)


def _against_each(found: pd.DataFrame, subject: str) -> str:
    measures = ("accuracy", "log_loss", "brier")
    intervals = {measure: bootstrap(_less(found[measure], subject)) for measure in measures}
    rows = [
        [
            _named(label, subject),
            *(
                difference(intervals[measure][label], *FORMATS[measure][1:]).replace(" (", "<br>(")
                for measure in measures
            ),
        ]
        for label in found["accuracy"]
        if label != subject
    ]
    return "\nAgainst each of them:\n" + table_text(("Model", "Accuracy, points", "Log-loss", "Brier"), rows)


def _each_table(records: Sequence[Record], subject: str) -> str:
    """Accuracy and log-loss on each table, beside the best other model that was measured on it."""
    rows, far = [], []
    per_table = pd.DataFrame(records).groupby(["table", "label"])[["accuracy", "log_loss"]].mean().unstack()
    for table, row in per_table.iterrows():
        scores, cells = row.dropna(), [str(table)]
        if subject not in scores["accuracy"] or len(scores["accuracy"]) < 2:
            continue
        for measure in ("accuracy", "log_loss"):
            values = scores[measure]
            peer = best(values.drop(subject), measure)
            leads = best(values[[subject, peer]], measure) == subject
            other = f"{_scaled(values, measure, peer, not leads)} {NAMES.get(peer, peer)}"
            cells.append(f"{_scaled(values, measure, subject, leads)} {subject}<br>{other}")
            if measure == "accuracy" and (gap := 100 * (values[peer] - values[subject])) > FAR:
                far.append(f"{table} by {gap:.2f} points ({NAMES.get(peer, peer)})")
        rows.append(cells)
    if not rows:
        return ""
    behind = f"on: {', '.join(far)}" if far else "on no table"
    return (
        "\n## Each table\n\nMeans over splits, `ours` first, then the best of the others, which is partly luck among so many.\n"
        "Every model's means are in [benchmarks.csv](benchmarks.csv).\n"
        + table_text(("Table", "Accuracy, %", "Log-loss"), rows, numbers=False)
        + f"\n`{subject}` is more than {FAR} points of accuracy below the best other model {behind}.\n"
    )


def _data(records: Sequence[Record]) -> str:
    rows, sources = [], []
    for table, record in sorted({record["table"]: record for record in records}.items()):
        sizes = [str(record["n_train"] + record["n_test"]), str(record["n_features"]), str(record["n_classes"])]
        rows.append([table, *sizes])
        sources.append(f"- {table}: {SOURCES.get(table, 'unknown')}\n")
    return "\n## Tables\n" + table_text(("Table", "Rows", "Features", "Classes"), rows) + "\n" + "".join(sources)


def _protocol(records: Sequence[Record]) -> str:
    """How tables are split, what models get, and which records are of runs without groups or on a busy machine."""
    without = {r["label"] for r in records if r["grouped"] and not r.get("takes_groups")} & set(TAKES_GROUPS)
    labels = ", ".join(NAMES[label] for label in sorted(without))
    return PROTOCOL.format(
        ungrouped=UNGROUPED.format(labels=labels) if labels else "",
        n_busy=sum(map(_busy, records)),
        n_records=len(records),
    )


def _busy(record: Record) -> bool:
    return (record["load_average"] or 0) > record["hardware"]["cores_usable"]
