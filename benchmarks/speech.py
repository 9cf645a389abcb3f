"""Emotion and gender from speech without pretrained weights: log-mel statistics, folds of whole speakers, ours and peers."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gendiffclf import FbankFeaturizer, FeatureCache
from gendiffclf.speech import evaluate, read_corpus
from gendiffclf.speech.corpora import clips
from gendiffclf.speech.folds import Fold, fold_rows
from gendiffclf.speech.measures import MEASURES
from gendiffclf.speech.training import ClipFeatures, encode_clips

from .models import configuration, create_model
from .provenance import provenance, write_record

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("benchmarks/results/speech.json")
# Settings of the features. Each fold takes the one that is best in folds of its own training speakers.
CANDIDATES: list[dict[str, Any]] = [
    {"n_mels": n_mels, "deltas": deltas, "dither": dither}
    for n_mels in (26, 40, 80)
    for deltas in (0, 2)
    for dither in (1.0, 4.0)
]
JUDGES = ("logreg", "svm")
"""Whose mean recall there decides: quick ones, and not ours."""
N_INNER = 4

MODELS: dict[str, Callable[[], BaseEstimator]] = {
    "ours": lambda: create_model("ours"),
    "logreg": lambda: create_model("logreg"),
    # Labels of an SVM are better taken from itself than from probabilities fitted to it.
    "svm": lambda: make_pipeline(StandardScaler(), SVC()),
    "svm_c10": lambda: make_pipeline(StandardScaler(), SVC(C=10)),
    # Its threads spin: where cores are shared, two are a hundred times slower than one. Labels are the same.
    "lightgbm": lambda: create_model("lightgbm", {"n_jobs": 1}),
}
TASKS = {"emotion": "uar", "gender": "wa"}
"""The measure by which models are compared: mean recall of emotions, accuracy of genders."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_corpus_argument(parser)
    parser.add_argument("--models", default=",".join(MODELS), help="models, ours first (default: %(default)s)")
    parser.add_argument("--tasks", default=",".join(TASKS), help="columns to predict (default: %(default)s)")
    parser.add_argument("--n-folds", type=int, default=5, help="folds of whole speakers (default: %(default)s)")
    parser.add_argument("--cache", help="folder of the features (default: the user's own)")
    parser.add_argument("--originals", type=Path, help="folder of the same clips as published, to compare labels with")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def add_corpus_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--corpus LAYOUT=FOLDER`."""
    parser.add_argument("--corpus", required=True, metavar="LAYOUT=FOLDER", help="a corpus, such as ravdess=FOLDER")


def read_named_corpus(text: str, target: str) -> pd.DataFrame:
    """Table of `LAYOUT=FOLDER`, or of a CSV file."""
    layout, equals, folder = text.partition("=")
    return read_corpus(folder, layout=layout, target=target) if equals else read_corpus(text, target=target)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    models, tasks = _names(arguments.models, MODELS, "--models"), _names(arguments.tasks, TASKS, "--tasks")
    cache = FeatureCache(arguments.cache) if arguments.cache else True
    record: dict[str, Any] = {
        **provenance(arguments.command_line),
        "corpus": arguments.corpus.partition("=")[0] if "=" in arguments.corpus else Path(arguments.corpus).name,
        "candidates": CANDIDATES,
        "judges": list(JUDGES),
        "models": {name: configuration(MODELS[name]()) for name in models},
        "tasks": {},
    }
    for task in tasks:
        corpus = read_named_corpus(arguments.corpus, task)
        features = [encode_clips(FbankFeaturizer(**setting, cache=cache), corpus) for setting in CANDIDATES]
        runs = measure_task(corpus, features, models, arguments.n_folds, print)
        record["tasks"][task] = {
            "n_clips": len(corpus),
            "n_broken": len(features[0].failures),
            "n_speakers": int(corpus["speaker"].nunique()),
            "n_folds": arguments.n_folds,
            "measure": TASKS[task],
            "runs": runs,
            "summary": summary(runs, TASKS[task]),
        }
        print(f"\n{task}, {TASKS[task]}\n{summary_text(record['tasks'][task]['summary'])}\n")
    if arguments.originals is not None:
        record["originals"] = compare_originals(arguments, cache)
    write_record(record, arguments.output)
    return 0


def measure_task(
    corpus: pd.DataFrame,
    features: list[ClipFeatures],
    models: list[str],
    n_folds: int,
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """
    Measure all models on the same folds of whole speakers and the same features.

    Parameters
    ----------
    corpus : DataFrame
        With `label` and `speaker`.
    features : list of ClipFeatures
        Of each of `CANDIDATES`.
    models : list of str
        Keys of `MODELS`.
    n_folds : int
    report : callable
        Called with a line of text for each run.

    Returns
    -------
    list of dict
        A record for each fold and model: sizes, measures, seconds, and the features that were chosen.
    """
    runs = []
    for number, (train, test) in enumerate(fold_rows(corpus, features[0].whole, n_folds=n_folds)):
        chosen, inner = choose_features(corpus, features, train)
        for name in models:
            begin = time.perf_counter()
            found = _evaluate(MODELS[name](), corpus, [(train, test)], features[chosen])
            measured = {measure: found.mean[measure] for measure in MEASURES}
            run = {
                "fold": number,
                "model": name,
                "features": CANDIDATES[chosen],
                "inner_uar_of_features": inner,
                "n_train": len(train),
                "n_test": len(test),
                **{measure: None if np.isnan(value) else value for measure, value in measured.items()},
                "seconds": time.perf_counter() - begin,
            }
            runs.append(run)
            report(
                f"fold {number} {name}: WA {run['wa']:.4f} UAR {run['uar']:.4f} {run['seconds']:.1f} s, "
                f"features {CANDIDATES[chosen]}"
            )
    return runs


def choose_features(corpus: pd.DataFrame, features: list[ClipFeatures], train: np.ndarray) -> tuple[int, list[float]]:
    """The candidate of the best mean recall in folds of the training speakers, and what each reached."""
    table = corpus.iloc[train].reset_index(drop=True)
    inner = fold_rows(table, np.arange(len(table)), n_folds=N_INNER)
    reached = []
    for candidate in features:
        rows = ClipFeatures(candidate.rows[train])
        reached.append(float(np.mean([_evaluate(MODELS[judge](), table, inner, rows).mean["uar"] for judge in JUDGES])))
    return int(np.argmax(reached)), reached  # of equal ones the smallest


def _evaluate(model: BaseEstimator, corpus: pd.DataFrame, folds: list[Fold], features: ClipFeatures) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got .* clips that are broken", UserWarning)  # recorded
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)  # LightGBM, of arrays
        return evaluate(clone(model), corpus, folds, features=features.rows)


def summary(runs: list[dict[str, Any]], measure: str) -> dict[str, dict[str, Any]]:
    """Mean and standard error of each model over folds, and of its difference from the first model, in each measure."""
    names = list(dict.fromkeys(run["model"] for run in runs))
    table: dict[str, dict[str, Any]] = {}
    for name in names:
        table[name] = {}
        for column in (*MEASURES, "seconds"):
            values = [run.get(column) for run in runs if run["model"] == name]
            if None in values:
                continue
            table[name][column] = float(np.mean(values))
            table[name][f"{column}_se"] = _standard_error(values)
        first, own = ([run[measure] for run in runs if run["model"] == n] for n in (names[0], name))
        difference = np.subtract(first, own)
        table[name]["first_less_this"] = float(difference.mean())
        table[name]["first_less_this_se"] = _standard_error(difference)
        table[name]["measure"] = measure
    return table


def summary_text(table: dict[str, dict[str, Any]]) -> str:
    """The summary as aligned text, the best first."""
    first = next(iter(table))
    lines = [f"{'model':<12}{'measure':>9}{'± se':>8}{'ECE':>8}{f'  {first} less this':>20}{'± se':>8}{'s a fold':>10}"]
    for name, row in sorted(table.items(), key=lambda item: -item[1][item[1]["measure"]]):
        measure = row["measure"]
        ece = f"{row['ece']:>8.3f}" if "ece" in row else f"{'':>8}"
        lines.append(
            f"{name:<12}{row[measure]:>9.4f}{row[f'{measure}_se']:>8.4f}{ece}{row['first_less_this']:>20.4f}"
            f"{row['first_less_this_se']:>8.4f}{row['seconds']:>10.1f}"
        )
    return "\n".join(lines)


def compare_originals(arguments: argparse.Namespace, cache: Any) -> list[dict[str, Any]]:
    """
    Labels of clips as published, of any rate and number of channels, beside those of their twins in the corpus.

    The classifier learns from the other speakers.
    """
    # No slopes: their means are differences of the first and the last frames, which rounding changes most.
    setting = {"n_mels": 40, "dither": 4.0}
    compared = []
    for task in TASKS:
        corpus = read_named_corpus(arguments.corpus, task)
        layout = arguments.corpus.partition("=")[0]
        originals = read_corpus(arguments.originals, layout=layout, target=task)
        twins = corpus.assign(stem=corpus["path"].map(_stem)).set_index("stem").loc[originals["path"].map(_stem)]
        others = corpus[~corpus["speaker"].isin(originals["speaker"])]
        featurizer = FbankFeaturizer(**setting, cache=cache)
        model = MODELS["ours"]()
        model.fit(featurizer.transform(clips(others)), others["label"], groups=others["speaker"].to_numpy().astype(str))
        published, twin = (featurizer.transform(clips(table)) for table in (originals, twins))
        of_published, of_twin = model.predict_proba(published), model.predict_proba(twin)
        for row, name in enumerate(originals["path"].map(_stem)):
            compared.append(
                {
                    "clip": name,
                    "task": task,
                    "published": str(model.classes_[of_published[row].argmax()]),
                    "twin": str(model.classes_[of_twin[row].argmax()]),
                    "largest_difference_of_probability": float(np.abs(of_published[row] - of_twin[row]).max()),
                    "largest_difference_of_features": float(np.abs(published[row] - twin[row]).max()),
                }
            )
    same = sum(pair["published"] == pair["twin"] for pair in compared)
    print(f"originals: {same} of {len(compared)} labels are those of the twins")
    return compared


def _standard_error(values: Any) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _stem(path: str) -> str:
    return Path(path).stem


def _names(text: str, known: Any, option: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"Got {option} {text}, expected some of {','.join(known)}.")
    return names
