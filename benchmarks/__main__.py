"""`python -m benchmarks COMMAND`; a new command is a module with `add_arguments` and `run`, and a line in `COMMANDS`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

COMMANDS = (
    "tables", "ablation", "uncertainty", "few-shot", "relevance", "missing", "labels", "speech",
    "across", "systems", "encoding", "timeline", "story", "onnx", "speed", "gpu", "render",
)  # fmt: skip
"""Names of modules, with `-` for `_`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 when all went well, 2 for options that make no sense."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and make pages from records.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name.replace('-', '_')}", __package__)
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

    def shown(value: str) -> str:
        return Path(value).name if os.path.isabs(value) or ".." in Path(value).parts else value

    given: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if (option == "--data-dir" and equals) or before == "--data-dir":
            given.append(f"{option}{equals}DATA_DIR")
        else:
            corpus, of, folder = value.partition("=")
            given.append(f"{option}{equals}{f'{corpus}={shown(folder)}' if of else shown(value)}")
    return f"python -m benchmarks {shlex.join(given)}"


if __name__ == "__main__":
    sys.exit(main())
