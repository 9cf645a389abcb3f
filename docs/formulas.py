"""Turn TeX into MathML when the site is built, so that a browser needs no script from elsewhere to set formulas."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(?:span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</(?:span|div)>)', re.DOTALL)

PRIME = '<mo mathsize="120%" lspace="0" rspace="0">&#x02032;</mo>'
"""Text fonts have a prime too small to be raised."""


def mathml(found: re.Match[str]) -> str:
    """The element of a formula, in a line or of its own, with MathML in place of TeX."""
    opening, kind, tex, closing = found.groups()
    math = convert(unescape(tex), display="inline" if kind == "(" else "block")
    return opening + math.replace("<mi>&#x02032;</mi>", PRIME) + closing


def on_page_content(html: str, **_: Any) -> str:
    """Replace the formulas of a page."""
    return FORMULA.sub(mathml, html)
