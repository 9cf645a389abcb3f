"""Run the scripts in examples/ when the site is built, and make a page of each: text, code, what it prints, its pictures."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from gendiffclf.html_page import as_svg, figure

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
INDEX = "examples/index.md"
INTRODUCTION = """\
# Examples

Each page shows a script from the folder `examples/`, run when this site was built. To run one yourself, use
`python examples/embeddings.py` in a clone.
"""
TEXT = "#010203"
"""Stands for the page's colour of text, so that pictures fit light and dark pages."""
STYLE: dict[str, Any] = {
    "figure.figsize": (4.8, 3.4),  # inches; legible when a page of 390 pixels shrinks it
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "axes.prop_cycle": "cycler('color', ['1b82c4', 'd55e00', '009e73', 'b2609a']) + cycler('linestyle', ['-', '--', '-.', ':'])",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT),
}
"""Colours are told apart by colour-blind readers, and have a contrast of 3 on white and on dark pages."""


@dataclass
class Block:
    """Text, code, printed output, and pictures as SVG with a description."""

    text: str
    code: str
    printed: str = ""
    pictures: list[tuple[str, str]] = field(default_factory=list)


def parse(script: str) -> tuple[str, str, list[Block]]:
    """Title and introduction, from the docstring, and the blocks that lines of `# %%` divide."""
    docstring = re.match(r'"""\n(.*?)\n\n(.*?)\n"""\n', script, re.DOTALL)
    assert docstring is not None, "an example begins with a docstring of a title, an empty line, and an introduction"
    blocks = []
    for part in re.split(r"^# %%\n", script[docstring.end() :], flags=re.MULTILINE)[1:]:
        comment = re.match(r"(?:#.*\n)*", part).group()  # type: ignore[union-attr]
        text = "\n".join(line[2:] for line in comment.splitlines())
        blocks.append(Block(text, part[len(comment) :].strip("\n")))
    return docstring[1], docstring[2], blocks


@cache
def run(name: str, script: str) -> tuple[str, str, list[Block]]:
    """Parse a script, and run its blocks in one namespace; `STYLE` holds for its pictures."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    title, introduction, blocks = parse(script)
    module = types.ModuleType("__main__")
    with mpl.rc_context({**STYLE, "backend": "agg"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")  # `plt.show()`, for those who run it
        for number, block in enumerate(blocks):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.code, f"{name}.py", "exec"), module.__dict__)
            block.printed = printed.getvalue().rstrip()
            for of_block in plt.get_fignums():
                shown = plt.figure(of_block)
                svg = as_svg(shown, f"{name}-{number}-{of_block}").replace("\n", " ")
                block.pictures.append((svg, shown.get_label()))
            plt.close("all")
    return title, introduction, blocks


def page(name: str, script: str) -> str:
    """The page of a script, as Markdown."""
    title, introduction, blocks = run(name, script)
    parts = [f"# {title}", introduction]
    for block in blocks:
        parts += [block.text, f"```python\n{block.code}\n```"]
        if block.printed:
            parts.append(f'```{{ .text .printed title="Output" }}\n{block.printed}\n```')
        parts += [figure(svg.replace(TEXT, "currentColor"), text) for svg, text in block.pictures]
    return "\n\n".join([*parts, f"The script: `examples/{name}.py`."])


def index(scripts: dict[str, str]) -> str:
    """The page that shows all, as Markdown."""
    cards = []
    for name, script in scripts.items():
        title, _, blocks = run(name, script)
        svg = next(svg for block in blocks for svg, _ in block.pictures)
        picture = re.sub(r'(\bid="|url\(#|xlink:href="#)', r"\g<1>card-", svg).replace(TEXT, "currentColor")
        cards.append(
            f'<a class="card" href="{name}/">{picture.replace("<svg", "<svg aria-hidden=true", 1)}'
            f"<strong>{title}</strong></a>"
        )
    return f'{INTRODUCTION}\n<div class="cards">{"".join(cards)}</div>\n'


def scripts(config: Any) -> dict[str, str]:
    """Scripts by name, in the order of the navigation."""
    names = re.findall(r"'examples/(\w+)\.md'", repr(config["nav"]))
    return {name: (EXAMPLES / f"{name}.py").read_text(encoding="utf-8") for name in names if name != "index"}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages to those of the docs folder."""
    found = scripts(config)
    for name, script in found.items():
        files.append(File.generated(config, f"examples/{name}.md", content=page(name, script)))
    files.append(File.generated(config, INDEX, content=index(found)))
    return files


def main() -> None:
    """Write the first picture of an example to a file, on white: `python docs/gallery.py exact_path picture.svg`."""
    name, target = sys.argv[1:]
    _, _, blocks = run(name, (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    svg, _ = next(picture for block in blocks for picture in block.pictures)
    white = svg.replace("<svg", '<svg style="background: #fff"', 1).replace(TEXT, "#1a1a1a")
    Path(target).write_text(white + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
