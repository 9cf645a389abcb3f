"""The page of speech results, from the records of `speech`, `across` and `encoding`."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan, nan
from pathlib import Path
from statistics import mean
from typing import Any

from gendiffclf.speech.names import LOWER_IS_BETTER, TITLES

from . import across, encoding
from .markdown import number, table
from .models import NAMES
from .records import Record, read_record
from .speech import CORPORA, FOLDER, TASKS
from .summary import Interval

TEXTS = {
    "acoustic": ("acoustic", "`AcousticFeaturizer()`: spectrum, pitch and voicing; it needs no further package"),
    "acoustic_speaker": ("acoustic, speaker-normalised", "the same, then `SpeakerNormalizer()`"),
    "egemaps": ("eGeMAPS", "`EgemapsFeaturizer()`: acoustic parameters of openSMILE, free for research only"),
    "egemaps_speaker": ("eGeMAPS, speaker-normalised", "the same, then `SpeakerNormalizer()`"),
    "fbank": ("log-mel statistics", "`FbankFeaturizer()`, which needs no further package"),
    "ge2e": (
        "GE2E",
        "a pretrained speaker encoder, [through `FunctionFeaturizer`](gender.md#with-a-pretrained-encoder)",
    ),
    "acoustic_ge2e": ("acoustic and GE2E", "[both together](featurizers.md#several-kinds-together)"),
    "acoustic_ge2e_speaker": ("acoustic and GE2E, speaker-normalised", "the same, then `SpeakerNormalizer()`"),
}
"""Name and description of features on the page."""
SHOWN = {name: text for name, (text, _) in TEXTS.items()}
PEERS = {"ours": "ours", "svm": "SVM", **NAMES}
ABOUT = {
    "ravdess": "English, acted, two sentences (Livingstone and Russo 2018, CC BY-NC-SA 4.0)",
    "emodb": "German, acted, ten sentences (Burkhardt et al. 2005), from a copy at 22.05 kHz, cut to 2 s a clip, so not to be "
    "compared with published figures",
    "nemo": "Polish, acted, ninety sentences (Christop 2024, CC BY-NC-SA 4.0)",
    "urdu": "Urdu, cut from talk shows (Latif et al. 2018, for research only)",
}
"""Language, origin and licence."""


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    read = {name: read_record(results / FOLDER.name / f"{name}.json") for name in CORPORA}
    records = {name: record for name, record in read.items() if record}
    if not records:
        return {}
    return {
        "records": records,
        "corpora": CORPORA,
        "about": ABOUT,
        "texts": TEXTS,
        "n_values": {
            name: found["n_values"] for record in records.values() for name, found in record["features"].items()
        },
        "overview": {task: _overview(records, task) for task in TASKS},
        "of_classifiers": {task: _of_classifiers(records, task) for task in TASKS},
        "headline": _headline(records),
        "confounded": [CORPORA[name] for name, record in records.items() if "speakers-by-class" in record["audit"]],
        "in_short": _in_short,
        "figures": _figures,
        "across": _across(results),
        "encoding": encoding.context(results),
    }


def _headline(records: dict[str, Record]) -> str:
    """UAR of emotions in each corpus: ours on features that need nothing, and an SVM on eGeMAPS, a usual baseline."""
    ways = {"`AcousticFeaturizer`, ours": ("acoustic", "ours"), "eGeMAPS, SVM": ("egemaps", "svm")}
    lines = []
    for name, record in records.items():
        found = {
            (row["features"], row["model"]): row["measures"]["uar"] for row in record["tasks"]["emotion"]["results"]
        }
        if all(way in found for way in ways.values()):
            shown = f"{CORPORA[name]}: {len(record['tasks']['emotion']['classes'])} emotions, {record['n_speakers']} speakers"
            lines.append([shown, *(Interval.of(found[way]).text(3) for way in ways.values())])
    return table(("UAR", *ways), lines) if lines else ""


def _across(results: Path) -> dict[str, Any]:
    """What was measured of classifiers that were trained on other corpora, or nothing."""
    if (record := read_record(results / across.RECORD.name)) is None:
        return {}
    # By corpus, as the records of single corpora are.
    records: dict[str, Record] = {}
    for task, measured in record["tasks"].items():
        for row in measured["results"]:
            for name, measures in row["corpora"].items():
                of_corpus = records.setdefault(name, {"tasks": {}})["tasks"].setdefault(task, {"results": []})
                of_corpus["results"].append({**row, "measures": measures})
    return {
        "record": record,
        "classes": record["tasks"].get("emotion", {}).get("classes"),
        "overview": {task: _overview(records, task) for task in record["tasks"]},
        "of_classifiers": {task: _of_classifiers(records, task) for task in record["tasks"]},
    }


def better(compared: dict[str, Any], measure: str) -> int:
    """1 where the first of two is better beyond chance, -1 where it is worse, else 0."""
    return Interval.of(compared["differences"][measure]).verdict(measure not in LOWER_IS_BETTER)


def _overview(records: dict[str, Record], task: str) -> str:
    """UAR of the first model on all features (rows) of all corpora (columns)."""
    found = {
        (row["features"], name): row["measures"]["uar"]["value"]
        for name, record in records.items()
        for row in record["tasks"].get(task, {"results": ()})["results"]
        if row["model"] == record["tasks"][task]["results"][0]["model"]
    }
    return _by_corpus("Features", SHOWN, found, records)


def _of_classifiers(records: dict[str, Record], task: str) -> dict[str, str]:
    """Means over features of each measure, for all classifiers (rows) and corpora (columns)."""
    tables = {}
    for measure in ("uar", "log_loss", "ece"):
        values: dict[tuple[str, str], list[float]] = {}
        for name, record in records.items():
            for row in record["tasks"].get(task, {"results": ()})["results"]:
                values.setdefault((row["model"], name), []).append(row["measures"][measure]["value"])
        found = {key: mean(of_features) for key, of_features in values.items()}
        tables[TITLES[measure]] = _by_corpus("Classifier", PEERS, found, records, measure not in LOWER_IS_BETTER)
    return tables


def _by_corpus(
    title: str, names: dict[str, str], found: dict[tuple[str, str], float], corpora: Iterable[str], more: bool = True
) -> str:
    """Values of names (rows) in corpora (columns), the best of each column bold."""
    rows = [[shown] + [found.get((name, corpus), nan) for corpus in corpora] for name, shown in names.items()]
    rows = [row for row in rows if not all(map(isnan, row[1:]))]
    measured = [[value for value in column if not isnan(value)] for column in list(zip(*rows, strict=True))[1:]]
    best = [(max if more else min)(values, default=nan) for values in measured]
    shown_rows = [
        [row[0], *(number(value, 3, value == top) for value, top in zip(row[1:], best, strict=True))] for row in rows
    ]
    return table((title, *(CORPORA[name] for name in corpora)), shown_rows)


def _in_short(task: dict[str, Any]) -> str:
    """The best features of the first model, and how it does beside the others."""
    subject = task["results"][0]["model"]
    own = {row["features"]: row["measures"]["uar"] for row in task["results"] if row["model"] == subject}
    best = max(own, key=lambda name: own[name]["value"])
    text = f"`{subject}` has its highest UAR, {Interval.of(own[best]).text(3)}, on {TEXTS[best][0]}"
    rivals = [row for row in task["comparisons"] if "model" in row and best in row["names"]]
    undecided = [
        TEXTS[next(name for name in row["names"] if name != best)][0]
        for row in rivals
        if better(row, "uar") != (1 if row["names"][0] == best else -1)
    ]
    if rivals:
        beyond = f"all other features but {' and '.join(sorted(undecided))}" if undecided else "the other features"
        text += f"; the differences from its UAR on {beyond} have intervals that exclude zero"
    if peers := [row for row in task["comparisons"] if "features" in row]:
        said = []
        for measure in ("uar", "log_loss"):
            verdicts = [better(row, measure) for row in peers]
            said.append(f"better in {TITLES[measure]} in {verdicts.count(1)} and worse in {verdicts.count(-1)}")
        text += f". Of {len(peers)} comparisons with another classifier on the same features, `{subject}` is "
        text += f"{', '.join(said)}; the rest are undecided"
    return text


def _figures(task: dict[str, Any]) -> str:
    """UAR and log-loss of all features and classifiers, with a star where a classifier differs from the first beyond chance."""
    differs = {
        (row["features"], row["names"][1], measure): "\\*" if better(row, measure) else ""
        for row in task["comparisons"]
        if "features" in row
        for measure in ("uar", "log_loss")
    }
    rows = [
        [f"{TEXTS[row['features']][0]}: {PEERS.get(row['model'], row['model'])}"]
        + [
            Interval.of(row["measures"][measure]).text(3) + differs.get((row["features"], row["model"], measure), "")
            for measure in ("uar", "log_loss")
        ]
        for row in task["results"]
    ]
    return table(("Features: classifier", "UAR", "Log-loss"), rows)
