"""Make the pages of results and their plots from records alone."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import ablation, figures, onnx, speed, uncertainty
from .ablation.page import write_ablation_page
from .data import SOURCES, SUBSETS
from .few_shot import few_shot_section
from .markdown import number, runs_circumstances, table_text
from .readme import write_readme
from .records import RESULTS, Record, RecordStore
from .speech_page import speech_page
from .speed.page import write_speed_page
from .stored import SUFFIX, add_stored, read_stored
from .summary import HIGHER_IS_BETTER, Comparison, bootstrap, compare, complete_labels, current
from .uncertainty.page import write_uncertainty_page

if TYPE_CHECKING:
    import pandas as pd

FAR = 2
"""Points of accuracy below the best other model that a page names."""
PER_TABLE = {
    "accuracy": ("Accuracy", 100, 2, ", in percent"),
    "log_loss": ("Log-loss", 1, 3, "; less is better"),
    "ece": ("ECE", 1, 3, "; less is better"),
}
"""Title, scale, digits, and what the page says, of each measure that is shown for every table."""
KINDS = {"tables": "Tables", "embeddings": "Embeddings", "small": "Tables of up to 310 rows"}
SPEECH_PAGE = "speech-results.md"
HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Benchmarks
"""
EMPTY = """
There are no records yet. `python -m benchmarks tables` makes them, `python -m benchmarks render` then makes this page.
"""
INTRODUCTION = """
How `GenerativeTransportClassifier()` (`{subject}`) does with its defaults beside what one would take instead, with the
settings of `benchmarks/models.py`, which are defaults or near them. Each table is split three times, 70 to 30 and
stratified, or into three folds that keep groups (speakers) whole where there are groups. Everything on this page is made
from {sources}.

Where a table has groups, `fit` of `ours` is given those of its training rows; the peers cannot take them. On such tables this
helps `ours` a good deal: without groups its probabilities are much worse there.

Defaults of `ours` were mostly chosen on parts split off from the training parts of these tables. The test parts were looked at
several times meanwhile: the number of members was settled between two values that had both been measured on them, and groups were
passed after runs without them. Later changes (the read-out of estimates, no frequencies for many features) were chosen on inner
parts alone. As test parts of one split are in training parts of another besides, its figures are a little
better than new tables would give; those who made the peers had other tables.

`make bench DATA_DIR=folder OUTPUT=records` measures all models on the tables in `folder/tabular/*.csv.gz` and on those of
scikit-learn; without `DATA_DIR` on the latter alone, and without `OUTPUT` beside the records of this page, of which no run is
repeated (`--again` does). Each run is recorded as it ends, so that a call that was interrupted goes on where it stopped.
`make bench-render` makes this page anew, `python -m benchmarks tables --help` lists what can be chosen. A table is written by

```python
table = pandas.DataFrame(embeddings).assign(target=labels)  # and group=speakers, where rows belong together
table.to_csv("folder/tabular/mine.csv.gz", index=False)
```
"""
MEASURES = """
Accuracy and UAR (mean recall of the classes) are in percent. Log-loss is in nats, of probabilities not below
1e-7; the Brier score is summed over classes; ECE is the expected calibration error of the most probable class in 15 bins of
equal width. Values are means over tables of means over splits. Ranks are in accuracy, 1 is best; intervals are 95%
bootstrap intervals that draw tables, and splits within them. Time is the total of all fits in units of `{reference}`'s, by the
clock and of the processors; the latter suffers less from whatever else was running. Models took turns within one of the commands
below, not across them; [Speed](speed.md) has ratios that are side by side.
"""
STORED = """
Models marked *stored* were not measured here: their results on the same splits are read from a file made on another
machine (SHA-256 `{digest}`). Their seconds do not compare, and what the file lacks is left out. In plots they are hollow.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--records", type=Path, default=RESULTS, help="folder of records, others beside it (default: %(default)s)"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"), help="(default: %(default)s)")
    parser.add_argument("--images", type=Path, default=Path("docs/img"), help="(default: %(default)s)")
    parser.add_argument("--subject", default="ours", help="label the page is about (default: %(default)s)")
    parser.add_argument("--reference", default="mlp", help="label whose seconds are the unit (default: %(default)s)")
    parser.add_argument("--peers", type=Path, help="JSON of results measured elsewhere, for models without records")
    parser.add_argument("--readme", type=Path, help="file that gets a summary between its marks")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and its plots, and the pages of other records beside it."""
    measured = current(RecordStore(arguments.records).read())
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    if speech := speech_page(arguments.records.parent):
        path = arguments.page.with_name(SPEECH_PAGE)
        path.write_text(speech)
        print(f"{path}: made")
    _write_other_pages(arguments.records.parent, arguments.page.parent, arguments.images)
    if not measured:
        arguments.page.write_text(HEADER + EMPTY)
        print(f"{arguments.page}: no records in {arguments.records}")
        return 0
    check_same_data(measured)
    stored = [] if arguments.peers is None else read_stored(arguments.peers)
    records = add_stored(measured, stored)
    images = Path(os.path.relpath(arguments.images, arguments.page.parent))
    sources = f"the records in `{_shown(arguments.records)}`"
    if len(records) > len(measured):
        sources += f" and the results in `{arguments.peers.name}`"
    blocks = [HEADER, INTRODUCTION.format(subject=arguments.subject, sources=sources)]
    complete = complete_labels(records)
    whole = compare(records, complete)
    shared = compare(records)
    # A label that ran on more than all others would else be compared with itself alone.
    main = (
        whole if whole is not None and len(whole.labels) > 1 and arguments.subject in whole.labels else shared or whole
    )
    if main is None:
        raise ValueError(f"Got records in {arguments.records} that share no table and split, expected some that do.")
    if arguments.readme is not None:
        write_readme(arguments.readme, main, arguments.subject)
    blocks += _comparison_blocks(main, arguments.subject, arguments.reference)
    blocks += [MEASURES.format(reference=arguments.reference)]
    if len(records) > len(measured):
        blocks += [STORED.format(digest=hashlib.sha256(arguments.peers.read_bytes()).hexdigest()[:12])]
    figures.draw_ranks(arguments.images / "benchmark_ranks.svg", bootstrap(main.ranks()), arguments.subject)
    blocks += [f"\n![Mean rank of each model with its interval]({images.as_posix()}/benchmark_ranks.svg)\n"]
    if shared is not None and set(shared.labels) != set(main.labels):
        blocks += ["\n## On the runs that all models have\n"]
        blocks += _comparison_blocks(shared, arguments.subject, arguments.reference)
    if arguments.subject in main.labels:
        blocks += [_differences(main, arguments.subject)]
    blocks += [_per_kind(main, records, arguments.subject)]
    blocks += [_per_table(main, metric, arguments.subject) for metric in PER_TABLE]
    names = [label for label in main.labels if not label.endswith(SUFFIX)]
    cells = set(main.cells)
    pooled = [record for record in measured if (record["table"], record["split"]) in cells]
    figures.draw_reliability(arguments.images / "benchmark_reliability.svg", pooled, names, arguments.subject)
    blocks += [
        "\n## Reliability\n\nAll test rows of all runs pooled; on the diagonal, stated probability is what happens. "
        "Grey is the share of rows.\n",
        f"\n![Accuracy over confidence of each model]({images.as_posix()}/benchmark_reliability.svg)\n",
    ]
    figures.draw_accuracy_against_time(arguments.images / "benchmark_time.svg", main, arguments.subject)
    blocks += [
        "\n## Accuracy against time to fit\n",
        f"\n![Mean accuracy over mean seconds to fit]({images.as_posix()}/benchmark_time.svg)\n",
        _costs([record for record in pooled if record["label"] in names], names),
        few_shot_section(arguments.records.parent),
        _data(measured),
        runs_circumstances(measured, arguments.subject),
    ]
    arguments.page.write_text("".join(blocks))
    print(f"{arguments.page}: {len(records)} records")
    return 0


