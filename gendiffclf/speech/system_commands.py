"""The option `--system` of the commands train, evaluate and few-shot."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SYSTEM_NAMES = ("gen-ser", "emosphere", "selm")
# Repeated here, since the parser of every command imports this module; a test compares them with the original.


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """Add `--system` and the options specific to one of the systems."""
    parser.add_argument(
        "--system",
        choices=SYSTEM_NAMES,
        default="gen-ser",
        help="gen-ser or selm (language model) for labels, emosphere for ratings (default: %(default)s)",
    )
    parser.add_argument(
        "--value-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="ends of the rating scale of the columns arousal, valence and dominance, for emosphere",
    )
    parser.add_argument("--tune-encoder", action="store_true", help="fine-tune the speech encoder, with emosphere")


def named_system(options: argparse.Namespace) -> str:
    """Return the requested system and check its options; commands without the option use the first."""
    if "system" not in options:
        return SYSTEM_NAMES[0]
    rated = options.system == "emosphere"
    for name, given in (("--value-range", options.value_range), ("--tune-encoder", options.tune_encoder)):
        if given and not rated:
            raise ValueError(f"Got {name} with --system {options.system}, expected --system emosphere; leave it out.")
    if rated and options.value_range is None:
        raise ValueError(
            "Got --system emosphere without --value-range, expected the ends of the rating scale; add --value-range 1 7."
        )
    if options.system != SYSTEM_NAMES[0] and options.normalize is not None:
        raise ValueError(
            f"Got --normalize with --system {options.system}, which standardises frames itself, expected one of them; leave it "
            "out."
        )
    return str(options.system)


def system_pipeline_of(options: argparse.Namespace, system: str, featurizer: Any, **run: Any) -> Any:
    """Build the pipeline of a system other than Gen-SER."""
    from .system_pipelines import system_pipeline

    if options.tune_encoder and options.encoder is None:
        raise ValueError("Got --tune-encoder without --encoder, expected both; add --encoder NAME or FOLDER.")
    return system_pipeline(
        system,
        featurizer,
        value_range=options.value_range,
        tuned_encoder=options.encoder if options.tune_encoder else None,
        **run,
    )


def train_rated(options: argparse.Namespace, pipeline: Any, corpus: pd.DataFrame) -> None:
    """Train on ratings, and save the model to a folder."""
    from .model_folder import save_model
    from .ratings import train_ratings

    fitted = train_ratings(pipeline, corpus, accept=options.accept)
    about = {"target": "ratings", "n_clips": len(corpus)}
    save_model(fitted, options.output, overwrite=options.overwrite, copy_encoder=options.copy_encoder, about=about)
    names = ", ".join(fitted.steps[-1][1].dimensions_)
    print(f"Trained on {len(corpus)} clips rated for {names}; the model is in {options.output}.")


def evaluate_rated(options: argparse.Namespace, model: Any, corpus: pd.DataFrame) -> None:
    """Cross-validate on ratings, or evaluate a fitted model, and print the concordance."""
    from ..files import atomic_file
    from .ratings import evaluate_ratings

    if options.report is not None or options.group is not None:
        raise ValueError("Got --report or --group for ratings, expected labels; leave out these options.")
    evaluation = evaluate_ratings(
        model,
        corpus,
        options.folds,
        n_folds=options.n_folds,
        random_state=options.seed,
        fitted=options.model is not None,
        accept=options.accept,
        verbose=int(not options.quiet),
    )
    evaluation.about["command"] = options.command_line
    print(evaluation)
    if options.output is not None:
        evaluation.to_json(options.output)
    if options.predictions is not None:
        with atomic_file(options.predictions) as file:
            evaluation.predictions.to_csv(file, index=False, lineterminator="\n")
