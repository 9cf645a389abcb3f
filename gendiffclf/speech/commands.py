"""The speech commands of the command line: audit, features, train, predict, evaluate, compare, demo-speech."""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

FEATURIZER_NAMES = ("egemaps", "fbank", "hubert")
# Better than the plain energies of the featuriser's defaults; --set changes them.
FBANK = {"n_mels": 40, "deltas": 2}
LAYOUT_NAMES = ("ravdess", "emodb", "crema-d", "savee", "tess", "meld", "nemo", "urdu")
FOLD_NAMES = ("speaker", "leave-one-speaker-out", "split", "random")
MEASURE_NAMES = ("wa", "uar", "macro_f1", "log_loss", "ece")
# Written out, since the parser of every command imports this module and nothing heavy; tests compare.


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    """Options of `audit`."""
    _add_corpus_options(parser)
    parser.add_argument("--table-only", action="store_true", help="open no clip")
    parser.add_argument("--jobs", type=int, help="threads that read clips")
    parser.add_argument("--output", type=Path, help="also write the findings to this JSON file")
    parser.add_argument("--quiet", action="store_true", help="print no findings that are notes only")


def run_audit(options: argparse.Namespace) -> None:
    """Print what is wrong with a corpus; errors end the command with status 1."""
    from dataclasses import replace

    from .auditing import audit

    _check_output("--output", options.output)
    found = audit(_corpus(options, options.source), sound=not options.table_only, n_jobs=options.jobs)
    if options.output is not None:
        found.to_json(options.output)
    shown = [finding for finding in found.findings if not options.quiet or finding.severity != "note"]
    print(replace(found, findings=tuple(shown)))
    if found.errors:
        raise ValueError(f"{len(found.errors)} of the findings would make figures wrong; mend them first.")


def add_features_options(parser: argparse.ArgumentParser) -> None:
    """Options of `features`."""
    _add_corpus_options(parser)
    _add_pipeline_options(parser)
    parser.add_argument("--output", type=Path, help="also write features and table to this .npz file")


def run_features(options: argparse.Namespace) -> None:
    """Encode every clip into the cache, and report those that are broken."""
    import numpy as np

    from .files import whole_file
    from .training import encode_clips, failed

    _check_output("--output", options.output)
    corpus = _corpus(options, options.source)
    featurizer = _pipeline(options).steps[0][1]
    features = encode_clips(featurizer, corpus)
    failures = failed(features, corpus)
    if options.output is not None:
        names = [name for name in ("path", "start", "end", "label", "speaker") if name in corpus]
        columns = {name: _plain_array(corpus[name]) for name in names}
        with whole_file(options.output, binary=True) as file:  # savez would append .npz to other names
            np.savez(file, features=features.rows, **columns)
    print(f"{len(corpus) - len(failures)} of {len(corpus)} clips have features of shape {features.rows.shape[1:]}.")
    for path, reason in zip(failures["path"], failures["reason"], strict=True):
        print(f"broken: {path}: {reason}")


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    _add_corpus_options(parser)
    _add_pipeline_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there")
    parser.add_argument("--copy-encoder", action="store_true", help="copy a local encoder into the model's folder")
    parser.add_argument("--no-speakers", action="store_true", help="learn from a corpus that does not say who speaks")


