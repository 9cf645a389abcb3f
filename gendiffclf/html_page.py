"""Self-contained, accessible HTML pages for reports, without scripts."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --page: #fff; --line: #ddd; --rule: #bbb; --quiet: #444; --panel: #f4f4f4;
--link: #0645ad; --shade: 8, 64, 129; --shadow: rgba(0, 0, 0, .28);
--error: #b00020; --warning: #b36b00; --note: #3465a4; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --page: #161616; --line: #3a3a3a; --rule: #666; --quiet: #bbb;
--panel: #242424; --link: #8ab4f8; --shade: 70, 130, 220; --shadow: rgba(255, 255, 255, .3);
--error: #ff7b8a; --warning: #e5a54b; --note: #7fa8dc; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 0 auto; max-width: 68rem;
padding: 1rem; } a { color: var(--link); }
h1 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
.headline { font-size: 1.25rem; } .headline strong { white-space: nowrap; }
.caption { font-weight: 600; margin: 1rem 0 .25rem; }
.scroll { overflow-x: auto; background: linear-gradient(to right, var(--page) 50%, transparent) 0 / 2rem 100% no-repeat local,
linear-gradient(to left, var(--page) 50%, transparent) 100% / 2rem 100% no-repeat local,
linear-gradient(to right, var(--shadow), transparent) 0 / .6rem 100% no-repeat,
linear-gradient(to left, var(--shadow), transparent) 100% / .6rem 100% no-repeat; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
.pair > * { flex: 0 1 auto; max-width: 100%; }
table { border-collapse: collapse; margin: 0 0 .5rem; } thead th { white-space: normal; vertical-align: bottom; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } tbody th { position: sticky; left: 0; background: var(--page); }
td.path { white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 9rem; }
figure { margin: 0; } figcaption { color: var(--quiet); max-width: 29rem; }
figure svg { max-width: 100%; height: auto; display: block; background: #fff; }
.error { border-left: .4rem solid var(--error); } .warning { border-left: .4rem solid var(--warning); }
.note { border-left: .4rem solid var(--note); }
.finding { padding: .25rem .75rem; margin: .75rem 0; overflow-wrap: anywhere; } .finding p { margin: 0; }
pre { overflow-x: auto; background: var(--panel); padding: .75rem; font-size: .85rem; } dd { overflow-wrap: anywhere; }
dd code span { display: inline-block; max-width: 100%; }
nav ul { padding-left: 1.2rem; columns: 14rem; } :focus-visible { outline: 3px solid var(--note); }
@media (max-width: 40rem) { table { font-size: .8rem; } tbody th { white-space: normal; }
th, td { padding: .25rem .35rem; } nav ul { columns: 9rem; } dd { margin-left: 1rem; } }
"""
"""Supports light and dark mode, with figures on white; shadows show that a table can be scrolled."""


def document(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """Return a whole page, from heading and HTML of each section; empty sections are left out."""
    shown = [(name, name.lower().replace(" ", "-"), text) for name, text in sections if text]
    links = "".join(f'<li><a href="#{anchor}">{escape(name)}</a></li>' for name, anchor, _ in shown)
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(name)}</h2>{text}</section>\n'
        for name, anchor, text in shown
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><main><h1>{escape(title)}</h1>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n{body}</main></body></html>\n'
    )


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, path: bool = False) -> str:
    """Return a table with row headers in the first column; with `path`, that column may break anywhere."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = ""
    for first, *rest in rows:
        name = f'<td class="path">{escape(first)}</td>' if path else f'<th scope="row">{escape(first)}</th>'
        body += f"<tr>{name}{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
    return captioned(caption, head, body)


def captioned(caption: str, head: str, body: str) -> str:
    """Return a table from the HTML of its head and body, with a caption; only the table scrolls in narrow windows."""
    name = "table-" + hashlib.blake2b(caption.encode(), digest_size=4).hexdigest()
    return (
        f'<p class="caption" id="{name}">{escape(caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}"><table aria-labelledby="{name}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(svg: str, text: str) -> str:
    """Return a figure of an SVG element with a description as caption and alternative text."""
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{escape(text)}"', 1)
    return f"<figure>{labelled}<figcaption>{escape(text)}</figcaption></figure>"


def as_svg(figure: Figure, name: str) -> str:
    """Convert a figure to a reproducible SVG element; all identifiers begin with `name`, so that a page can have several."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
