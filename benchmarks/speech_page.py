"""The page of speech, made from the records of `python -m benchmarks speech` and `encoding`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from scipy import stats

from . import encoding, speech
from .markdown import circumstances, number, table_text

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Speech results

Everything on this page is made from records: {records}.
"""
RECOGNITION = """
Clips are from {corpus}, features are statistics of log-mel energies (`FbankFeaturizer`): no pretrained weights are involved.
They were measured before these features became independent of the recording level (`normalize_level`); not measured since.
Models are tested on speakers they have not heard. Of {n_candidates} settings of the features each fold takes the one of the
best mean recall in folds of its own training speakers, by {judges}; all models of a fold get the same features.

WA is weighted accuracy, the share of clips that are right; UAR the mean recall of the classes; ECE the expected calibration
error. Values are means over folds with their standard errors. The last column but one is {subject} less the model, fold by
fold, in points of {measures}, with its 95% interval (Student's t). Folds share training clips, so true intervals are somewhat
wider. Time is of fitting and predicting, for each fold.
"""
ORIGINALS = """
Some clips as published, of whatever rate and number of channels, beside their twins in the corpus that was measured. The
classifier learns from the other speakers.
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
FEATURES_OF = ("n_mels", "deltas", "dither")


def speech_page(folder: Path) -> str:
    """
    Text of the page; empty without any record.

    Parameters
    ----------
    folder : Path
        Where records lie.
    """
    blocks, names = [], []
    recognition = folder / speech.RESULTS.name
    if recognition.exists():
        names.append(recognition.name)
        blocks.append(_recognition(json.loads(recognition.read_text())))
    for path in sorted(folder.glob(f"{encoding.RESULTS.stem}*.json")):
        names.append(path.name)
        blocks.append(_encoding(json.loads(path.read_text())))
    if not blocks:
        return ""
    shown = ", ".join(f"`{(speech.RESULTS.parent / name).as_posix()}`" for name in names)
    return HEADER.format(records=shown) + "".join(blocks)


def _recognition(record: dict[str, Any]) -> str:
    tasks = record["tasks"]
    blocks = ["\n## Emotion and gender without pretrained weights\n"]
    blocks.append(
        RECOGNITION.format(
            corpus=_corpus(record["corpus"]),
            n_candidates=len(record["candidates"]),
            judges=" and ".join(record["judges"]),
            subject=next(run["model"] for task in tasks.values() for run in task["runs"]),
            measures=" and ".join(f"{task['measure'].upper()} ({name})" for name, task in tasks.items()),
        )
    )
    for name, task in tasks.items():
        blocks += [f"\n### {name.capitalize()}\n", _task(task)]
    if record.get("originals"):
        blocks += ["\n### Clips as published\n", ORIGINALS, _originals(record["originals"])]
    packages = ("numpy", "scikit-learn", "torch", "lightgbm", "soundfile")
    return "".join([*blocks, "\n### How it was measured\n", circumstances(record, packages)])


def _task(task: dict[str, Any]) -> str:
    measure, found = task["measure"], task["summary"]
    subject = task["runs"][0]["model"]
    factor = float(stats.t.ppf(0.975, task["n_folds"] - 1)) if task["n_folds"] > 1 else float("nan")
    best = {name: max(row[name] for row in found.values()) for name in ("wa", "uar", "macro_f1")}
    best["ece"] = min((row["ece"] for row in found.values() if "ece" in row), default=float("nan"))
    rows = []
    for model, row in sorted(found.items(), key=lambda item: -item[1][measure]):
        cells = [f"**{model}**" if model == subject else model]
        for name, scale, digits in (("wa", 100, 2), ("uar", 100, 2), ("macro_f1", 100, 2), ("ece", 1, 3)):
            if name not in row:
                cells.append("–")
                continue
            value = number(scale * row[name], digits, row[name] == best[name])
            cells.append(f"{value} ± {scale * row[f'{name}_se']:.{digits}f}")
        middle, reach = 100 * row["first_less_this"], 100 * factor * row["first_less_this_se"]
        cells.append("–" if model == subject else _interval(middle, reach))
        rows.append([*cells, f"{row['seconds']:.2f}"])
    header = ["Model", "WA", "UAR", "Macro-F1", "ECE", f"{subject} less it, {measure.upper()}", "Time, s"]
    broken = f" {task['n_broken']} broken clips are left out." if task["n_broken"] else ""
    text = f"\n{task['n_clips']} clips of {task['n_speakers']} speakers, in {task['n_folds']} folds of whole speakers.{broken}\n"
    chosen = Counter(
        ", ".join(f"{name}={run['features'][name]:g}" for name in FEATURES_OF if name in run["features"])
        for run in task["runs"]
        if run["model"] == subject
    )
    folds = [f"{setting} in {count}" for setting, count in sorted(chosen.items(), key=lambda item: (-item[1], item[0]))]
    return text + table_text(header, rows) + f"\nFeatures taken, and in how many folds: {'; '.join(folds)}.\n"


def _interval(middle: float, reach: float) -> str:
    if reach != reach:
        return f"{middle:+.2f}"
    return f"{middle:+.2f} ({middle - reach:+.2f} to {middle + reach:+.2f})"


def _originals(pairs: list[dict[str, Any]]) -> str:
    rows = []
    for task in dict.fromkeys(pair["task"] for pair in pairs):
        own = [pair for pair in pairs if pair["task"] == task]
        same = sum(pair["published"] == pair["twin"] for pair in own)
        largest = [max(pair[f"largest_difference_of_{what}"] for pair in own) for what in ("probability", "features")]
        rows.append([task, str(len(own)), str(same), *[f"{value:.4f}" for value in largest]])
    header = ("Task", "Clips", "Same label", "Largest difference of a probability", "Largest difference of a feature")
    return table_text(header, rows)


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
            *_difference(record["differences"].get(way)),
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
            table_text(("Way", "Seconds of audio a second (least–most)", "Largest difference", "Median"), speeds),
            table_text(("Speed", "Times as fast (least–most)"), ratios),
            circumstances(record, ("numpy", "torch", "transformers", "soundfile")),
        ]
    )


def _range(found: dict[str, float]) -> str:
    digits = 0 if found["median"] >= 100 else 2
    return f"{found['median']:.{digits}f} ({found['min']:.{digits}f}–{found['max']:.{digits}f})"


def _difference(found: dict[str, float] | None) -> list[str]:
    return ["–", "–"] if found is None else [f"{found['max']:.1e}", f"{found['median']:.1e}"]


def _corpus(name: str) -> str:
    return {"ravdess": "RAVDESS (speech)", "emodb": "EmoDB", "crema-d": "CREMA-D", "meld": "MELD"}.get(name, name)
