"""The paper's tables on a corpus and with encoders of one's own: encoder and linear head against ours (1, 2), steps (3)."""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import FbankFeaturizer, FeatureCache, GenerativeTransportClassifier, HubertFeaturizer
from gendiffclf.featurizers import SpeechFeaturizer
from gendiffclf.parameters import presets
from gendiffclf.speech import Evaluation, evaluate
from gendiffclf.speech.evaluation import class_probabilities
from gendiffclf.speech.folds import FOLDS, fold_rows, shared_speakers
from gendiffclf.speech.measures import MEASURES
from gendiffclf.speech.results import summarize
from gendiffclf.speech.training import ClipFeatures, encode_clips, failed, fit_rows
from gendiffclf.transport.learned import LearnedPath

from .models import configuration
from .provenance import provenance, write_record
from .speech import add_corpus_argument, read_named_corpus

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("benchmarks/results")
TARGETS = {1: "emotion", 2: "gender", 3: "emotion"}
STEPS = (1, 2, 4, 10, 20)
FBANK = "fbank"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--table", type=int, choices=sorted(TARGETS), required=True, help="which table of the paper")
    parser.add_argument(
        "--encoder",
        action="append",
        required=True,
        help="folder or name of a speech encoder, or fbank; can be repeated",
    )
    add_corpus_argument(parser)
    parser.add_argument("--target", help="column to predict (default: emotion in 1 and 3, gender in 2)")
    parser.add_argument("--folds", choices=FOLDS, help="default: split where the corpus has one, as MELD, else speaker")
    parser.add_argument("--n-folds", type=int, default=5, help="folds of whole speakers (default: %(default)s)")
    parser.add_argument("--preset", choices=presets(), default="default", help="of ours (default: %(default)s)")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="parameter of ours")
    parser.add_argument("--device", default="auto", help="where encoder and classifier run (default: %(default)s)")
    parser.add_argument("--cache", help="folder of the features (default: the user's own)")
    parser.add_argument("--output", type=Path, help="file of the record (default: results/paper_table_<n>.json)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    corpus = read_named_corpus(arguments.corpus, arguments.target or TARGETS[arguments.table])
    folds = arguments.folds or ("split" if "split" in corpus else "speaker")
    ours = _ours(arguments)
    rows = []
    for name in arguments.encoder:
        features = encode_clips(_featurizer(name, arguments), corpus)
        shown = _shown(name)
        if arguments.table == 3:
            found = steps(ours, corpus, features, folds, arguments.n_folds)
            rows += [_row(shown, f"ours, {n} {'step' if n == 1 else 'steps'}", e, n_steps=n) for n, e in found.items()]
        else:
            found = heads(ours, corpus, features, folds, arguments.n_folds)
            rows += [_row(shown, head, e) for head, e in found.items()]
    record = {
        **provenance(arguments.command_line),
        "table": arguments.table,
        "corpus": arguments.corpus.partition("=")[0] if "=" in arguments.corpus else Path(arguments.corpus).name,
        "target": arguments.target or TARGETS[arguments.table],
        "folds": folds,
        "ours": configuration(ours),
        "n_clips": len(corpus),
        "n_broken": len(features.failures),
        "rows": rows,
    }
    print(table_text(rows))
    write_record(record, arguments.output or RESULTS / f"paper_table_{arguments.table}.json")
    return 0


def linear_head() -> BaseEstimator:
    """A linear layer on standardised features, trained by cross-entropy."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def heads(
    ours: BaseEstimator, corpus: pd.DataFrame, features: ClipFeatures, folds: str, n_folds: int
) -> dict[str, Evaluation]:
    """
    Tables 1 and 2: the same encoder under a linear head, and under ours.

    The linear head reads the last layer, as in the paper; ours starts there and is conditioned on those before.
    """
    last = features.rows if features.rows.ndim == 2 else features.rows[:, -1]  # (n, layers, d) -> (n, d)
    settings = {"n_folds": n_folds}
    return {
        "linear head": evaluate(linear_head(), corpus, folds, features=last, **settings),
        "ours": evaluate(ours, corpus, folds, features=features.rows, **settings),
    }


def steps(
    ours: BaseEstimator, corpus: pd.DataFrame, features: ClipFeatures, folds: str, n_folds: int
) -> dict[int, Evaluation]:
    """Table 3: each fold's one fit, asked with different numbers of steps."""
    y = corpus["label"].to_numpy()
    speakers = corpus["speaker"].to_numpy().astype(str) if "speaker" in corpus else None
    classes = np.unique(y[features.whole])
    pairs = fold_rows(corpus, features.whole, folds, n_folds=n_folds)
    shared = shared_speakers(corpus, pairs)
    # One step of Euler's method hardly leaves the start.
    parts: dict[int, list[Any]] = {n: [] for n in STEPS if n > 1 or ours.path.solver == "exact"}
    for train, test in pairs:
        fitted = fit_rows(ours, features.rows[train], y[train], None if speakers is None else speakers[train])
        for n in parts:
            fitted.path_.set_params(n_steps=n)
            proba = class_probabilities(fitted, features.rows[test], classes)
            parts[n].append((train, test, classes[proba.argmax(axis=1)], proba))
    return {n: summarize(corpus, classes, found, failed(features, corpus), shared) for n, found in parts.items()}


def table_text(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text, in percent."""
    width = max(len(row["encoder"]) for row in rows) + 2
    lines = [f"{'encoder':<{width}}{'head':<16}{'WA %':>8}{'UAR %':>8}{'± se':>7}{'ECE':>8}"]
    for row in rows:
        error = f"{100 * row['uar_se']:>7.1f}" if row["uar_se"] is not None else f"{'':>7}"
        lines.append(
            f"{row['encoder']:<{width}}{row['head']:<16}{100 * row['wa']:>8.2f}{100 * row['uar']:>8.2f}{error}"
            f"{row['ece']:>8.3f}"
        )
    return "\n".join(lines)


def _row(encoder: str, head: str, found: Evaluation, **more: Any) -> dict[str, Any]:
    mean, error = found.mean, found.standard_error
    errors = {f"{name}_se": None if np.isnan(error[name]) else error[name] for name in MEASURES}
    by_fold = json.loads(found.folds.to_json(orient="records"))
    return {"encoder": encoder, "head": head, **more, **mean, **errors, "folds": by_fold}


def _ours(arguments: argparse.Namespace) -> GenerativeTransportClassifier:
    parameters = dict(_parameter(text) for text in arguments.param)
    # Steps make a difference on a learned path alone.
    learned = {"path": LearnedPath(), "estimator": "network"}
    settings = learned if arguments.table == 3 and arguments.preset == "default" else {}
    ours = GenerativeTransportClassifier.from_preset(arguments.preset, **settings)
    return ours.set_params(random_state=0, device=arguments.device).set_params(**parameters)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"Got --param {text}, expected name=value.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _featurizer(name: str, arguments: argparse.Namespace) -> SpeechFeaturizer:
    cache = FeatureCache(arguments.cache) if arguments.cache else True
    if name == FBANK:
        return FbankFeaturizer(cache=cache, verbose=1)
    return HubertFeaturizer(name, layers="all", device=arguments.device, cache=cache, verbose=1)


def _shown(name: str) -> str:
    """A folder by its own name alone, a hub name as it is."""
    return Path(name).name if Path(name).is_dir() else name
