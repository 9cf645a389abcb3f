"""Make the pages of results and their plots from records alone."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2

from . import ablation, figures, gpu, labels, missing, onnx, page, speech_page, speed, systems, timeline, uncertainty
from .markdown import circumstances, listing, number, table
from .records import RESULTS

TEMPLATES = Path(__file__).parent / "pages"
PAGES: dict[str, ModuleType] = {
    "benchmarks": page,
    "ablation": ablation,
    "uncertainty": uncertainty,
    "speed": speed,
    "speech-results": speech_page,
    "three-systems": systems,
}
"""Pages that are made as a whole, and what gives their templates names by `context(results)`; empty without records."""
SECTIONS: dict[str, ModuleType] = {
    "labels": labels,
    "missing-values": missing,
    "which-classifier": page,
    "deployment": onnx,
    "long-recordings": timeline,
}
"""Pages of which only what is between marks is made; a line of `BREAK` divides their templates."""
BREAK = "<!-- The next place. -->\n"
BEGIN = "<!-- Made by `make bench-render`, up to the next mark; changes by hand are lost. -->"
END = "<!-- End of what is made. -->"
MADE = "<!-- Made by `make bench-render` from `benchmarks/pages/`; changes by hand are lost. -->\n\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of pages (default: %(default)s)")
    parser.add_argument("--readme", type=Path, help="file that gets a summary between its marks")


def run(arguments: argparse.Namespace) -> int:
    """Write the pages of which there are records, and the plots."""
    results, docs = arguments.results, arguments.docs
    docs.mkdir(parents=True, exist_ok=True)
    found = {module: module.context(results) for module in {*PAGES.values(), *SECTIONS.values()}}
    contexts = {name: found[module] for name, module in {**PAGES, **SECTIONS}.items()}
    for name in PAGES:
        if contexts[name]:
            (docs / f"{name}.md").write_text(MADE + render(name, contexts[name]), encoding="utf-8")
    for name in SECTIONS:
        if contexts[name] and (docs / f"{name}.md").exists():
            put_between_marks(docs / f"{name}.md", render(name, contexts[name]))
    if benchmarks := contexts["benchmarks"]:
        found, records = benchmarks["found"], benchmarks["records"]
        figures.draw_scores_against_time(docs / "img" / "benchmark_time.svg", found, page.SUBJECT)
        names = list(found["accuracy"])
        figures.draw_reliability(docs / "img" / "benchmark_reliability.svg", records, names, page.SUBJECT)
        page.scores_by_table(records).to_csv(docs / "benchmarks.csv")
        if arguments.readme is not None:
            more = {"gpu": gpu.context(results), "speech": contexts["speech-results"]}
            put_between_marks(arguments.readme, render("readme", {**benchmarks, **more}))
    print(f"{docs}: {', '.join(name for name in contexts if contexts[name]) or 'no records'}")
    return 0


def render(name: str, context: dict[str, Any]) -> str:
    """Text of a template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(table=table, number=number, listing=listing, circumstances=circumstances)
    text = environment.get_template(f"{name}.md").render(context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def put_between_marks(path: Path, made: str) -> None:
    """Replace what is between the marks of a file: one part of the text for each pair, of which there must be as many."""
    parts, rest, texts = [], path.read_text(encoding="utf-8"), made.split(BREAK)
    marks = re.findall(f"{re.escape(BEGIN)}|{re.escape(END)}", rest)
    if marks != [BEGIN, END] * len(texts):
        raise ValueError(
            f"Got {path} with {marks.count(BEGIN)} marks {BEGIN!r} and {marks.count(END)} marks {END!r}, expected "
            f"{len(texts)} of each in turn, a pair for each text; add those that lack or delete those too many."
        )
    for text in texts:
        before, _, rest = rest.partition(BEGIN)
        _, _, rest = rest.partition(END)
        parts.append(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}")
    path.write_text("".join([*parts, rest]), encoding="utf-8")