def _write_other_pages(results: Path, pages: Path, images: Path) -> None:
    """Pages that say so where nothing is measured yet."""
    write_ablation_page(results / ablation.RESULTS.name, pages / "ablation.md")
    write_uncertainty_page(results / uncertainty.RESULTS.name, pages / "uncertainty.md")
    write_speed_page(results / speed.RESULTS.name, pages / "speed.md", images)
    onnx.write_section(results / onnx.RESULTS.name, pages / onnx.PAGE)
    print(f"{pages}: ablation.md, uncertainty.md and speed.md made")


def check_same_data(records: Sequence[Record]) -> None:
    """
    Refuse to compare on different data.

    Raises
    ------
    ValueError
        If records of one table name differ in content.
    """
    digests: dict[str, set[str]] = {}
    for record in records:
        digests.setdefault(record["table"], set()).add(record["data_digest"])
    if different := sorted(table for table, found in digests.items() if len(found) > 1):
        raise ValueError(
            f"Got records of different data for {', '.join(different)}, expected one content per table; "
            "run again with --again, or delete the old records."
        )


def _comparison_blocks(comparison: Comparison, subject: str, reference: str) -> list[str]:
    ranks = bootstrap(comparison.ranks())
    means = {metric: comparison.mean(metric) for metric in comparison.values}
    lead = {
        # Where some lack it, the best of the others is not the best of all.
        metric: means[metric].max(skipna=False) if metric in HIGHER_IS_BETTER else means[metric].min(skipna=False)
        for metric in ("accuracy", "uar", "log_loss", "brier", "ece")
    }
    best_rank = min(interval.mean for interval in ranks.values())
    seconds = ("fit_seconds", "fit_cpu_seconds") if reference in comparison.labels else ()
    ratios = [comparison.fit_time_ratio(reference, metric) for metric in seconds]
    rows = []
    for label in comparison.labels:
        cells = [f"**{label}**" if label == subject else label]
        for metric, scale, digits in (
            ("accuracy", 100, 2), ("uar", 100, 2), ("log_loss", 1, 4), ("brier", 1, 4), ("ece", 1, 4),
        ):  # fmt: skip
            value = means[metric][label]
            cells.append(number(value * scale, digits, value == lead[metric]))
        rank = ranks[label]
        cells.append(f"{number(rank.mean, 2, rank.mean == best_rank)} ({rank.low:.2f}–{rank.high:.2f})")
        cells.append(number(means["fit_seconds"][label], 2))
        cells += ["–" if label.endswith(SUFFIX) else number(ratio[label], 2) for ratio in ratios]
        rows.append(cells)
    tables = sorted({table for table, _ in comparison.cells})
    header = ["Model", "Accuracy", "UAR", "Log-loss", "Brier", "ECE", "Mean rank (interval)", "Fit, s"]
    header += ["Time", "Processor time"][: len(ratios)]
    return [
        f"\n{len(comparison.cells)} runs of each model, on {len(tables)} tables.\n",
        table_text(header, rows),
    ]


