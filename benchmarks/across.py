"""Emotion and gender of each of several corpora, by classifiers that were trained on the others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from gendiffclf.speech import evaluate
from gendiffclf.speech.names import MEASURES
from gendiffclf.speech.provenance import as_json

from . import speech
from .options import add_options, chosen
from .records import RESULTS, new_record, write_record

RECORD = RESULTS / "across.json"
COLUMNS = ("path", "label", "speaker", "corpus")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--corpora", nargs="+", required=True, metavar="LAYOUT=FOLDER", help="at least two")
    for name, known in {"features": speech.FEATURES, "models": speech.MODELS, "tasks": speech.TASKS}.items():
        parser.add_argument(f"--{name}", help=f"some of {','.join(known)} (default: all)")
    add_options(parser, RECORD, "--cache")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    features = chosen(arguments.features, speech.FEATURES, "--features")
    models = chosen(arguments.models, speech.MODELS, "--models")
    tasks = chosen(arguments.tasks, speech.TASKS, "--tasks")
    if len(arguments.corpora) < 2:
        raise ValueError(
            f"Got --corpora {arguments.corpora[0]}, expected at least two, of which one is tested at a time."
        )
    record = new_record(arguments.command_line, tasks={})
    for task in tasks:
        pooled = pooled_corpora(arguments.corpora, task)
        corpora = pooled["corpus"].to_numpy()
        folds = [(np.flatnonzero(corpora != name), np.flatnonzero(corpora == name)) for name in dict.fromkeys(corpora)]
        encoded, results = speech.encode_kinds(features, pooled, arguments.cache), []
        for name in speech.features_of_task(task, features):
            kinds, steps = speech.FEATURES[name]
            rows = np.hstack([encoded[kind].rows for kind in kinds])
            for model in models:
                pipeline = make_pipeline(*map(clone, steps), *speech.MODELS[model]())
                by_corpus = evaluate(pipeline, pooled, folds, features=rows, groups=["corpus"]).by_group
                measures = {row["value"]: _measures(row) for row in by_corpus.to_dict("records")}
                results.append({"features": name, "model": model, "corpora": measures})
                shown = ", ".join(f"{corpus} {found['uar']['value']:.3f}" for corpus, found in measures.items())
                print(f"{task} {name} {model}: UAR {shown}", flush=True)
        record["tasks"][task] = {"classes": sorted(pooled["label"].unique()), "results": results}
    write_record(record, arguments.output)
    return 0


def pooled_corpora(texts: Sequence[str], task: str) -> pd.DataFrame:
    """Clips of all corpora whose labels are in each of them, with the column `corpus` and speakers named after it."""
    tables = []
    for text in texts:
        clips = speech.read_named_corpus(text, task)
        name = text.partition("=")[0]
        tables.append(clips.assign(corpus=name, speaker=name + " " + clips["speaker"])[list(COLUMNS)])
    shared = set.intersection(*(set(table["label"]) for table in tables))
    if len(shared) < 2:
        raise ValueError(
            f"Got corpora with the labels {sorted(shared)} in all of them, expected at least two such labels; leave out a corpus."
        )
    pooled = pd.concat(tables, ignore_index=True)
    return pooled[pooled["label"].isin(shared)].reset_index(drop=True)


def _measures(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Measures with bounds, of a row of `Evaluation.by_group`."""
    return as_json(
        {name: {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]} for name in MEASURES}
    )