def run_train(options: argparse.Namespace) -> None:
    """Fit, and write the model's folder."""
    from .model_folder import check_new_folder, save_model
    from .training import train

    check_new_folder("--output", options.output, options.overwrite)  # said before hours of work, not after
    corpus = _corpus(options, options.source)
    with _plain_warnings():
        pipeline = train(_pipeline(options), corpus, without_speakers=options.no_speakers)
    n_broken = len(pipeline.steps[0][1].failures_)
    about = {
        "target": options.target,
        "n_clips": len(corpus) - n_broken,
        "n_broken": n_broken,
        "n_speakers": int(corpus["speaker"].nunique()) if "speaker" in corpus else None,
    }
    save_model(pipeline, options.output, overwrite=options.overwrite, copy_encoder=options.copy_encoder, about=about)
    classes = ", ".join(map(str, pipeline.classes_))
    print(f"Learnt {classes} from {about['n_clips']} clips; the model is in {options.output}.")


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    """Options of `predict`."""
    parser.add_argument("model", type=Path, help="folder that `train` wrote")
    parser.add_argument("sources", nargs="+", help="clips, folders, or tables with the column path")
    parser.add_argument("--encoder", help="folder of the same speech encoder, if it has moved")
    _add_layout_options(parser)
    _add_run_options(parser)
    parser.add_argument("--output", type=Path, help="file of the predictions; standard output by default")
    parser.add_argument("--format", choices=("csv", "jsonl"), help="by default what the output's ending says, else csv")


def run_predict(options: argparse.Namespace) -> None:
    """Predict, and write a row for every clip, broken ones with a reason."""
    import pandas as pd

    from .model_folder import load_model
    from .prediction import predict_clips, write_predictions

    form = options.format or _form_by_ending(options.output)
    _check_output("--output", options.output)
    pipeline = load_model(options.model, **_model_changes(options))
    corpus = pd.concat([_corpus(options, source, to_predict=True) for source in options.sources], ignore_index=True)
    predictions = predict_clips(pipeline, corpus)
    write_predictions(predictions, options.output or sys.stdout, form)
    n_broken = int(predictions["error"].notna().sum())
    if n_broken:
        print(f"{n_broken} of {len(predictions)} clips are broken; the column error says why.", file=sys.stderr)


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `evaluate`."""
    _add_corpus_options(parser)
    _add_pipeline_options(parser)
    parser.add_argument("--model", type=Path, help="evaluate this model, learnt from other clips, in place of folds")
    parser.add_argument("--folds", choices=FOLD_NAMES, default="speaker", help="what a fold is (%(default)s)")
    parser.add_argument("--n-folds", type=int, default=5, help="folds at most (%(default)s)")
    parser.add_argument("--output", type=Path, help="also write measures and confusion matrices to this JSON file")
    parser.add_argument("--predictions", type=Path, help="also write every clip's prediction to this CSV file")
    parser.add_argument("--report", type=Path, help="also write a report to this HTML file")
    parser.add_argument("--pictures", type=Path, help="folder for the report's pictures as SVG files too")
    parser.add_argument(
        "--group", action="append", metavar="COLUMN", help="measure the groups of this column; can be repeated"
    )


def run_evaluate(options: argparse.Namespace) -> None:
    """Cross-validate, or try a model, and print the measures."""
    from .evaluation import evaluate, evaluate_fitted
    from .model_folder import load_model
    from .prediction import write_predictions

    _check_output("--output", options.output)
    _check_output("--predictions", options.predictions)
    _check_output("--report", options.report)
    if options.pictures is not None and options.report is None:
        raise ValueError(f"Got --pictures {options.pictures} without --report, expected both; name the report's file.")
    if options.model is not None:
        _refuse_ignored(options.words, ("--featurizer", "--normalize", "--set", "--folds", "--n-folds"))
    corpus = _corpus(options, options.source)
    with _plain_warnings():
        if options.model is not None:
            model = load_model(options.model, **_model_changes(options))
            found = evaluate_fitted(model, corpus, groups=options.group, random_state=options.seed)
        else:
            seed, progress = options.seed, int(not options.quiet)
            settings = {"n_folds": options.n_folds, "random_state": seed, "groups": options.group, "verbose": progress}
            found = evaluate(_pipeline(options), corpus, options.folds, **settings)
    print(found)
    found.about["command"] = shlex.join(["gendiffclf", *options.words])
    if options.output is not None:
        found.to_json(options.output)
    if options.predictions is not None:
        write_predictions(found.predictions, options.predictions)
    if options.report is not None:
        found.report(
            options.report, title=f"{options.target or 'Evaluation'}: {options.source}", pictures=options.pictures
        )


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    parser.add_argument("a", type=Path, help="predictions that `evaluate --predictions` wrote")
    parser.add_argument("b", type=Path, help="predictions of the same clips in the same folds")
    parser.add_argument("--measure", choices=MEASURE_NAMES, default="uar", help="what the claim is about (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random state of the bootstrap (%(default)s)")
    parser.add_argument("--output", type=Path, help="also write the comparison to this JSON file")
    parser.add_argument("--quiet", action="store_true", help="print the claim alone")


def run_compare(options: argparse.Namespace) -> None:
    """Print differences with intervals, and what may be claimed."""
    from .comparison import compare

    _check_output("--output", options.output)
    names = (options.a.stem, options.b.stem) if options.a.stem != options.b.stem else (str(options.a), str(options.b))
    found = compare(options.a, options.b, measure=options.measure, names=names, random_state=options.seed)
    if options.output is not None:
        found.to_json(options.output)
    print(found.claim if options.quiet else found)


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Options of `demo-speech`."""
    parser.add_argument("--speakers", type=int, default=12, help="voices (%(default)s)")
    parser.add_argument("--takes", type=int, default=2, help="clips of each vowel by each voice (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of voices, folds and classifier (%(default)s)")


