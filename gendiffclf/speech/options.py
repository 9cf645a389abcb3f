"""Options common to the speech commands, and the objects built from them."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layouts import LAYOUTS
from .names import FOLDS, PRESETS, SYSTEMS

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

# Not imported, since every command needs this parser; see the tests.
FEATURIZER_NAMES = ("acoustic", "egemaps", "fbank", "hubert")
# More accurate than the featuriser's defaults; --set overrides them.
FBANK = {"n_mels": 40, "deltas": 2}


def add_layout_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=tuple(LAYOUTS), help="corpus with known file names")
    parser.add_argument("--pattern", help="pattern of the paths in the folder, such as {label}/{speaker}_*.wav")
    parser.add_argument(
        "--target", "--label-column", help="column to predict (default: emotion for a layout, otherwise label)"
    )
    parser.add_argument("--path-column", default="path", help="column of a table with the paths (default: %(default)s)")
    parser.add_argument("--speaker-column", default="speaker", help="column with the speakers (default: %(default)s)")
    parser.add_argument("--skip-unfit", action="store_true", help="leave out files whose path does not match")


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder, or table with the columns path, label, speaker (and start, end)")
    add_layout_options(parser)
    names: dict[str, Any] = {"metavar": "NAME,NAME", "type": lambda text: text.split(",")}
    parser.add_argument("--votes-columns", help="columns of votes, one for each class", **names)
    parser.add_argument("--rater-columns", help="columns of labels, one for each rater", **names)


def add_accept_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="CODE",
        help="accept this finding of the audit, such as copies-across-labels; can be repeated",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache", default=True, help="folder of cached features (default: $GENDIFFCLF_CACHE or the user's cache)"
    )
    parser.add_argument("--no-cache", action="store_true", help="do not cache features")
    add_machine_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="number of threads that read clips")
    parser.add_argument("--device", help="device of encoder and classifier (default: first of cuda, mps, cpu)")


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--featurizer",
        choices=FEATURIZER_NAMES,
        help="kind of features (default: acoustic; fbank with --system emosphere or selm, which need frames)",
    )
    parser.add_argument("--encoder", help="name or folder of a speech encoder; implies --featurizer hubert")
    parser.add_argument("--normalize", choices=("speaker",), help="standardise features within each speaker")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STEP__NAME=VALUE",
        help="set a parameter, such as featurizer__layers=-1 or classifier__n_members=4; can be repeated",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random state of folds and classifier (default: %(default)s)"
    )
    add_run_options(parser)
    # For commands without `add_system_options`.
    parser.set_defaults(system=SYSTEMS[0], preset=None, value_range=None, tune_encoder=False)


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """Add `--system` and the options specific to one of the systems."""
    parser.add_argument(
        "--system",
        choices=SYSTEMS,
        default="gen-ser",
        help="gen-ser or selm (language model) for labels, emosphere for ratings (default: %(default)s)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings of the classifier (with gen-ser); those named gen-ser are the paper's network and recipe, for a GPU",
    )
    parser.add_argument(
        "--value-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="ends of the rating scale of the columns arousal, valence and dominance; required for emosphere",
    )
    parser.add_argument(
        "--tune-encoder", action="store_true", help="fine-tune the speech encoder (with emosphere and --encoder)"
    )


def read_source(options: argparse.Namespace, source: str, *, to_predict: bool = False) -> pd.DataFrame:
    from .corpora import read_corpus

    # `predict` may get folders with a layout together with single clips.
    ignored = to_predict and not Path(source).is_dir()
    return read_corpus(
        source,
        layout=None if ignored else options.layout,
        pattern=None if ignored else options.pattern,
        target=options.target,
        path_column=options.path_column,
        speaker_column=options.speaker_column,
        votes=getattr(options, "votes_columns", None),  # `predict` has no votes
        raters=getattr(options, "rater_columns", None),
        on_mismatch="warn" if options.skip_unfit else "raise",
        to_predict=to_predict,
    )


def checked_system(options: argparse.Namespace) -> str:
    """Return the requested system after a check of its options."""
    rated = options.system == "emosphere"
    for name, given in (("--value-range", options.value_range), ("--tune-encoder", options.tune_encoder)):
        if given and not rated:
            raise ValueError(f"Got {name} with --system {options.system}, expected --system emosphere; leave it out.")
    if rated and options.value_range is None:
        raise ValueError(
            "Got --system emosphere without --value-range, expected the ends of the rating scale; add --value-range 1 7."
        )
    if options.system != SYSTEMS[0] and options.normalize is not None:
        raise ValueError(
            f"Got --normalize with --system {options.system}, which standardises frames itself, expected one of them; leave it "
            "out."
        )
    if options.system != SYSTEMS[0] and options.preset is not None:
        raise ValueError(f"Got --preset with --system {options.system}, expected --system {SYSTEMS[0]}; leave it out.")
    if options.tune_encoder and options.encoder is None:
        raise ValueError("Got --tune-encoder without --encoder, expected both; add --encoder NAME or FOLDER.")
    return str(options.system)


def build_pipeline(options: argparse.Namespace) -> Pipeline:
    from sklearn.pipeline import Pipeline

    from ..classifier import GenerativeTransportClassifier
    from ..featurizers import FEATURIZERS, SpeakerNormalizer
    from .system_pipelines import system_pipeline

    system = checked_system(options)
    usual = "acoustic" if system == "gen-ser" else "fbank"
    kind = "hubert" if options.encoder is not None else options.featurizer or usual
    featurizer = FEATURIZERS[kind](**(FBANK if kind == "fbank" else {}))
    own = featurizer.get_params()
    featurizer.set_params(**{name: value for name, value in featurizer_changes(options).items() if name in own})
    # With folds, there is a progress bar over folds.
    run = {"random_state": options.seed, "verbose": int(not options.quiet and "folds" not in options)}
    if options.device is not None:
        run["device"] = options.device
    if system == "gen-ser":
        normalizer = [("normalizer", SpeakerNormalizer())] if options.normalize else []
        classifier = GenerativeTransportClassifier.from_preset(options.preset or PRESETS[0], **run)
        pipeline = Pipeline([("featurizer", featurizer), *normalizer, ("classifier", classifier)])
    else:
        tuned = options.encoder if options.tune_encoder else None
        pipeline = system_pipeline(system, featurizer, value_range=options.value_range, tuned_encoder=tuned, **run)
    return pipeline.set_params(**dict(map(setting, options.set)))


def featurizer_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of a featuriser that do not change its features, and the path of the speech encoder."""
    cache = None if options.no_cache else options.cache
    changes = {"cache": cache, "n_jobs": options.jobs, "verbose": int(not options.quiet)}
    given = {"device": options.device, "model": options.encoder}
    return changes | {name: value for name, value in given.items() if value is not None}


