"""The command line. Each entry of `COMMANDS` has a function that adds options and one that runs the command."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._version import VERSION
from .optional import require
from .speech import commands as speech
from .speech import few_shot_command, timeline_command

__all__ = ["COMMANDS", "Command", "main"]


@dataclass(frozen=True)
class Command:
    """
    A sub-command of `gendiffclf`.

    Attributes
    ----------
    summary : str
        Description in the list of commands.
    add_options : callable
        Adds options to a parser. Called for every command, so it must not import large packages.
    run : callable
        Runs the command with the parsed options.
    """

    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="CSV file with a header (default: datasets of scikit-learn)")
    parser.add_argument("--target", metavar="COLUMN", help="column with the class labels")
    parser.add_argument("--groups", metavar="COLUMN", help="column with groups to keep within one fold")
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder for the report (default: %(default)s)"
    )
    parser.add_argument("--folds", type=int, default=3, help="number of cross-validation folds (default: %(default)s)")
    parser.add_argument(
        "--max-rows", type=int, default=10_000, help="maximum number of rows to use (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random state of folds and classifiers (default: %(default)s)"
    )


def _run_demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    columns = {"path": options.file, "target": options.target, "groups": options.groups}
    run_demo(options.output, **columns, n_folds=options.folds, max_rows=options.max_rows, random_state=options.seed)


def _add_vowels_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--speakers", type=int, default=12, help="number of speakers (default: %(default)s)")
    parser.add_argument("--takes", type=int, default=2, help="clips per vowel and speaker (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="random state of speakers, folds and classifier (default: %(default)s)"
    )


def _run_vowels(options: argparse.Namespace) -> None:
    from .demo.vowels import run_speech_demo

    run_speech_demo(n_speakers=options.speakers, n_takes=options.takes, random_state=options.seed)


COMMANDS: dict[str, Command] = {
    "demo": Command("compare classifiers on your table, or on datasets of scikit-learn", _add_demo_options, _run_demo),
    "demo-speech": Command("classify synthesised vowels of unseen speakers", _add_vowels_options, _run_vowels),
    "audit": Command("check a corpus for problems", speech.add_audit_options, speech.run_audit),
    "features": Command("compute and cache the features of a corpus", speech.add_features_options, speech.run_features),
    "train": Command("train a model on a corpus", speech.add_train_options, speech.run_train),
    "predict": Command(
        "predict labels or ratings of clips with a trained model", speech.add_predict_options, speech.run_predict
    ),
    "timeline": Command(
        "predict labels over time in a long recording",
        timeline_command.add_timeline_options,
        timeline_command.run_timeline,
    ),
    "evaluate": Command("cross-validate a pipeline by speaker", speech.add_evaluate_options, speech.run_evaluate),
    "few-shot": Command(
        "train on some corpora, test on another, and adapt to a few of its clips",
        few_shot_command.add_few_shot_options,
        few_shot_command.run_few_shot,
    ),
    "compare": Command("test which of two evaluations is better", speech.add_compare_options, speech.run_compare),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser for all commands."""
    top = argparse.ArgumentParser(prog="gendiffclf", description="Classification as generative transport.")
    top.add_argument("--version", action="version", version=f"gendiffclf {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        # Without abbreviations, which `refuse_ignored` would not recognise.
        own = commands.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        command.add_options(own)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 for success, 1 for invalid input, after a message, 130 for an interrupt, and 141 for a closed pipe.
    """
    top = parser()
    options = top.parse_args(arguments)
    options.words = list(sys.argv[1:] if arguments is None else arguments)
    options.command_line = shlex.join(["gendiffclf", *options.words])  # for the provenance of results
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # one line, without the source
    try:
        require("pandas", "demo" if options.command == "demo" else "speech")
        COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except (KeyboardInterrupt, RuntimeError) as error:
        # Before Python 3.12, an interrupt during the import of a class may be the cause of a RuntimeError.
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print(f"gendiffclf {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # discard the rest of the output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, ImportError, OSError) as error:
        top.exit(1, f"gendiffclf {options.command}: {error}\n")
    finally:
        warnings.formatwarning = before
    return 0
