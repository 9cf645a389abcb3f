"""The summary in the README, made from the records that the page of benchmarks is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from .markdown import NOT_MEASURED, number, table_text
from .models import NAMES
from .provenance import read_record
from .records import Record
from .summary import HIGHER_IS_BETTER, bootstrap, means
from .verdicts import LOSS, verdict

BEGIN = "<!-- Made by `make bench-render`, up to the next mark; changes by hand are lost. -->"
END = "<!-- End of what is made. -->"


def write_readme(path: Path, found: pd.DataFrame, subject: str) -> None:
    """
    Put the summary between the marks of a file.

    Raises
    ------
    ValueError
        If the file lacks the marks.
    """
    put_between_marks(path, summary(found, subject))


def put_between_marks(path: Path, *made: str) -> None:
    """
    Replace what is between the marks of a file: one text for each pair of marks, in order.

    Raises
    ------
    ValueError
        If the file lacks marks.
    """
    parts, rest = [], path.read_text()
    for text in made:
        before, begin, rest = rest.partition(BEGIN)
        _, end, rest = rest.partition(END)
        if not (begin and end):
            raise ValueError(
                f"Got {path} without the marks {BEGIN!r} and {END!r}, expected {len(made)} of each, in turn; add them."
            )
        parts.append(f"{before}{BEGIN}\n{text}\n{END}")
    path.write_text("".join([*parts, rest]))


def write_sections(results: Path, page: Path, *sections: Callable[[Record], str]) -> None:
    """Put what each section says of a record between the marks of a page, if there is the page."""
    if page.exists():
        record = read_record(results)
        put_between_marks(page, *(NOT_MEASURED if record is None else section(record) for section in sections))


def summary(found: pd.DataFrame, subject: str) -> str:
    """Means of each model, the best accuracy first, the subject in bold, and whom it leads beyond chance."""
    measures = (("accuracy", 100, 1), ("log_loss", 1, 3), ("ece", 1, 3), ("fit_cpu_seconds", 1, 1))
    rows = []
    for label in found["accuracy"]:
        cells = [NAMES.get(label, label)]
        cells += [number(scale * means(found[name])[label], digits) for name, scale, digits in measures]
        rows.append([f"**{cell}**" for cell in cells] if label == subject else cells)
    tables = found.index.get_level_values(0).nunique()
    text = (
        f"\nMeans over {tables} real tables and {len(found)} runs of each model. Models that can use the groups (speakers)\n"
        "of grouped tables get them. ECE is the expected calibration error; fits are in CPU seconds:\n"
    )
    text += table_text(("Model", "Accuracy, %", "Log-loss", "ECE", "Fit, s"), rows)
    return text + _beyond_chance(found, subject) if subject in found["accuracy"] and len(rows) > 1 else text


def _beyond_chance(found: pd.DataFrame, subject: str) -> str:
    """Whom the subject leads by a difference of which the interval excludes zero."""
    said = []
    for measure, title in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("ece", "ECE")):
        less = found[measure].drop(columns=subject).sub(found[measure][subject], axis=0)
        intervals = bootstrap(less)
        near = [label for label in less if verdict(intervals[label], measure in HIGHER_IS_BETTER) != LOSS]
        names = ", ".join(NAMES.get(label, label) for label in near)
        but = "none" if len(near) == len(less.columns) else f"all but {names}" if near else "all"
        said.append(f"- {title}: {but}\n")
    return f"\nModels that it leads beyond chance (95 % bootstrap intervals over tables and splits):\n\n{''.join(said)}"
