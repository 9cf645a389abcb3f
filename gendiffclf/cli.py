"""The command line: one function adds a command's options, one runs it, one line in `COMMANDS` names both."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._version import VERSION
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
        One line for the list of commands.
    add_options : callable
        Adds the command's options to its parser. It imports nothing heavy: it runs for every command.
    run : callable
        Does the work with the parsed options.
    """

    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="CSV file with a header; by default tables of scikit-learn")
    parser.add_argument("--target", metavar="COLUMN", help="column of the class")
    parser.add_argument("--groups", metavar="COLUMN", help="column of groups, each kept whole in one fold")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of the report (%(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="folds of the cross-validation (%(default)s)")
    parser.add_argument("--max-rows", type=int, default=10_000, help="rows drawn from a longer file (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random state of folds and classifiers (%(default)s)")


def _run_demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    columns = {"path": options.file, "target": options.target, "groups": options.groups}
    run_demo(options.output, **columns, n_folds=options.folds, max_rows=options.max_rows, random_state=options.seed)


def _add_vowels_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--speakers", type=int, default=12, help="voices (%(default)s)")
    parser.add_argument("--takes", type=int, default=2, help="clips of each vowel by each voice (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="random state of voices, folds and classifier (%(default)s)"
    )


def _run_vowels(options: argparse.Namespace) -> None:
    from .demo.vowels import run_speech_demo

    run_speech_demo(n_speakers=options.speakers, n_takes=options.takes, random_state=options.seed)


COMMANDS: dict[str, Command] = {
    "demo": Command("compare classifiers on your table, or on some of scikit-learn's", _add_demo_options, _run_demo),
    "demo-speech": Command("classify synthesised vowels by speakers", _add_vowels_options, _run_vowels),
    "audit": Command("check a corpus for faults", speech.add_audit_options, speech.run_audit),
    "features": Command(
        "encode the clips of a corpus into the cache", speech.add_features_options, speech.run_features
    ),
    "train": Command("learn labels from the clips of a corpus", speech.add_train_options, speech.run_train),
    "predict": Command("label clips with a trained model", speech.add_predict_options, speech.run_predict),
    "timeline": Command(
        "label a long recording over time", timeline_command.add_timeline_options, timeline_command.run_timeline
    ),
    "evaluate": Command("measure a pipeline by folds of speakers", speech.add_evaluate_options, speech.run_evaluate),
    "few-shot": Command(
        "train on corpora, test on another, and adapt to a few of its clips",
        few_shot_command.add_few_shot_options,
        few_shot_command.run_few_shot,
    ),
    "compare": Command("test which of two evaluations is better", speech.add_compare_options, speech.run_compare),
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="gendiffclf", description="Classification as generative transport.")
    top.add_argument("--version", action="version", version=f"gendiffclf {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        command.add_options(commands.add_parser(name, help=command.summary, description=command.summary))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status: 0; 1 for invalid input, after a message; 130 when interrupted and 141 for a closed pipe, as in shells.
    """
    top = parser()
    options = top.parse_args(arguments)
    options.words = list(sys.argv[1:] if arguments is None else arguments)  # for the record
    try:
        COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"gendiffclf {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # what is still in the buffer has no reader
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, ImportError, OSError) as error:
        top.exit(1, f"gendiffclf {options.command}: {error}\n")
    return 0
