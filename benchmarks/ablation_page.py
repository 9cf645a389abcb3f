"""The page of the ablation, made from its records alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .ablation import AGREEMENT, SOLVERS, STEPS, Part, all_parts
from .markdown import NOT_MEASURED, circumstances, number, runs_circumstances, table_text
from .provenance import read_record
from .records import SCHEMA, Record, RecordStore
from .summary import HIGHER_IS_BETTER, bootstrap, current, means, runs
from .verdicts import GAIN, LOSS, difference, verdict

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# What each part is worth

The default classifier beside variants that differ from it, or from the reference that heads a table, in one thing. Differences
are a variant's value less the reference's on the same split, as means over tables of means over splits, with 95 % bootstrap
intervals that draw tables, and splits within them. Accuracy is in points of a percent, more is better; of log-loss and ECE less
is better. A bold difference has an interval without zero; with as many comparisons as here, one in twenty has by chance alone.
Time is processor time of the fits in units of the reference's; a dash is where a fit was shared.
`make bench-ablation` measures all, `python -m benchmarks ablation --only PART` one part: {parts}.
"""
MEASURES = {"accuracy": (100, 2), "log_loss": (1, 3), "ece": (1, 3)}
"""Scale and digits."""
AGREEMENT_TEXT = """
## Solver and steps of the exact path

Share of test rows, in percent, whose nearest code at the end of transport is that of the most probable class; the lowest of the
runs in parentheses. Predictions come from the probabilities and depend on neither solver nor steps.
"""


def ablation_page(folder: Path) -> str:
    """
    Text of the page.

    Parameters
    ----------
    folder : Path
        Of the records.
    """
    records = [record for record in current(RecordStore(folder).read()) if record["schema"] == SCHEMA]
    blocks = [HEADER.format(parts=", ".join(f"`{key}`" for key in [*all_parts(), AGREEMENT]))]
    if records:
        tables = sorted({record["table"] for record in records})
        blocks.append(f"\nTables: {', '.join(tables)}; splits of each: {len({r['split'] for r in records})}.\n")
    for part in all_parts().values():
        blocks.append(f"\n## {part.title}\n\n{part.text}\n{_part(part, records)}")
    blocks.append(_agreement(read_record(folder / f"{AGREEMENT}.json")))
    return "".join([*blocks, runs_circumstances(records, "default") if records else ""])


def _part(part: Part, records: list[Record]) -> str:
    """The table of a part, and what it says in words."""
    reference = part.choices[0].label
    found = runs(records, [choice.label for choice in part.choices])
    if found.empty or reference not in found["accuracy"] or len(found["accuracy"].columns) < 2:
        return NOT_MEASURED
    check_same_defaults(part, records)
    less = {measure: found[measure].sub(found[measure][reference], axis=0) for measure in MEASURES}
    intervals = {measure: bootstrap(values) for measure, values in less.items()}
    seconds = found["fit_cpu_seconds"].sum()
    rows = []
    for choice in (choice for choice in part.choices if choice.label in found["accuracy"]):
        cells = [
            difference(intervals[measure][choice.label], scale, digits).replace(" (", "<br>(")
            if choice.label != reference
            else number(scale * means(found[measure])[reference], digits)
            for measure, (scale, digits) in MEASURES.items()
        ]
        time = "–" if choice.after else number(seconds[choice.label] / seconds[reference], 2)
        rows.append([choice.name, *cells, time])
    return table_text(("Choice", "Accuracy", "Log-loss", "ECE", "Time"), rows) + _in_words(part, less["log_loss"])


def _in_words(part: Part, less: pd.DataFrame) -> str:
    """Which choices have better log-loss than the reference, which worse, and which neither."""
    intervals = bootstrap(less)
    said = []
    for kind, text in ((GAIN, "better than the reference"), (LOSS, "worse"), ("", "no difference beyond chance")):
        names = [
            choice.name
            for choice in part.choices[1:]
            if choice.label in less and verdict(intervals[choice.label], "log_loss" in HIGHER_IS_BETTER) == kind
        ]
        if names:
            said.append(f"{text}: {', '.join(names)}")
    return f"\nIn log-loss, {'; '.join(said)}.\n"


def check_same_defaults(part: Part, records: list[Record]) -> None:
    """
    Refuse to compare with a reference of other defaults.

    Raises
    ------
    ValueError
        If a choice differs from the reference in more than its parameters.
    """
    own = {record["label"]: record["configuration"] for record in records}
    reference = part.choices[0]
    for choice in part.choices[1:]:
        changed = {f"estimator__{name}" for name in {**reference.parameters, **choice.parameters}} | {
            "after",
            "estimator",
        }
        found = [
            {name: value for name, value in own[label].items() if name.partition("__path__")[0] not in changed}
            for label in (reference.label, choice.label)
            if label in own
        ]
        if any(parameters != found[0] for parameters in found):
            raise ValueError(
                f"Got records of {choice.label!r} and {reference.label!r} with different defaults, expected one difference; "
                "delete the older records and run again."
            )


def _agreement(record: Record | None) -> str:
    if record is None:
        return AGREEMENT_TEXT + NOT_MEASURED
    rows = []
    for solver in SOLVERS:
        values = 100 * np.array([[run["shares"][solver][str(n)] for n in STEPS] for run in record["runs"]])
        rows.append([solver, *(f"{column.mean():.1f}<br>({column.min():.1f})" for column in values.T)])
    table = table_text(["Steps", *(f"N = {n}" for n in STEPS)], rows)
    return AGREEMENT_TEXT + table + circumstances(record, ("scikit-learn", "torch"))
