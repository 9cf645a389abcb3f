"""The page of the ablation, made from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..markdown import commit, machine, number, table_text
from ..provenance import defaults_text
from ..records import Record, RecordStore
from ..summary import Comparison, Interval, bootstrap, compare, current
from ..verdicts import GAIN, LOSS, difference, verdict
from .parts import Choice, Part, all_parts

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# What each part is worth

The default classifier beside variants that differ from it, or from the reference that heads a table, in one thing. Parts
that the default leaves without effect are varied under uniform times, as the paper trains.
"""
PACKAGES = ("python", "scikit-learn", "torch")
NOT_MEASURED = "\nNot measured.\n"
MEASURES = """
Differences are a variant's value less the reference's on the same split, as means over tables of means over splits, with 95%
bootstrap intervals that draw tables, and splits within them. Accuracy is in points of a percent, more is better; of log-loss,
Brier score and ECE less is better. A difference whose interval excludes zero is bold. With as many comparisons as on this
page, one interval in twenty or more excludes zero by chance alone, the more so as the tables are few. Time is processor time of
the fits, in units of the reference's, early stopping included; a dash is where a fit was shared. Nothing here chose a default:
these are test parts.
"""
PROPER = ("log_loss", "brier", "ece")
REFERENCE = "default"
CHANCE = "no difference beyond chance"
SEVERAL_TIMES = ("uniform", "biased", "mixed", "logit_normal")
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
    records = current(RecordStore(records_folder).read())
    if not records:
        return HEADER + NOT_MEASURED
    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(record["label"], []).append(record)
    found = [(part, measured_part(part, by_label)) for part in all_parts()]
    blocks = [HEADER, _extent(records), MEASURES, _regression(by_label), _paper(found)]
    for part, comparison in found:
        blocks.append(f"\n## {part.title}\n\n{part.text}\n")
        blocks.append(NOT_MEASURED if comparison is None else _part(part, comparison))
    return "".join([*blocks, _circumstances(records)])


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
            {name: value for name, value in record["configuration"].items() if name not in ours}
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


def _regression(by_label: dict[str, list[Record]]) -> str:
    """Whether anything that is trained for transport beats the default, which is plain regression."""
    labels = [
        c.label for part in all_parts() for c in part.choices if c.parameters.get("time_sampling") in SEVERAL_TIMES
    ]
    measured = [label for label in dict.fromkeys(labels) if label in by_label]
    comparison = compare([record for label in (REFERENCE, *measured) for record in by_label.get(label, [])])
    if not measured or comparison is None or REFERENCE not in comparison.labels:
        return ""
    said = []
    for metric, title, more in (
        ("accuracy", "accuracy", True),
        ("log_loss", "log-loss", False),
        ("brier", "Brier score", False),
    ):
        intervals = bootstrap(comparison.difference(metric, REFERENCE))
        kinds = [verdict(intervals[label], more) for label in measured]
        said.append(f"in {title} {kinds.count(GAIN)} are better beyond chance and {kinds.count(LOSS)} worse")
    return (
        "\n## Transport or regression\n\nThe default is plain regression onto the codes: trained at t = T alone, and asked "
        f"once. Of the {len(measured)} variants on this page that learn the path, at all its times, {'; '.join(said)}, each "
        "compared with the default. What only such variants offer is several steps and starts: "
        "[Uncertainty](uncertainty.md) measures what these tell.\n"
    )


