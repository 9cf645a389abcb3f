"""The speech commands audit, features, train, predict, evaluate and compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .names import FOLDS, MEASURES, VOTE_MEASURES, counted
from .options import (
    add_accept_option,
    add_corpus_options,
    add_layout_options,
    add_pipeline_options,
    add_run_options,
    add_system_options,
    build_pipeline,
    check_outputs,
    check_report,
    checked_system,
    featurizer_changes,
    form_by_ending,
    kind_of_folds,
    read_source,
    refuse_ignored,
)

if TYPE_CHECKING:
    import pandas as pd


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    add_accept_option(parser)
    parser.add_argument("--table-only", action="store_true", help="check only the table, without opening clips")
    parser.add_argument("--jobs", type=int, help="number of threads that read clips")
    parser.add_argument("--output", type=Path, help="also write the findings to this JSON file")
    parser.add_argument("--quiet", action="store_true", help="do not print notes")


def run_audit(options: argparse.Namespace) -> None:
    """Print the findings of an audit; errors end the command with status 1."""
    from dataclasses import replace

    from .auditing import audit

    check_outputs([options.source], ("--output", options.output))
    audited = audit(read_source(options, options.source), sound=not options.table_only, n_jobs=options.jobs).accept(
        options.accept
    )
    if options.output is not None:
        audited.to_json(options.output)
    shown = [finding for finding in audited.findings if not options.quiet or finding.severity != "note"]
    print(replace(audited, findings=tuple(shown)))
    if audited.errors:
        raise ValueError(
            f"Got {counted(len(audited.errors), 'error')} in the corpus, expected none; correct them, or accept those that are "
            "intended (--accept CODE)."
        )


def add_features_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    add_pipeline_options(parser)
    parser.add_argument(
        "--output",
        type=Path,
        help="also write features and table to this .npz file; frames of all clips one after the other, with n_frames",
    )


def run_features(options: argparse.Namespace) -> None:
    """Encode every clip into the cache, and report those that are broken."""
    import numpy as np

    from ..files import atomic_file
    from .training import encode_clips

    check_outputs([options.source], ("--output", options.output))
    corpus = read_source(options, options.source)
    featurizer = build_pipeline(options).steps[0][1]
    features = encode_clips(featurizer, corpus)
    broken, rows = features.broken, features.rows
    frames = rows.dtype == object
    if options.output is not None:
        names = [name for name in ("path", "start", "end", "label", "speaker") if name in corpus]
        # Without arrays of objects, which an .npz file could only hold pickled.
        columns: dict[str, Any] = {
            name: column.to_numpy() if column.dtype.kind in "iufb" else np.array(column.astype(str).tolist())
            for name, column in corpus[names].items()
        }
        if frames:
            columns["n_frames"] = np.array([len(row) for row in rows])
        with atomic_file(options.output, binary=True) as file:  # savez would append .npz to other names
            np.savez(file, features=np.concatenate(rows) if frames else rows, **columns)
    what = f"frames of shape {rows[0].shape[1:]}" if frames else f"features of shape {rows.shape[1:]}"
    print(f"{len(corpus) - len(broken)} of {len(corpus)} clips have {what}.")
    for path, reason in broken.itertuples(index=False):
        print(f"broken: {path}: {reason}")


def add_train_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    add_pipeline_options(parser)
    add_accept_option(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model")
    parser.add_argument(
        "--copy-encoder", action="store_true", help="copy a local speech encoder into the folder of the model"
    )
    parser.add_argument("--no-speakers", action="store_true", help="train on a corpus without speakers")
    add_system_options(parser)


def run_train(options: argparse.Namespace) -> None:
    """Train a pipeline and save it to a folder."""
    from ..systems.model_folder import check_new_folder
    from .model_folder import save_model
    from .ratings import train_ratings
    from .training import end_if_interrupted, train

    check_new_folder("--output", options.output, options.overwrite)  # before hours of training
    if Path(options.source).resolve().is_relative_to(options.output.resolve()):
        raise ValueError(
            f"Got --output {options.output}, a folder that would be replaced together with {options.source}, which is read, "
            "expected another one; choose another name."
        )
    rated = checked_system(options) == "emosphere"
    corpus = read_source(options, options.source)
    if rated:
        pipeline = train_ratings(build_pipeline(options), corpus, accept=options.accept)
    else:
        pipeline = train(build_pipeline(options), corpus, without_speakers=options.no_speakers, accept=options.accept)
    end_if_interrupted(pipeline)
    n_broken = len(getattr(pipeline.steps[0][1], "failures_", ()))
    about = {
        "target": "ratings" if rated else options.target,
        "n_clips": len(corpus) - n_broken,
        "n_broken": n_broken,
        "n_speakers": int(corpus["speaker"].nunique()) if "speaker" in corpus else None,
        "accepted": options.accept,
    }
    save_model(pipeline, options.output, overwrite=options.overwrite, copy_encoder=options.copy_encoder, about=about)
    outputs = pipeline.steps[-1][1].dimensions_ if rated else pipeline.classes_
    what = f"clips {'rated for' if rated else 'of'} {', '.join(map(str, outputs))}"
    print(f"Trained on {about['n_clips']} {what}; the model is in {options.output}.")


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder that `train` wrote")
    parser.add_argument("sources", nargs="+", help="clips, folders, or tables with the column path")
    parser.add_argument("--encoder", help="new path of the speech encoder, if it was moved")
    add_layout_options(parser)
    add_run_options(parser)
    parser.add_argument("--output", type=Path, help="file for the predictions (default: standard output)")
    parser.add_argument(
        "--format",
        choices=("csv", "jsonl"),
        help="format of the predictions (default: by the suffix of --output, or csv)",
    )


def run_predict(options: argparse.Namespace) -> None:
    """Predict, and write a row for every clip, with the reason for broken ones; status 1 if all are broken."""
    import pandas as pd

    from .model_folder import load_model
    from .prediction import predict_clips, write_predictions
    from .ratings import predict_ratings
    from .sound_checks import about_paths
    from .system_pipelines import rates

    form = options.format or form_by_ending(options.output)
    check_outputs(options.sources, ("--output", options.output))
    pipeline = load_model(options.model, **featurizer_changes(options))
    corpus = pd.concat([read_source(options, source, to_predict=True) for source in options.sources], ignore_index=True)
    predictions = (predict_ratings if rates(pipeline) else predict_clips)(pipeline, corpus)
    write_predictions(predictions, options.output or sys.stdout, form)
    _say_written(predictions=options.output)
    if predictions["error"].notna().all():
        clip, reason = predictions[["path", "error"]].iloc[0]
        raise ValueError(
            f"Got no prediction for {counted(len(predictions), 'clip')} ({clip}: {reason}), expected at least one clip that "
            f"can be read; check the paths, and repair or replace the clips{about_paths(predictions['error'].tolist())}."
        )


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    add_pipeline_options(parser)
    add_accept_option(parser)
    parser.add_argument(
        "--model", type=Path, help="evaluate this model, trained on other clips, instead of cross-validating"
    )
    parser.add_argument(
        "--folds",
        type=kind_of_folds,
        choices=FOLDS,
        default="speaker",
        help="kind of folds (default: %(default)s); their number is --n-folds",
    )
    parser.add_argument("--n-folds", type=int, default=5, help="maximum number of folds (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write measures and confusion matrices to this JSON file")
    parser.add_argument("--predictions", type=Path, help="also write the prediction for each clip to this CSV file")
    parser.add_argument(
        "--report", type=Path, help="also write a report to this HTML file; needs the extra plots; not for emosphere"
    )
    parser.add_argument(
        "--pictures", type=Path, help="also write the report's figures to this folder as SVG files (with --report)"
    )
    parser.add_argument(
        "--group",
        action="append",
        metavar="COLUMN",
        help="measure the groups of this column instead of those of gender, age and the like; can be repeated",
    )
    add_system_options(parser)


def run_evaluate(options: argparse.Namespace) -> None:
    """Cross-validate, or evaluate a model, and print the measures."""
    from .prediction import write_predictions

    check_report(options)
    check_outputs(
        [options.source],
        ("--output", options.output),
        ("--predictions", options.predictions),
        ("--report", options.report),
    )
    if options.model is not None:
        ignored = ("--featurizer", "--normalize", "--set", "--folds", "--n-folds", "--system", "--preset")
        refuse_ignored(options.words, ignored)
    checked_system(options)
    evaluation = _evaluate(options, read_source(options, options.source))
    evaluation.about["command"] = options.command_line
    print(evaluation)
    if options.output is not None:
        evaluation.to_json(options.output)
    if options.predictions is not None:
        write_predictions(evaluation.predictions, options.predictions)
    if options.report is not None:
        evaluation.report(
            options.report,
            title=f"{options.target or 'Evaluation'}: {Path(options.source).name}",
            pictures=options.pictures,
        )
    _say_written(
        measures=options.output, predictions=options.predictions, report=options.report, pictures=options.pictures
    )


def _evaluate(options: argparse.Namespace, corpus: pd.DataFrame) -> Any:
    from .evaluation import evaluate, evaluate_fitted
    from .model_folder import load_model
    from .ratings import evaluate_ratings
    from .system_pipelines import rates

    fitted = options.model is not None
    model = load_model(options.model, **featurizer_changes(options)) if fitted else build_pipeline(options)
    common: dict[str, Any] = {"random_state": options.seed, "accept": options.accept}
    settings: dict[str, Any] = {"n_folds": options.n_folds, "verbose": int(not options.quiet), **common}
    if rates(model):
        if options.report is not None or options.group is not None:
            raise ValueError("Got --report or --group for ratings, expected labels; leave out these options.")
        return evaluate_ratings(model, corpus, options.folds, fitted=fitted, **settings)
    if fitted:
        return evaluate_fitted(model, corpus, groups=options.group, **common)
    return evaluate(model, corpus, options.folds, groups=options.group, **settings)


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, help="predictions that `evaluate --predictions` wrote")
    parser.add_argument("b", type=Path, help="predictions for the same clips in the same folds")
    parser.add_argument(
        "--measure",
        choices=(*MEASURES, *VOTE_MEASURES),
        default="uar",
        help="measure to compare by (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random state of the bootstrap (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write the comparison to this JSON file")
    parser.add_argument("--quiet", action="store_true", help="print only the conclusion")


def run_compare(options: argparse.Namespace) -> None:
    """Print differences with intervals, and the conclusion that they allow."""
    from .comparison import compare

    check_outputs([options.a, options.b], ("--output", options.output))
    names = (options.a.stem, options.b.stem) if options.a.stem != options.b.stem else (str(options.a), str(options.b))
    comparison = compare(options.a, options.b, measure=options.measure, names=names, random_state=options.seed)
    if options.output is not None:
        comparison.to_json(options.output)
    print(comparison.claim if options.quiet else comparison)


def _say_written(**outputs: Path | None) -> None:
    """Print on standard error where outputs are; options that were not given are left out."""
    given = [f"{what} to {path}" for what, path in outputs.items() if path is not None]
    if given:
        print(f"Wrote {', '.join(given)}.", file=sys.stderr)