def refuse_ignored(words: list[str], names: tuple[str, ...]) -> None:
    given = [name for name in names if any(word.partition("=")[0] == name for word in words)]
    if given:
        raise ValueError(
            f"Got {', '.join(given)} with --model, expected --model alone, as a trained model has its own settings and no "
            "folds; leave them out, or leave out --model to cross-validate."
        )


def check_outputs(inputs: Iterable[str | Path], *outputs: tuple[str, Path | None]) -> None:
    """
    Create the folders of outputs, pairs of an option and its path.

    Raises an error now if one could not be written later, or would replace an input or another output.
    """
    from ..files import create_parent, is_stream

    uses = {os.path.realpath(path): "read" for path in inputs}
    for name, path in outputs:
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"Got {name} {path}, which is a folder, expected the path of a file.")
        create_parent(name, path)
        if is_stream(path):
            continue
        place = os.path.realpath(path)
        if place in uses:
            raise ValueError(
                f"Got {name} {path}, a file that is also {uses[place]}, expected a file of its own; choose another name."
            )
        uses[place] = f"written by {name}"


def check_report(options: argparse.Namespace) -> None:
    """Check `--report` and `--pictures`, and that matplotlib is installed; the path of the report is left to `check_outputs`."""
    from ..files import create_parent
    from ..optional import require

    report, pictures = options.report, options.pictures
    if pictures is not None:
        if report is None:
            raise ValueError(f"Got --pictures {pictures} without --report, expected both; add --report FILE.")
        if pictures.exists() and not pictures.is_dir():
            raise ValueError(f"Got --pictures {pictures}, which is a file, expected the path of a folder.")
        create_parent("--pictures", pictures / "confusion.svg")
    if report is not None:
        require("matplotlib", "plots")


def form_by_ending(output: Path | None) -> str:
    if output is None:
        return "csv"
    ending = output.suffix.lower()
    if ending not in (".csv", ".jsonl"):
        raise ValueError(f"Got --output {output}, expected a name ending in .csv or .jsonl; use --format for others.")
    return ending[1:]


def kind_of_folds(text: str) -> str:
    """Refuse a number, which belongs to another option; `choices` refuse the rest."""
    if text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"Got {text}, expected a kind of folds ({', '.join(FOLDS)}); their number is --n-folds {text}."
        )
    return text


def setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or "__" not in name:
        raise ValueError(f"Got --set {text}, expected step__name=value, such as classifier__n_members=4.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
