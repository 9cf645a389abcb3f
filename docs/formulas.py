"""Turn TeX into MathML when the site is built, so that a browser needs no script from elsewhere to set formulas."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(?:span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</(?:span|div)>)', re.DOTALL)


def mathml(found: re.Match[str]) -> str:
    """The element of a formula, in a line or of its own, with MathML in place of TeX."""
    opening, kind, tex, closing = found.groups()
    return opening + convert(unescape(tex), display="inline" if kind == "(" else "block") + closing


def on_page_content(html: str, **_: Any) -> str:
    """Replace the formulas of a page."""
    return FORMULA.sub(mathml, html)
