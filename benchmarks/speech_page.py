"""The page of speech, made from the records of `python -m benchmarks speech` and `encoding`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from gendiffclf.speech.measures import LOWER_IS_BETTER, TITLES

from . import encoding, speech
from .markdown import circumstances, table_text

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Speech results
"""
RECOGNITION = """
Which features, which classifier, and how sure one may be: measured on {n_clips} acted clips of {n_speakers} speakers of {corpus}.
Every figure is of speakers that the classifier has not heard, in {n_folds} folds of whole speakers, with its 95 % interval over
speakers. `ours` is `GenerativeTransportClassifier()`.
"""
FEATURES_TEXT = """
Speaker normalisation serves emotion, since it takes out what a speaker's clips have in common. Gender is such a thing, so for
gender it is here only to show what it costs.
"""
CLASSIFIERS_TEXT = """
`GenerativeTransportClassifier()` less another classifier on the same features: a positive UAR and a negative log-loss speak for
it. The interval of a bold difference excludes zero.
"""
READING = """
- UAR is the mean recall of the classes, WA the share of clips that are right. Log-loss and ECE judge the probabilities: the
  lower, the better. All are of the clips of all folds together, as `gendiffclf.speech.evaluate` gives them.
- Intervals come from a bootstrap that draws speakers with all their clips. For a difference it draws the same speakers for
  both, as `gendiffclf.speech.compare` does. Of twenty differences between equals, about one has an interval without zero.
- They say how figures would vary with other actors in this studio. Two sentences, said by actors, are an easy case: other
  recordings give lower figures.
- Features and classifiers have their defaults. Those of `ours` were chosen on parts of many tables, eGeMAPS and GE2E features of
  these clips among them ([Benchmarks](benchmarks.md)), so its figures may be a little better here than on new clips.
- `ours` and the calibration of both SVMs are given the speakers of training clips, so that they choose and calibrate by voices
  that were held out; logistic regression takes no speakers.
- Speaker normalisation takes all clips of a speaker, without labels, of tested speakers too.
"""
ORIGINALS = """
{n} labels of clips as published, of 48 kHz and one or two channels, are compared with those of their copies of 16 kHz that were
measured: {n_same} are the same, and the largest difference of a probability is {difference:.3f}. Features are log-mel statistics,
and the classifier learns from the other speakers.
"""
ENCODING = """
{count} clips of noise, of {min_seconds:.1f} to {max_seconds:.1f} s (median {median_seconds:.1f} s), {seconds:.0f} s in all, are
read from WAV files and encoded by a HuBERT of the {size} size with random weights, on {device}{threads}, in float32 without
TF32. Every way gives the mean over frames of each layer.

- *ours* is `HubertFeaturizer(cache=None)`, *cached* the same with a cache that holds all clips;
- *single* is the model of transformers, clip by clip;
- *padded* is the model of transformers in batches of {batch_size} clips, in the order given and padded by its preprocessor.

The ways take turns in {n_rounds} rounds. Ratios are taken round by round. Differences are from *single*: the distance of a
clip's layer, relative to the length of that layer's vector, at most and in the median over clips and layers. How far padding
changes features depends on the weights.
"""
FEATURES = {
    "egemaps": "eGeMAPS",
    "egemaps_speaker": "eGeMAPS, speaker-normalised",
    "fbank": "log-mel statistics",
    "ge2e": "GE2E",
}
ABOUT = {
    "egemaps": "`EgemapsFeaturizer()`: acoustic parameters of openSMILE, free for research only",
    "egemaps_speaker": "the same, then `SpeakerNormalizer()`",
    "fbank": "`FbankFeaturizer()`, which needs no further package",
    "ge2e": "a pretrained speaker encoder, [through `FunctionFeaturizer`](gender.md#with-a-pretrained-encoder)",
}
MODELS = {"ours": "ours", "logreg": "logistic regression", "svm": "SVM", "svm_c10": "SVM, C = 10"}
CORPORA = {"ravdess": "RAVDESS (speech)", "emodb": "EmoDB", "crema-d": "CREMA-D", "meld": "MELD"}


def speech_page(folder: Path) -> str:
    """
    Text of the page; empty without any record.

    Parameters
    ----------
    folder : Path
        Where records lie.
    """
    recognition = folder / speech.RESULTS.name
    blocks = [_recognition(json.loads(recognition.read_text()))] if recognition.exists() else []
    blocks += [
        _encoding(json.loads(path.read_text())) for path in sorted(folder.glob(f"{encoding.RESULTS.stem}*.json"))
    ]
    return HEADER + "".join(blocks) if blocks else ""


