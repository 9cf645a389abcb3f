"""What `--system` adds to the commands train, predict and evaluate."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SYSTEM_NAMES = ("gen-ser", "emosphere", "selm")
# Written out, since the parser of every command imports this module and nothing heavy; a test compares.


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--system` and what belongs to one of the systems."""
    parser.add_argument(
        "--system",
        choices=SYSTEM_NAMES,
        default="gen-ser",
        help="labels by generative transport or by a language model (selm), or ratings by emosphere (%(default)s)",
    )
    parser.add_argument(
        "--value-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="ends of the scale of the columns arousal, valence and dominance, which emosphere learns",
    )
    parser.add_argument("--tune-encoder", action="store_true", help="emosphere trains the speech encoder too")


def named_system(options: argparse.Namespace) -> str:
    """The system that was asked for; commands without the option have the first."""
    if "system" not in options:
        return SYSTEM_NAMES[0]
    rated = options.system == "emosphere"
    for name, given in (("--value-range", options.value_range), ("--tune-encoder", options.tune_encoder)):
        if given and not rated:
            raise ValueError(f"Got {name} with --system {options.system}, expected --system emosphere; leave it out.")
    if rated and options.value_range is None:
        raise ValueError("Got --system emosphere without --value-range, expected the ends of the scale, such as 1 7.")
    if options.system != SYSTEM_NAMES[0] and options.normalize is not None:
        raise ValueError(f"Got --normalize with --system {options.system}, expected neither: frames are standardised.")
    return str(options.system)


def system_pipeline_of(options: argparse.Namespace, system: str, featurizer: Any, **run: Any) -> Any:
    """The pipeline of a system other than Gen-SER."""
    from .system_pipelines import system_pipeline

    if options.tune_encoder and options.encoder is None:
        raise ValueError("Got --tune-encoder without --encoder, expected the name or folder of an encoder to tune.")
    return system_pipeline(
        system,
        featurizer,
        value_range=options.value_range,
        tuned_encoder=options.encoder if options.tune_encoder else None,
        **run,
    )


def train_rated(options: argparse.Namespace, pipeline: Any, corpus: pd.DataFrame) -> None:
    """Fit to ratings, and write the model's folder."""
    from .model_folder import save_model
    from .ratings import train_ratings

    fitted = train_ratings(pipeline, corpus, accept=options.accept)
    about = {"target": "ratings", "n_clips": len(corpus)}
    save_model(fitted, options.output, overwrite=options.overwrite, copy_encoder=options.copy_encoder, about=about)
    names = ", ".join(fitted.steps[-1][1].dimensions_)
    print(f"Learnt {names} from {len(corpus)} clips; the model is in {options.output}.")


def evaluate_rated(options: argparse.Namespace, model: Any, corpus: pd.DataFrame) -> None:
    """Cross-validate on ratings, or try a fitted model, and print concordances."""
    from .files import whole_file
    from .ratings import evaluate_ratings

    if options.report is not None or options.group is not None:
        raise ValueError("Got --report or --group for ratings, expected neither: both are of labels; leave them out.")
    found = evaluate_ratings(
        model,
        corpus,
        options.folds,
        n_folds=options.n_folds,
        random_state=options.seed,
        fitted=options.model is not None,
        accept=options.accept,
        verbose=int(not options.quiet),
    )
    print(found)
    if options.output is not None:
        found.to_json(options.output)
    if options.predictions is not None:
        with whole_file(options.predictions) as file:
            found.predictions.to_csv(file, index=False, lineterminator="\n")
