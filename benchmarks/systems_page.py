"""The page that puts the three systems side by side, from their record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import avd, systems
from .markdown import NOT_MEASURED, circumstances, number, table_text
from .provenance import read_record

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Three systems side by side

| | Gen-SER | EmoSphere-SER | SELM |
|:--|:--|:--|:--|
| answers with | a label and its probability | arousal, valence and dominance | a label by its text, or a text |
| by | transport of features to the code of a class | regression, with regions of a sphere as a second task | \
a language model that reads the clip as a prefix |
| class | `GenerativeTransportClassifier` | `EmoSphereRegressor` | `SelmClassifier` |
| takes | features: one vector a clip, or layers | clips, or frames | clips, or frames |
| encoder | any, frozen | frozen or tuned | frozen |
| new labels without a clip | no | – | yes, by their texts |
| a few clips more | `partial_fit` | – | `partial_fit`, mappers alone |
| page | [The method](method.md) | [EmoSphere-SER](emosphere.md) | [SELM](selm.md) |

All three run from the command line on the same corpus, in the same folds of whole speakers:

```console
gendiffclf evaluate FOLDER --layout ravdess                 # Gen-SER
gendiffclf evaluate FOLDER --layout ravdess --system selm
gendiffclf evaluate ratings.csv --system emosphere --value-range 1 7
```

`train` and `predict` work alike. Without `--encoder` they take log-mel frames and small networks, which need no weights;
with it, the sizes of the papers. `ratings.csv` has the columns `path`, `speaker`, `arousal`, `valence` and `dominance`.
"""
MEASURED = """
## Measured without pretrained weights

Clips are those of {corpus}, {n_clips} of {n_speakers} speakers. Gen-SER and the linear models get statistics of log-mel
energies ({fbank}), SELM and EmoSphere-SER frames of the same energies, one each {hop:.0f} ms. Networks are small
(`gendiffclf.speech.system_pipelines.SMALL`). Sizes and epochs of SELM and EmoSphere-SER were chosen on validation speakers
among the training speakers of one fold, before either was tested. Other folds test those speakers, so the figures of both may
be a little too good. A linear model chooses its hyperparameter in folds of its training speakers. WA is the accuracy, UAR the
mean recall of the classes, ECE the expected calibration error (less is better). Intervals are 95 %, by a bootstrap that draws
speakers.

**This says how the parts work on {n_clips} acted clips, not how the papers' systems do with their encoders**, which was not
measured here for any of the three.
"""
RATINGS = """
### Arousal, valence and dominance

{corpus} has no ratings. Targets are made from the acted emotion and its intensity by a table, `benchmarks/avd.py`, which is
ours: the values below for a strong emotion, {normal:g} of them for a normal one, in [-1, 1]. The measure is the concordance
correlation coefficient (CCC) over all tested clips, in {n_folds} folds of whole speakers.
"""
ABLATION = """
Rows in the middle change one part of EmoSphere-SER each: the auxiliary task (regions of the sphere), its falling weight, and the
style pooling. Where the interval of a difference from EmoSphere-SER holds 0, the part was not shown to matter on these clips.
"""
FEW = """
### Another text by other speakers, and a few shots

`gendiffclf few-shot` trains on some corpora, tests on another, and tests again after a few labelled clips of it. Here both are
parts of {corpus}: systems learn from {n_train} clips of {n_train_speakers} actors who say one statement, and are tested on
other actors who say the other one. Each of {n_repeats} repetitions draws which of these are tested; shots come from the rest, as
many of each class as the column says, or all there are. Values are UAR in percent. Intervals are Student's t over repetitions:
they cover the draws of shots and speakers, not other corpora.
"""
NAMES = {"ravdess": "RAVDESS (speech)"}


def write_systems_page(record: Path, page: Path) -> None:
    """Write the page; what is not in the record is said to be not measured."""
    found = read_record(record)
    parts: dict[str, Any] = {} if found is None else found["parts"]
    if not parts:
        page.write_text(HEADER + "\n## Measured without pretrained weights\n" + NOT_MEASURED)
        return
    first = next(iter(parts.values()))
    blocks = [HEADER, _introduction(first)]
    blocks += [_labels(task, parts[task]) for task in systems.TASKS if task in parts]
    if systems.RATINGS in parts:
        blocks.append(_ratings(parts[systems.RATINGS]))
    if systems.FEW_SHOT in parts:
        blocks.append(_few_shot(parts[systems.FEW_SHOT]))
    blocks.append("\n## How it was measured\n")
    for part in dict.fromkeys(part["command"] for part in parts.values()):
        one = next(p for p in parts.values() if p["command"] == part)
        blocks.append(circumstances(one, ("numpy", "scikit-learn", "torch", "transformers")))
    page.write_text("".join(blocks))