def results_of(task: dict[str, Any]) -> pd.DataFrame:
    """Rows of features and model; columns of measure and `value`, `low`, `high`."""
    rows = {
        (row["features"], row["model"]): {
            (m, part): v for m, parts in row["measures"].items() for part, v in parts.items()
        }
        for row in task["results"]
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def figure(row: pd.Series, measure: str) -> str:
    """A measure with its interval."""
    value, low, high = (row[measure, part] for part in ("value", "low", "high"))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def differences_of(task: dict[str, Any], kind: str) -> pd.DataFrame:
    """Paired comparisons of a kind, "features" (of models, on the same features) or "model": what, a, b, and measures' parts."""
    rows = [
        {kind: row[kind], "a": row["names"][0], "b": row["names"][1]}
        | {(m, part): v for m, parts in row["differences"].items() for part, v in parts.items()}
        for row in task["comparisons"]
        if kind in row
    ]
    return pd.DataFrame(rows)


def verdict(row: pd.Series, measure: str) -> int:
    """1 where a is better than b, -1 where it is worse, 0 where the interval holds zero."""
    sign = -1 if measure in LOWER_IS_BETTER else 1
    return sign * (int(row[measure, "low"] > 0) - int(row[measure, "high"] < 0))


def _recognition(record: dict[str, Any]) -> str:
    tasks = record["tasks"]
    corpus = CORPORA.get(record["corpus"], record["corpus"])
    blocks = [RECOGNITION.format(**{**record, "corpus": corpus}), "\n## In short\n\n"]
    blocks += [_in_short(name, task) for name, task in tasks.items()]
    blocks += [_how_sure(tasks, record["n_speakers"]), "\n## Features\n", FEATURES_TEXT]
    blocks += [_features(record), *(_features_of(name, task) for name, task in tasks.items())]
    blocks += ["\n## Classifiers\n", CLASSIFIERS_TEXT, *(_classifiers_of(name, task) for name, task in tasks.items())]
    blocks += ["\n## How to read it\n", READING]
    blocks += ["\n## Every figure\n", *(_figures_of(name, task) for name, task in tasks.items())]
    if originals := record.get("originals"):
        n_same, difference = sum(p["same_label"] for p in originals), max(p["difference"] for p in originals)
        text = ORIGINALS.format(n_same=n_same, n=len(originals), difference=difference)
        blocks += ["\n## Clips as published\n", text]
    packages = ("numpy", "scikit-learn", "torch", "opensmile", "resemblyzer", "soundfile")
    return "".join([*blocks, "\n## How it was measured\n", circumstances(record, packages)])


def _in_short(name: str, task: dict[str, Any]) -> str:
    """The best features of the first model, and how it does beside the others."""
    own = results_of(task)
    subject = own.index[0][1]
    own = own.xs(subject, level=1)
    best = own["uar", "value"].idxmax()
    text = f"- **{name.capitalize()}**: `{subject}` has its highest UAR, {figure(own.loc[best], 'uar')}, on {FEATURES[best]}"
    pairs = differences_of(task, "model")
    if len(pairs):
        beaten = {
            FEATURES[row["b"] if row["a"] == best else row["a"]]
            for _, row in pairs[(pairs[["a", "b"]] == best).any(axis=1)].iterrows()
            if verdict(row, "uar") == (1 if row["a"] == best else -1)
        }
        others = {FEATURES[features] for features in own.index if features != best}
        text += f"; {_beyond(beaten, others)}"
    pairs = differences_of(task, "features")
    if len(pairs):
        said = []
        for measure in ("uar", "log_loss"):
            verdicts = [verdict(row, measure) for _, row in pairs.iterrows()]
            said.append(f"better in {TITLES[measure]} in {verdicts.count(1)} and worse in {verdicts.count(-1)}")
        text += f". Of {len(pairs)} comparisons with another classifier on the same features, `{subject}` is "
        text += f"{', '.join(said)}; the rest are undecided"
    return f"{text}.\n"


def _beyond(beaten: set[str], others: set[str]) -> str:
    if beaten == others:
        return "the intervals of the differences from all others exclude zero"
    open_ones = " and ".join(sorted(others - beaten))
    return f"the intervals of the differences from {open_ones} hold zero" + (", the others do not" if beaten else "")


def _how_sure(tasks: dict[str, Any], n_speakers: int) -> str:
    said = []
    for name, task in tasks.items():
        found = results_of(task)["uar"]
        said.append(f"{(found['high'] - found['low']).median() / 2:.3f} for {name}")
    return (
        f"- **How sure**: with {n_speakers} speakers, a UAR is known to about ± {' and ± '.join(said)}. Smaller differences can "
        "be told where both are measured on the same speakers.\n"
    )


def _features(record: dict[str, Any]) -> str:
    lines = ["\n"]
    for name, about in record["features"].items():
        broken = f"; without {about['n_broken']} broken clips" if about["n_broken"] else ""
        lines.append(f"- {FEATURES[name]} ({about['n_values']} values): {ABOUT[name]}{broken}\n")
    return "".join(lines)


def _features_of(name: str, task: dict[str, Any]) -> str:
    results = results_of(task)
    subject = results.index[0][1]
    rows = [
        [FEATURES[features], figure(row, "uar"), figure(row, "wa")]
        for features, row in results.xs(subject, level=1).iterrows()
    ]
    return f"\n### {name.capitalize()}, by `{subject}`\n" + table_text(("Features", "UAR", "WA"), rows)


def _classifiers_of(name: str, task: dict[str, Any]) -> str:
    rows = [
        [f"{FEATURES[row['features']]}: {MODELS[row['b']]}", *(_difference(row, m) for m in ("uar", "log_loss"))]
        for _, row in differences_of(task, "features").iterrows()
    ]
    if not rows:
        return ""
    return f"\n### {name.capitalize()}, differences\n" + table_text(("Compared with", "UAR", "Log-loss"), rows)


def _difference(row: pd.Series, measure: str) -> str:
    value, low, high = (row[measure, part] for part in ("difference", "low", "high"))
    text = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{text}**" if verdict(row, measure) else text


def _figures_of(name: str, task: dict[str, Any]) -> str:
    results = results_of(task)
    blocks = [f"\n### {name.capitalize()}: {', '.join(task['classes'])}\n"]
    for measures in (("uar", "wa"), ("macro_f1", "log_loss"), ("ece",)):
        rows = [
            [f"{FEATURES[features]}: {MODELS[model]}", *(figure(row, measure) for measure in measures)]
            for (features, model), row in results.iterrows()
        ]
        blocks.append(table_text(("Features: classifier", *(TITLES[measure] for measure in measures)), rows))
    return "".join(blocks)


def _encoding(record: dict[str, Any]) -> str:
    found = record["summary"]
    on_cpu = record["device"].startswith("cpu")
    text = ENCODING.format(
        **record["clips"],
        size=record["size"],
        device="the CPU" if on_cpu else record["environment"]["hardware"]["gpu"] or record["device"],
        threads=f" with {record['n_threads']} {'thread' if record['n_threads'] == 1 else 'threads'}" if on_cpu else "",
        batch_size=record["batch_size"],
        n_rounds=len(record["rounds"]),
    )
    speeds = [
        [
            f"**{way}**" if way == "ours" else way,
            _range(found["audio_per_second"][way]),
            _distance(record["differences"].get(way)),
        ]
        for way in encoding.WAYS
    ]
    ratios = [
        [f"{fast} against {slow}", _range(found["ratios"][f"{fast}_to_{slow}"])] for fast, slow in encoding.RATIOS
    ]
    return "".join(
        [
            f"\n## Encoding: HuBERT {record['size']} on {'CPU' if on_cpu else record['device'].partition(':')[0].upper()}\n",
            text,
            table_text(("Way", "Seconds of audio a second (least–most)", "Largest difference (median)"), speeds),
            table_text(("Speed", "Times as fast (least–most)"), ratios),
            circumstances(record, ("numpy", "torch", "transformers", "soundfile")),
        ]
    )


def _range(found: dict[str, float]) -> str:
    digits = 0 if found["median"] >= 100 else 2
    return f"{found['median']:.{digits}f} ({found['min']:.{digits}f}–{found['max']:.{digits}f})"


def _distance(found: dict[str, float] | None) -> str:
    return "–" if found is None else f"{found['max']:.1e} ({found['median']:.1e})"
