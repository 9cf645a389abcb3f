"""Make the pages of results and their plots from records alone."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from . import ablation, figures, labels, missing, onnx, speed, systems, uncertainty
from .ablation_page import ablation_page
from .few_shot import few_shot_section
from .page import EMPTY, HEADER, benchmarks_page, scores_by_table
from .readme import write_readme, write_sections
from .records import RESULTS, Record, RecordStore
from .speech_page import speech_page
from .speed_page import speed_page
from .summary import complete, current, runs
from .systems_page import write_systems_page
from .uncertainty.page import write_uncertainty_page

SPEECH_PAGE = "speech-results.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--records", type=Path, default=RESULTS, help="folder of records, others beside it (default: %(default)s)"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"), help="(default: %(default)s)")
    parser.add_argument("--images", type=Path, default=Path("docs/img"), help="(default: %(default)s)")
    parser.add_argument("--subject", default="ours", help="label the page is about (default: %(default)s)")
    parser.add_argument("--readme", type=Path, help="file that gets a summary between its marks")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and its plots, and the pages of other records beside it."""
    page, results = arguments.page, arguments.records.parent
    page.parent.mkdir(parents=True, exist_ok=True)
    images = Path(os.path.relpath(arguments.images, page.parent)).as_posix()
    if speech := speech_page(results):
        page.with_name(SPEECH_PAGE).write_text(speech)
    page.with_name("ablation.md").write_text(ablation_page(results / ablation.RESULTS.name))
    write_uncertainty_page(results / uncertainty.RESULTS.name, page.with_name("uncertainty.md"))
    page.with_name("speed.md").write_text(speed_page(results / speed.RESULTS.name))
    for module, sections in (
        (onnx, [onnx.section]),
        (missing, [missing.lead_text, missing.section]),
        (labels, [labels.lead_text, labels.section]),
    ):
        write_sections(results / module.RESULTS.name, page.with_name(module.PAGE), *sections)
    write_systems_page(results / systems.RESULTS.name, page.with_name("three-systems.md"))
    records = current(RecordStore(arguments.records).read())
    if not records:
        page.write_text(HEADER + EMPTY)
        print(f"{page}: no records in {arguments.records}")
        return 0
    check_same_data(records)
    found = runs(records, complete(records, arguments.subject))
    names = list(found["accuracy"])
    figures.draw_scores_against_time(arguments.images / "benchmark_time.svg", found, arguments.subject)
    figures.draw_reliability(arguments.images / "benchmark_reliability.svg", records, names, arguments.subject)
    page.write_text(benchmarks_page(records, arguments.subject, images, few_shot_section(results)))
    scores_by_table(records).to_csv(page.with_suffix(".csv"))
    if arguments.readme is not None:
        write_readme(arguments.readme, found, arguments.subject)
    print(f"{page}: {len(records)} records")
    return 0


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