def _introduction(part: dict[str, Any]) -> str:
    settings = part["settings"]
    return MEASURED.format(
        corpus=_corpus(part),
        n_clips=part["n_clips"],
        n_speakers=part["n_speakers"],
        fbank=", ".join(f"`{name}={value:g}`" for name, value in settings["fbank"].items()),
        hop=1000 * settings["frames"]["hop_seconds"],
    )


def _labels(task: str, part: dict[str, Any]) -> str:
    models = _ordered(part["models"], systems.CLASSIFIERS)
    best = {name: max(row["measures"][name]["value"] for row in models.values()) for name in ("wa", "uar")}
    best["ece"] = min(row["measures"]["ece"]["value"] for row in models.values())
    rows = []
    for model, row in models.items():
        cells = [model]
        cells += [_bounded(row["measures"][name], 100, 1, best[name]) for name in ("wa", "uar")]
        cells.append(_bounded(row["measures"]["ece"], 1, 3, best["ece"]))
        rows.append([*cells, _difference(row, "uar", 100, 1), f"{row['cpu_seconds'] / part['n_folds']:.1f}"])
    baseline = list(systems.CLASSIFIERS)[-1]
    header = ("Model", "WA, %", "UAR, %", "ECE", f"UAR less {baseline}, points", "Processor time a fold, s")
    title = f"\n### {task.capitalize()}\n\n{part['n_folds']} folds of whole speakers, the same for all.\n"
    return title + table_text(header, rows)


def _ratings(part: dict[str, Any]) -> str:
    models = _ordered(part["models"], systems.REGRESSORS)
    names = (*avd.DIMENSIONS, "mean")
    best = {name: max(row["measures"][name]["value"] for row in models.values()) for name in names}
    rows = []
    for model, row in models.items():
        cells = [
            number(row["measures"][name]["value"], 3, row["measures"][name]["value"] == best[name])
            for name in names[:-1]
        ]
        compared = (_difference(row, "mean", 1, 3, against) for against in ("less_baseline", "less_system"))
        rows.append([model, *cells, _bounded(row["measures"]["mean"], 1, 3, best["mean"]), *compared])
    system, *_, baseline = systems.REGRESSORS
    dimensions = [name.capitalize() for name in avd.DIMENSIONS]
    header = ("Model", *dimensions, "Mean CCC", f"Mean less {baseline}", f"Mean less {system}")
    targets = [[emotion, *(f"{value:g}" for value in point)] for emotion, point in avd.POINTS.items()]
    text = RATINGS.format(corpus=_corpus(part), normal=avd.INTENSITIES["normal"], n_folds=part["n_folds"])
    return text + table_text(("Strong emotion", *dimensions), targets) + table_text(header, rows) + ABLATION


def _few_shot(part: dict[str, Any]) -> str:
    models = _ordered(part["models"], systems.CLASSIFIERS)
    first = next(iter(models.values()))
    shots = [row["shots"] for row in first["summary"]]
    rows = []
    for model, found in models.items():
        cells = [
            f"{100 * row['uar']:.1f} ({100 * row['uar_low']:.1f}–{100 * row['uar_high']:.1f})"
            for row in found["summary"]
        ]
        rows.append([model, *cells])
        gains = [
            f"{100 * row['uar_gain']:+.1f} ({100 * row['uar_gain_low']:+.1f} to {100 * row['uar_gain_high']:+.1f})"
            for row in found["summary"]
            if row["shots"]
        ]
        rows.append(["– gain over no shots", "", *gains])
    text = FEW.format(
        corpus=_corpus(part),
        n_train=first["n_train"],
        n_train_speakers=first["n_train_speakers"],
        n_repeats=len({run["repeat"] for run in first["runs"]}),
    )
    return text + table_text(("System", *("no shots" if not count else f"{count} a class" for count in shots)), rows)


def _ordered(models: dict[str, Any], known: Any) -> dict[str, Any]:
    return {name: models[name] for name in known if name in models}


def _bounded(found: dict[str, float], scale: float, digits: int, best: float) -> str:
    value = number(scale * found["value"], digits, found["value"] == best)
    return f"{value} ({scale * found['low']:.{digits}f}–{scale * found['high']:.{digits}f})"


def _difference(row: dict[str, Any], name: str, scale: float, digits: int, against: str = "less_baseline") -> str:
    if against not in row:
        return "–"
    found = {key: scale * value for key, value in row[against][name].items()}
    return f"{found['difference']:+.{digits}f} ({found['low']:+.{digits}f} to {found['high']:+.{digits}f})"


def _corpus(part: dict[str, Any]) -> str:
    return NAMES.get(part["corpus"], part["corpus"])
