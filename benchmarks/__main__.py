"""`python -m benchmarks COMMAND`; a new command is a module with `add_arguments` and `run`, and a line in `COMMANDS`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from . import (
    ablation,
    encoding,
    few_shot,
    labels,
    missing,
    onnx,
    render,
    smoke,
    speech,
    speed,
    story,
    systems,
    tables,
    timeline,
    uncertainty,
)

COMMANDS: dict[str, ModuleType] = {
    "tables": tables,
    "ablation": ablation,
    "uncertainty": uncertainty,
    "few-shot": few_shot,
    "missing": missing,
    "labels": labels,
    "speech": speech,
    "systems": systems,
    "encoding": encoding,
    "timeline": timeline,
    "story": story,
    "onnx": onnx,
    "speed": speed,
    "render": render,
    "smoke": smoke,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 when all went well, 2 for options that make no sense."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and make pages from records.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        subparser = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    arguments = parser.parse_args(words)
    arguments.command_line = command_line(words)
    try:
        return arguments.run(arguments)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def command_line(words: Sequence[str]) -> str:
    """Command as records name it: folders of one's own machine are of no use to others, so only their names stay."""
    shown: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if before == "--data-dir" or option == "--data-dir":
            value = "DATA_DIR" if equals or not option else value
        elif os.path.isabs(value) or ".." in Path(value).parts:
            value = Path(value).name
        corpus, of, folder = value.partition("=")
        if of and (os.path.isabs(folder) or ".." in Path(folder).parts):
            value = f"{corpus}={Path(folder).name}"
        shown.append(f"{option}{equals}{value}")
    return f"python -m benchmarks {shlex.join(shown)}"


if __name__ == "__main__":
    sys.exit(main())