def _differences(comparison: Comparison, subject: str) -> str:
    scales = {"accuracy": (100, 2), "rank": (1, 2), "log_loss": (1, 4), "ece": (1, 4)}
    found = {metric: bootstrap(comparison.difference(metric, subject)) for metric in scales if metric != "rank"}
    ranks = comparison.ranks()
    found["rank"] = bootstrap(ranks.sub(ranks[subject], axis=0))
    rows = []
    for label in comparison.labels:
        if label == subject:
            continue
        cells = [label]
        for metric, (scale, digits) in scales.items():
            interval = found[metric][label]
            low, high = interval.low * scale, interval.high * scale
            cells.append(f"{interval.mean * scale:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
        rows.append(cells)
    if not rows:
        return ""
    header = (f"Model less {subject}", "Accuracy, points", "Rank in accuracy", "Log-loss", "ECE")
    note = "An interval without zero is a difference beyond what the draw of tables and splits explains."
    if len({table for table, _ in comparison.cells}) == 1:
        note = "With one table, intervals say nothing of how others would come out."
    return f"\n## Differences, run by run\n\n{note}\n{table_text(header, rows)}"


def _per_table(comparison: Comparison, metric: str, subject: str) -> str:
    """A measure on each table, and how far the subject is from the best other model."""
    title, scale, digits, text = PER_TABLE[metric]
    found = scale * comparison.per_table(metric)
    others = [label for label in comparison.labels if label != subject]
    with_gap = subject in comparison.labels and others
    best = type(found).max if metric in HIGHER_IS_BETTER else type(found).min
    leads, gaps = best(found, axis=1), best(found[others], axis=1) if others else None
    rows = []
    for table, values in found.iterrows():
        cells = [
            str(table),
            *[number(values[label], digits, values[label] == leads[table]) for label in comparison.labels],
        ]
        rows.append([*cells, f"{values[subject] - gaps[table]:+.{digits}f}"] if with_gap else cells)
    header = ["Table", *comparison.labels, *([f"{subject} less best other"] if with_gap else [])]
    blocks = [f"\n## {title} on each table\n\nMean over splits{text}.\n", table_text(header, rows)]
    if with_gap and metric == "accuracy":
        blocks.append(f"\n{_far_behind(found, subject, others)}\n")
    return "".join(blocks)


def _far_behind(accuracy: pd.DataFrame, subject: str, others: Sequence[str]) -> str:
    """Which tables another model has by more than `FAR` points."""
    gaps = accuracy[others].max(axis=1) - accuracy[subject]
    far = gaps[gaps > FAR].sort_values(ascending=False)
    if far.empty:
        return f"On no table is `{subject}` more than {FAR} points below the best other model."
    named = [f"{table} by {gap:.2f} points ({accuracy.loc[table, others].idxmax()})" for table, gap in far.items()]
    return f"More than {FAR} points below the best other model is `{subject}` on: {', '.join(named)}."


def _costs(records: Sequence[Record], labels: Sequence[str]) -> str:
    rows = []
    for label in labels:
        own = [record for record in records if record["label"] == label]
        fits = [record["fit_seconds"] for record in own]
        memory = [r["peak_rss_bytes"] - r["rss_before_bytes"] for r in own if r["rss_before_bytes"] is not None]
        rows.append(
            [
                label,
                f"{sum(fits) / len(fits):.2f}",
                f"{max(fits):.2f}",
                f"{sum(record['fit_cpu_seconds'] for record in own) / len(own):.2f}",
                f"{1000 * sum(r['predict_seconds'] for r in own) / sum(r['n_test'] for r in own):.3f}",
                f"{max(memory) / 2**20:.0f}" if memory else "–",
            ]
        )
    header = (
        "Model",
        "Fit, s",
        "Longest fit, s",
        "Fit, processor s",
        "Predict, s per 1000 rows",
        "Memory added at most, MiB",
    )
    note = "\nMemory is the peak of a fit less what the process held before; memory kept from fits before it is reused unseen.\n"
    return table_text(header, rows) + note


def _per_kind(comparison: Comparison, records: Sequence[Record], subject: str) -> str:
    """Means of each model over each kind of table; empty where all are of one kind."""
    blocks = []
    for kind, names in SUBSETS.items():
        own = [record for record in records if record["table"] in names and record["label"] in comparison.labels]
        found = compare(own)
        if found is None or set(found.cells) == set(comparison.cells):
            continue
        means = {metric: found.mean(metric) for metric in PER_TABLE}
        rows = [
            [
                f"**{label}**" if label == subject else label,
                *(
                    number(scale * means[metric][label], digits + 1)
                    for metric, (_, scale, digits, _) in PER_TABLE.items()
                ),
            ]
            for label in found.labels
        ]
        names = sorted({table for table, _ in found.cells})
        header = ("Model", *(title for title, *_ in PER_TABLE.values()))
        blocks.append(f"\n### {KINDS[kind]}\n\n{', '.join(names)}.\n{table_text(header, rows)}")
    return "".join(["\n## By kind of table\n", *blocks]) if blocks else ""


def _data(records: Sequence[Record]) -> str:
    rows = []
    for table in sorted({record["table"] for record in records}):
        record = next(record for record in records if record["table"] == table)
        sizes = [str(record["n_train"] + record["n_test"]), str(record["n_features"]), str(record["n_classes"])]
        rows.append([table, *sizes, SOURCES.get(table, "–")])
    return "\n## Tables\n" + table_text(("Table", "Rows", "Features", "Classes", "From"), rows)


def _shown(folder: Path) -> str:
    return folder.name if folder.is_absolute() else folder.as_posix()