def _part(part: Part, comparison: Comparison) -> str:
    reference, *others = (choice for choice in part.choices if choice.label in comparison.labels)
    differences = {metric: bootstrap(comparison.difference(metric, reference.label)) for metric in METRICS}
    accuracy = 100 * comparison.mean("accuracy")
    time = comparison.fit_time_ratio(reference.label, "fit_cpu_seconds")
    rows = [
        [
            _name(reference, part),
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
        rows.append([_name(choice, part), number(accuracy[choice.label], 2), *cells, spent])
    header = ("Choice", "Accuracy, %", "Difference, points", "Log-loss", "Brier", "ECE", "Time")
    said = "".join(
        f"- {title}: {_in_words({choice.name: differences[metric][choice.label] for choice in others}, more)}\n"
        for title, metric, more in (("Accuracy", "accuracy", True), ("Brier score", "brier", False))
    )
    note = "The first row has the reference's own values, the others have differences from them."
    return f"{table_text(header, rows)}\n{note}\n\n{said}"


def _name(choice: Choice, part: Part) -> str:
    name = choice.name.replace("_", " ")
    return f"{name} (the paper's)" if choice.name == part.paper else name


def _in_words(found: dict[str, Interval], more_is_better: bool) -> str:
    """Which choices are better than the reference, which worse, and which neither."""
    said = []
    for kind, text in ((GAIN, "better than the reference"), (LOSS, "worse"), ("", "no difference beyond chance")):
        names = [
            name.replace("_", " ") for name, interval in found.items() if verdict(interval, more_is_better) == kind
        ]
        if names:
            said.append(f"{text}: {'; '.join(names)}")
    return ". ".join(part[0].upper() + part[1:] for part in said) + "."


def _paper(found: Sequence[tuple[Part, Comparison | None]]) -> str:
    """The paper's choice of each part less the others: those it is the reference of, or else the reference alone."""
    rows = []
    counts = {metric: dict.fromkeys(("loses", "gains", CHANCE), 0) for metric in ("accuracy", "brier")}
    for part, comparison in found:
        paper = next((choice for choice in part.choices if choice.name == part.paper), None)
        if paper is None or comparison is None or paper.label not in comparison.labels:
            continue
        reference, *others = part.choices
        for other in others if paper is reference else [reference]:
            if other.label not in comparison.labels or other.after:
                continue
            cells, said = [], []
            for metric in ("accuracy", "brier"):
                scale, digits, more = METRICS[metric]
                interval = bootstrap(comparison.difference(metric, other.label))[paper.label]
                cells.append(difference(interval, scale, digits))
                said.append({GAIN: "gains", LOSS: "loses", "": CHANCE}[verdict(interval, more)])
                counts[metric][said[-1]] += 1
            in_words = said[0] if said[0] == said[1] else f"accuracy: {said[0]}; Brier: {said[1]}"
            names = [choice.name.replace("_", " ") for choice in (paper, other)]
            rows.append([part.title, *names, *cells, in_words])
    if not rows:
        return ""
    totals = [
        f"in {title} the paper's choice gains in {counts[metric]['gains']}, loses in {counts[metric]['loses']}, and in "
        f"{counts[metric][CHANCE]} the difference is not beyond chance"
        for metric, title in (("accuracy", "accuracy"), ("brier", "Brier score"))
    ]
    total = f"Of {len(rows)} comparisons, {'; '.join(totals)}."
    header = (
        "Part",
        "Paper",
        "Instead",
        "Accuracy of the paper's less the other's, points",
        "Brier",
        "The paper's choice",
    )
    return f"\n## The paper's choices\n\n{total}\n{table_text(header, rows)}"


def _circumstances(records: Sequence[Record]) -> str:
    dates = sorted(record["date"][:10] for record in records)
    versions = {
        f"{name} {record['versions'][name]}" for record in records for name in PACKAGES if name in record["versions"]
    }
    return "".join(
        [
            "\n## How it was measured\n\n```console\n",
            *sorted({f"{record['command']}\n" for record in records}),
            "```\n\n",
            *sorted({f"- Hardware: {machine(record)}\n" for record in records}),
            f"- Commit: {', '.join(sorted({commit(record) for record in records}))}\n",
            f"- Versions: {', '.join(sorted(versions))}\n",
            f"- Dates: {dates[0]} to {dates[-1]}\n",
            defaults_text(records, REFERENCE),
        ]
    )


def write_ablation_page(records_folder: Path, page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(ablation_page(records_folder))
