"""The page of speed, made from the records of the parts alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import figures
from ..markdown import NOT_MEASURED, circumstances, table_text
from ..provenance import read_record
from . import PARTS, growth

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Speed

Every ratio is from one run in which both sides took turns, so that what slows a machine down slows both. Values are medians.
`make bench-speed` measures all parts, `python -m benchmarks speed PART` one of them; with `--baseline DIR`, a checkout of an
older version of the package, the default classifier of that takes turns in the parts `fit` and `predict`.
"""
PACKAGES = ("scikit-learn", "torch", "pytabkit")
GROWTH_IMAGE = "speed_growth.svg"


def speed_page(records_folder: Path, images: str = "img") -> str:
    """
    Text of the page.

    Parameters
    ----------
    records_folder : Path
        With `PART.json` of the parts that were measured.
    images : str
        Folder of the plot that `write_growth_plot` draws, relative to the page.
    """
    blocks = [HEADER]
    for part, module in PARTS.items():
        record = read_record(records_folder / f"{part}.json")
        blocks.append(f"\n## {module.TITLE}\n")
        if record is None:
            blocks.append(NOT_MEASURED)
            continue
        blocks.append(findings_text(record["findings"]))
        header, *rows = module.section(record)
        blocks.append(table_text(header, rows))
        if part == "growth":
            blocks.append(f"\n![Seconds and memory of a fit against its sizes]({images}/{GROWTH_IMAGE})\n")
        blocks.append(circumstances(record, PACKAGES))
        if commit := record["settings"].get("baseline_commit"):
            blocks.append(f"- Baseline: the default classifier of commit `{commit[:12]}`\n")
    return "".join(blocks)


def findings_text(findings: list[dict[str, Any]]) -> str:
    """Table of the findings with their goals."""
    rows = []
    for finding in findings:
        goal, value = finding["at_most"], finding["value"]
        rows.append(
            [
                finding["name"],
                f"{significant(value)} {finding['unit']}",
                "–" if goal is None else f"≤ {significant(goal)} {finding['unit']}",
                "–" if goal is None else "yes" if value <= goal else "no",
            ]
        )
    return table_text(["Finding", "Measured", "Goal", "Reached"], rows)


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def write_growth_plot(records_folder: Path, images: Path) -> Path | None:
    """Draw seconds and memory over sizes, each relative to its smallest, logarithms both; None without a record."""
    record = read_record(records_folder / "growth.json")
    if record is None:
        return None
    path = images / GROWTH_IMAGE
    with figures.figure(path, 1, 2, size=(9.0, 4.0)) as axes:
        for panel, (key, title) in zip(
            axes[0], (("seconds", "Seconds"), ("memory_bytes", "Memory added")), strict=True
        ):
            for colour, (axis, found) in enumerate(record["figures"].items()):
                sizes = np.array([point[axis] for point in found["points"]])
                values = np.array([point[key] for point in found["points"]])
                label = f"{growth.NAMES[axis]}: exponent {found['exponents'][key]:.2f}"
                panel.plot(sizes / sizes[0], values / values[0], ".-", color=f"C{colour}", label=label)
            panel.plot([1, 100], [1, 100], ":", color="#999999", label="in proportion")
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_title(title)
            panel.set_xlabel("Size, in units of the smallest")
            panel.legend(fontsize=8)
        axes[0, 0].set_ylabel("In units of the smallest size's")
    return path


def write_speed_page(records_folder: Path, page: Path, images: Path) -> None:
    """Write the page and its plot."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_growth_plot(records_folder, images)
    page.write_text(speed_page(records_folder, Path(os.path.relpath(images, page.parent)).as_posix()))
