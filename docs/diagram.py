"""Draw the package's imports into the architecture page, when the site is built."""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path
from typing import Any

import grimp

PLACE = "<!-- The diagram of imports is drawn here. -->"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
WIDTH, ROW, BOX = 520, 52, 26  # units of the SVG


def layers() -> list[list[str]]:
    """Modules of each layer, the highest first, as the contract in pyproject.toml has them."""
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["type"] == "layers"]
    return [re.findall(r"\w+", line) for line in contract["layers"]]


def imports(modules: list[str]) -> dict[str, set[str]]:
    """From each module or package below the root to those it imports."""
    graph = grimp.build_graph("gendiffclf", exclude_type_checking_imports=True, cache_dir=None)
    full = {name: f"gendiffclf.{name}" for name in modules}
    for name in full.values():
        graph.squash_module(name)
    found = {name: graph.find_modules_directly_imported_by(path) for name, path in full.items()}
    return {
        name: {other for other, path in full.items() if path in paths and other != name}
        for name, paths in found.items()
    }


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Imports that do not follow from others: a line from a to c is left out where lines lead from a over b to c."""

    def below(name: str) -> set[str]:
        return edges[name].union(*(below(other) for other in edges[name])) if edges[name] else set()

    return {name: direct - set().union(*map(below, direct)) if direct else set() for name, direct in edges.items()}


def diagram() -> str:
    """The picture, as an SVG element in the page's colours."""
    rows = layers()
    wide = {name: 8 * len(name) + 14 for names in rows for name in names}
    place = {}
    for row, names in enumerate(rows):
        gap = (WIDTH - sum(wide[name] for name in names)) / len(names)
        for column, name in enumerate(names):
            left = sum(wide[other] + gap for other in names[:column])
            place[name] = (left + (gap + wide[name]) / 2, ROW * row + BOX / 2 + 2)
    lines = boxes = ""
    for name, others in reduced(imports(list(place))).items():
        x, y = place[name]
        for other in sorted(others):
            to_x, to_y = place[other]
            lines += f'<path d="M{x:g} {y:g}C{x:g} {(y + to_y) / 2:g} {to_x:g} {(y + to_y) / 2:g} {to_x:g} {to_y:g}"/>'
    for name, (x, y) in place.items():
        boxes += (
            f'<rect x="{x - wide[name] / 2:g}" y="{y - BOX / 2:g}" width="{wide[name]}" height="{BOX}" rx="4"/>'
            f'<text x="{x:g}" y="{y + 5:g}">{escape(name)}</text>'
        )
    text = "Modules by layer, with lines to the modules they import; lines implied by others are left out."
    return (
        f'<figure><svg class="imports" role="img" aria-label="{text}" viewBox="0 0 {WIDTH} {ROW * len(rows) - ROW + BOX + 4}">'
        f"<g>{lines}</g>{boxes}</svg><figcaption>{text}</figcaption></figure>"
    )


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the picture in its place."""
    return markdown.replace(PLACE, diagram()) if PLACE in markdown else markdown
