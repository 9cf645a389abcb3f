"""Options common to the speech commands, and the objects built from them."""

from __future__ import annotations

import argparse
import ast
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .system_commands import named_system, system_pipeline_of

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

FEATURIZER_NAMES = ("egemaps", "fbank", "hubert")
# More accurate than the featuriser's defaults; --set overrides them.
FBANK = {"n_mels": 40, "deltas": 2}
LAYOUT_NAMES = ("ravdess", "emodb", "crema-d", "savee", "tess", "meld", "nemo", "urdu")
FOLD_NAMES = ("speaker", "leave-one-speaker-out", "split", "random")
MEASURE_NAMES = ("wa", "uar", "macro_f1", "log_loss", "ece", "jensen_shannon", "cross_entropy", "majority_accuracy")
# Repeated here, since the parser of every command imports this module; tests compare them with the originals.


def add_layout_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=LAYOUT_NAMES, help="corpus with known file names")
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
    parser.add_argument("--cache", help="folder of cached features (default: $GENDIFFCLF_CACHE or the user's cache)")
    parser.add_argument("--no-cache", action="store_true", help="do not cache features")
    parser.add_argument("--jobs", type=int, help="number of threads that read clips")
    parser.add_argument("--device", help="device of encoder and classifier (default: first of cuda, mps, cpu)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--featurizer", choices=FEATURIZER_NAMES, default="fbank", help="kind of features (default: %(default)s)"
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


def read_source(options: argparse.Namespace, source: str, *, to_predict: bool = False) -> pd.DataFrame:
    from .corpora import read_corpus

    mismatch = "warn" if options.skip_unfit else "raise"
    is_folder = Path(source).is_dir()
    with plain_warnings():
        return read_corpus(
            source,
            # `predict` may get folders with a layout together with single clips.
            layout=options.layout if is_folder else None,
            pattern=options.pattern if is_folder else None,
            target=options.target,
            path_column=options.path_column,
            speaker_column=options.speaker_column,
            votes=getattr(options, "votes_columns", None),  # `predict` has no votes
            raters=getattr(options, "rater_columns", None),
            on_mismatch=mismatch,
            to_predict=to_predict,
        )


def build_pipeline(options: argparse.Namespace) -> Pipeline:
    from sklearn.pipeline import Pipeline

    from ..classifier import GenerativeTransportClassifier
    from ..featurizers import FEATURIZERS, SpeakerNormalizer

    kind = "hubert" if options.encoder is not None else options.featurizer
    featurizer = FEATURIZERS[kind](**(FBANK if kind == "fbank" else {}))
    parameters = run_parameters(options)
    own = featurizer.get_params()
    featurizer.set_params(**{name: value for name, value in parameters.items() if name in own})
    if options.encoder is not None:
        featurizer.set_params(model=options.encoder)
    device = {} if options.device is None else {"device": options.device}
    # With folds, there is a progress bar over folds.
    verbose = int(not options.quiet and "folds" not in options)
    run = {"random_state": options.seed, "verbose": verbose, **device}
    if (system := named_system(options)) != "gen-ser":
        pipeline = system_pipeline_of(options, system, featurizer, **run)
        return pipeline.set_params(**dict(setting(text) for text in options.set))
    classifier = GenerativeTransportClassifier(**run)
    normalizer = [("normalizer", SpeakerNormalizer())] if options.normalize else []
    pipeline = Pipeline([("featurizer", featurizer), *normalizer, ("classifier", classifier)])
    return pipeline.set_params(**dict(setting(text) for text in options.set))


def run_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of a featuriser that do not change its features."""
    cache = None if options.no_cache else (options.cache if options.cache is not None else True)
    parameters: dict[str, Any] = {"cache": cache, "n_jobs": options.jobs, "verbose": int(not options.quiet)}
    return parameters if options.device is None else {**parameters, "device": options.device}


def model_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Changes for `load_model`: runtime parameters, and the path of the speech encoder."""
    encoder = {} if options.encoder is None else {"model": options.encoder}
    return {**run_parameters(options), **encoder}


def refuse_ignored(words: list[str], names: tuple[str, ...]) -> None:
    given = [name for name in names if any(word.partition("=")[0] == name for word in words)]
    if given:
        raise ValueError(
            f"Got {', '.join(given)} with --model, expected --model alone, as a trained model has its own settings and no "
            "folds; leave them out, or leave out --model to cross-validate."
        )


def check_output(name: str, path: Path | None) -> None:
    """Create the folder of an output, and raise an error now if it could not be written later."""
    from ..files import create_parent

    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"Got {name} {path}, which is a folder, expected the path of a file.")
    create_parent(name, path)


def check_report(options: argparse.Namespace) -> None:
    """Check the paths of `--report` and `--pictures`, and that matplotlib is installed."""
    from ..optional import require

    if options.pictures is not None and options.report is None:
        raise ValueError(f"Got --pictures {options.pictures} without --report, expected both; add --report FILE.")
    if options.pictures is not None and options.pictures.exists() and not options.pictures.is_dir():
        raise ValueError(f"Got --pictures {options.pictures}, which is a file, expected the path of a folder.")
    check_output("--report", options.report)
    if options.pictures is not None:
        check_output("--pictures", options.pictures / "confusion.svg")
    if options.report is not None:
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
            f"Got {text}, expected a kind of folds ({', '.join(FOLD_NAMES)}); their number is --n-folds {text}."
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


def plain_array(column: pd.Series) -> Any:
    """Return a column as an array without objects, which an .npz file could only hold pickled."""
    import numpy as np

    return column.to_numpy() if column.dtype.kind in "iufb" else np.array(column.astype(str).tolist())


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning as one line without its source."""
    before = warnings.formatwarning

    def plain(message: Warning | str, *source: Any) -> str:
        return f"warning: {message}\n"

    warnings.formatwarning = plain  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before
