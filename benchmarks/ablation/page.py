"""The page of the ablation, made from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..markdown import NOT_MEASURED, number, runs_circumstances, table_text
from ..provenance import read_record
from ..records import SCHEMA, Record, RecordStore
from ..summary import Comparison, Interval, bootstrap, compare, current
from ..verdicts import GAIN, LOSS, difference, verdict
from . import AGREEMENT, agreement
from .parts import Part, all_parts

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# What each part is worth

The default classifier beside variants that differ from it, or from the reference that heads a table, in one thing. It is made
by `make bench-ablation`; `python -m benchmarks ablation --only PART` measures one part: {parts}.
"""
MEASURES = """
Differences are a variant's value less the reference's on the same split, as means over tables of means over splits, with 95%
bootstrap intervals that draw tables, and splits within them. Accuracy is in points of a percent, more is better; of log-loss,
Brier score and ECE less is better. A difference whose interval excludes zero is bold. With as many comparisons as on this
page, one interval in twenty or more excludes zero by chance alone, the more so as the tables are few. Time is processor time of
the fits, in units of the reference's, early stopping included; a dash is where a fit was shared.
"""
PROPER = ("log_loss", "brier", "ece")
REFERENCE = "default"
METRICS = {"accuracy": (100, 2, True), "log_loss": (1, 4, False), "brier": (1, 4, False), "ece": (1, 4, False)}
"""Scale, digits and whether more is better."""


def ablation_page(records_folder: Path) -> str:
    """
    Text of the page.

    Parameters
    ----------
    records_folder : Path
        Folder of the records.
    """
    records = [r for r in current(RecordStore(records_folder).read()) if r["schema"] == SCHEMA]
    header = HEADER.format(parts=", ".join([f"`{part.key}`" for part in all_parts()] + [f"`{agreement.KEY}`"]))
    agreed = agreement.section(read_record(records_folder / AGREEMENT))
    if not records:
        return header + NOT_MEASURED + agreed
    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(record["label"], []).append(record)
    blocks = [header, _extent(records), MEASURES]
    for part in all_parts():
        comparison = measured_part(part, by_label)
        blocks.append(f"\n## {part.title}\n\n{part.text}\n")
        blocks.append(NOT_MEASURED if comparison is None else _part(part, comparison))
    return "".join([*blocks, agreed, runs_circumstances(records, REFERENCE)])


def measured_part(part: Part, by_label: dict[str, list[Record]]) -> Comparison | None:
    """The choices of a part on the runs that all measured ones share; None without the reference or another."""
    own = [record for choice in part.choices for record in by_label.get(choice.label, [])]
    comparison = compare(own) if own else None
    if comparison is None or part.choices[0].label not in comparison.labels or len(comparison.labels) < 2:
        return None
    check_same_defaults(part, by_label)
    return comparison


def check_same_defaults(part: Part, by_label: dict[str, list[Record]]) -> None:
    """
    Refuse to compare with a reference of other defaults.

    Raises
    ------
    ValueError
        If a choice differs from the reference in more than its parameters.
    """
    reference = part.choices[0]
    for choice in part.choices[1:]:
        ours = {f"estimator__{name}" for name in {**reference.parameters, **choice.parameters}} | {"after", "estimator"}
        found = [
            {name: v for name, v in record["configuration"].items() if name.partition("__path__")[0] not in ours}
            for label in (reference.label, choice.label)
            for record in by_label.get(label, [])
        ]
        if any(parameters != found[0] for parameters in found):
            raise ValueError(
                f"Got records of {choice.label!r} and {reference.label!r} with different defaults, expected one difference; "
                "delete the older records and run again."
            )


def _extent(records: Sequence[Record]) -> str:
    tables = sorted({record["table"] for record in records})
    splits = len({record["split"] for record in records})
    sizes = [record["n_train"] + record["n_test"] for record in records]
    rows = f"{min(sizes)} rows" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} rows"
    return (
        f"\nMeasured on {splits} {'split' if splits == 1 else 'splits'} of each of {len(tables)} tables: {', '.join(tables)}, of "
        f"{rows}. Larger tables may come out otherwise.\n"
    )


def _part(part: Part, comparison: Comparison) -> str:
    reference, *others = (choice for choice in part.choices if choice.label in comparison.labels)
    differences = {metric: bootstrap(comparison.difference(metric, reference.label)) for metric in METRICS}
    accuracy = 100 * comparison.mean("accuracy")
    time = comparison.fit_time_ratio(reference.label, "fit_cpu_seconds")
    rows = [
        [
            reference.name,
            number(accuracy[reference.label], 2),
            "–",
            *[number(comparison.mean(metric)[reference.label], METRICS[metric][1]) for metric in PROPER],
            "1.00",
        ]
    ]
    for choice in others:
        cells = [
            difference(differences[metric][choice.label], scale, digits)
            for metric, (scale, digits, _) in METRICS.items()
        ]
        spent = "–" if choice.after else number(time[choice.label], 2)
        rows.append([choice.name, number(accuracy[choice.label], 2), *cells, spent])
    header = ("Choice", "Accuracy, %", "Difference, points", "Log-loss", "Brier", "ECE", "Time")
    said = "".join(
        f"- {title}: {_in_words({choice.name: differences[metric][choice.label] for choice in others}, more)}\n"
        for title, metric, more in (("Accuracy", "accuracy", True), ("Brier score", "brier", False))
    )
    note = "The first row has the reference's own values, the others have differences from them."
    return f"{table_text(header, rows)}\n{note}\n\n{said}"


def _in_words(found: dict[str, Interval], more_is_better: bool) -> str:
    """Which choices are better than the reference, which worse, and which neither."""
    said = []
    for kind, text in ((GAIN, "better than the reference"), (LOSS, "worse"), ("", "no difference beyond chance")):
        names = [name for name, interval in found.items() if verdict(interval, more_is_better) == kind]
        if names:
            said.append(f"{text}: {'; '.join(names)}")
    return ". ".join(part[0].upper() + part[1:] for part in said) + "."


def write_ablation_page(records_folder: Path, page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(ablation_page(records_folder))