def run_demo(options: argparse.Namespace) -> None:
    """Show the speech path on synthesised vowels."""
    from .demo import run_speech_demo

    run_speech_demo(n_speakers=options.speakers, n_takes=options.takes, random_state=options.seed)


# --------------------------------------------------------------------- options


def _add_layout_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=LAYOUT_NAMES, help="corpus whose names of files are known")
    parser.add_argument("--pattern", help="paths below the folder, such as {label}/{speaker}_*.wav")
    parser.add_argument(
        "--target", "--label-column", help="column to predict (default: emotion for a layout, else label)"
    )
    parser.add_argument("--path-column", default="path", help="column of a table that holds paths (%(default)s)")
    parser.add_argument("--skip-unfit", action="store_true", help="leave out files whose path does not fit")


def _add_corpus_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder, or table with the columns path, label, speaker and maybe start, end")
    _add_layout_options(parser)
    parser.add_argument("--speaker-column", default="speaker", help="column that says who speaks (%(default)s)")
    names: dict[str, Any] = {"metavar": "NAME,NAME", "type": lambda text: text.split(",")}
    parser.add_argument("--votes-columns", help="columns of votes, one for each class", **names)
    parser.add_argument("--rater-columns", help="columns of labels, one for each rater", **names)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", help="folder of the features (default: $GENDIFFCLF_CACHE, or the user's own)")
    parser.add_argument("--no-cache", action="store_true", help="keep no features")
    parser.add_argument("--jobs", type=int, help="threads that read clips")
    parser.add_argument("--device", help="where encoder and classifier run (default: the first of cuda, mps, cpu)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--featurizer", choices=FEATURIZER_NAMES, default="fbank", help="features of a clip (%(default)s)"
    )
    parser.add_argument("--encoder", help="name or folder of the speech encoder; implies --featurizer hubert")
    parser.add_argument("--normalize", choices=("speaker",), help="z-scores of the features within each speaker")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STEP__NAME=VALUE",
        help="a parameter, such as featurizer__layers=-1 or classifier__n_members=4; can be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, help="random state of folds and classifier (%(default)s)")
    _add_run_options(parser)


# ------------------------------------------------------- from options to objects


def _corpus(options: argparse.Namespace, source: str, *, to_predict: bool = False) -> pd.DataFrame:
    from .corpora import read_corpus

    is_folder = Path(source).is_dir()
    with _plain_warnings():
        return read_corpus(
            source,
            # Predictions may mix folders of a layout with single clips.
            layout=options.layout if is_folder else None,
            pattern=options.pattern if is_folder else None,
            target=options.target,
            path_column=options.path_column,
            speaker_column=getattr(options, "speaker_column", "speaker"),  # of no use to `predict`
            votes=getattr(options, "votes_columns", None),
            raters=getattr(options, "rater_columns", None),
            on_mismatch="warn" if options.skip_unfit else "raise",
            to_predict=to_predict,
        )


def _pipeline(options: argparse.Namespace) -> Pipeline:
    from sklearn.pipeline import Pipeline

    from ..classifier import GenerativeTransportClassifier
    from ..featurizers import FEATURIZERS, SpeakerNormalizer

    kind = "hubert" if options.encoder is not None else options.featurizer
    featurizer = FEATURIZERS[kind](**(FBANK if kind == "fbank" else {}))
    parameters = _run_parameters(options)
    own = featurizer.get_params()
    featurizer.set_params(**{name: value for name, value in parameters.items() if name in own})
    if options.encoder is not None:
        featurizer.set_params(model=options.encoder)
    device = {} if options.device is None else {"device": options.device}
    # While the measures of a fold are awaited, the bar of the folds is enough.
    verbose = int(not options.quiet and "folds" not in options)
    classifier = GenerativeTransportClassifier(random_state=options.seed, verbose=verbose, **device)
    normalizer = [("normalizer", SpeakerNormalizer())] if options.normalize else []
    pipeline = Pipeline([("featurizer", featurizer), *normalizer, ("classifier", classifier)])
    return pipeline.set_params(**dict(_setting(text) for text in options.set))


def _run_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of a featuriser that say how to run it, not what it computes."""
    cache = None if options.no_cache else (options.cache if options.cache is not None else True)
    parameters: dict[str, Any] = {"cache": cache, "n_jobs": options.jobs, "verbose": int(not options.quiet)}
    return parameters if options.device is None else {**parameters, "device": options.device}


def _model_changes(options: argparse.Namespace) -> dict[str, Any]:
    """What `load_model` changes: how to run, and where the speech encoder is."""
    place = {} if options.encoder is None else {"model": options.encoder}
    return {**_run_parameters(options), **place}


def _refuse_ignored(words: list[str], names: tuple[str, ...]) -> None:
    given = [name for name in names if any(word.partition("=")[0] == name for word in words)]
    if given:
        raise ValueError(
            f"Got {', '.join(given)} with --model, expected neither: a trained model has its own features and settings, and no "
            "folds; leave them out, or leave out --model to cross-validate."
        )


def _check_output(name: str, path: Path | None) -> None:
    """Make the folder of an output, and say before the work what would fail after it."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"Got {name} {path}, which is a folder, expected a file; name one in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Got {name} {path}, whose folder cannot be made ({error.strerror}), expected a folder that is there or can be "
            "made; choose another."
        ) from error
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"Got {name} {path} in a folder that is write-protected, expected one that is not; choose another."
        )


def _form_by_ending(output: Path | None) -> str:
    if output is None:
        return "csv"
    ending = output.suffix.lower()
    if ending not in (".csv", ".jsonl"):
        raise ValueError(f"Got --output {output}, expected a name that ends in .csv or .jsonl; --format allows others.")
    return ending[1:]


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or "__" not in name:
        raise ValueError(f"Got --set {text}, expected step__name=value, such as classifier__n_members=4.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _plain_array(column: pd.Series) -> Any:
    """A column without objects, which a file of arrays could only hold pickled."""
    import numpy as np

    return column.to_numpy() if column.dtype.kind in "iufb" else np.array(column.astype(str).tolist())


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as a line each, without the source that gave them."""
    before = warnings.formatwarning

    def plain(message: Warning | str, *place: Any) -> str:
        return f"warning: {message}\n"

    warnings.formatwarning = plain  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before
