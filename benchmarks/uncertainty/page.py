"""The page of uncertainty, made from its records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..markdown import NOT_MEASURED, circumstances, number, table_text
from ..provenance import read_record
from ..summary import Interval, bootstrap
from ..verdicts import GAIN, LOSS, difference, verdict
from . import PARTS, errors, out_of_distribution, robustness
from .cells import MLP, OURS, Row

if TYPE_CHECKING:
    import pandas as pd

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Uncertainty

What the probabilities of `GenerativeTransportClassifier()` (`ours`) are good for beside those of peers. Intervals are 95%
bootstrap intervals that draw tables, and runs within them; a difference whose interval excludes zero is bold.
"""
ERRORS = """
AUROC is the chance that a wrongly classified test row has a higher score than a rightly classified one; AURC is the area under
the error rate over the share of rows kept, the surest first, in thousandths; less is better. Each score judges the predictions
of its own model. It is compared with that model's top probability; the MLP's top probability with that of `ours`, whose errors
are other ones. Frequencies of `sample` are the probabilities, so {draws} samples can say no more than these. Runs without an
error are left out.
"""
OUT_OF_DISTRIBUTION = """
Up to {most} classes of every table with three or more are left out of training, one at a time; AUROC is the chance that a test
row of that class has a higher score than one of the others. How `score_samples` joins its parts was chosen on the third split of
sk_digits, sk_wine, segment, vehicle, car and ravdess_emotion_ge2e, whose test rows can be training rows of other splits.
"""
ROBUSTNESS = """
Test features are replaced by the median of training, each with the chance in the heading, or get normal noise in units of the
training deviation. Only models trained with feature dropout have seen such rows: they learn from the training rows and from
{copies} copies of each, in which some share of the features up to half, another in every row, is replaced by the median.
Accuracy in percent, and below it the difference from `ours` in points.
"""
CALIBRATION = """
"+ sigmoid" and "+ isotonic" are `CalibratedClassifierCV` with three folds around the model. Log-loss is in nats,
the Brier score summed over classes, ECE in 15 bins.
"""


def uncertainty_page(folder: Path) -> str:
    """
    Text of the page.

    Parameters
    ----------
    folder : Path
        With `PART.json` of the parts that were measured.
    """
    blocks = [HEADER]
    made: dict[str, list[str]] = {}
    for part, module in PARTS.items():
        blocks.append(f"\n## {module.TITLE}\n")
        record = read_record(folder / f"{part}.json")
        if record is None or not record["rows"]:
            blocks.append(NOT_MEASURED)
            continue
        tables = sorted({row["table"] for row in record["rows"]})
        blocks += [SECTIONS[part](record["rows"]), f"\nTables: {', '.join(tables)}.\n"]
        made.setdefault(circumstances(record, ("scikit-learn", "torch")), []).append(module.TITLE)
    if made:
        blocks.append("\n## How it was measured\n")
    for text, titles in made.items():
        blocks += [f"\n{', '.join(titles)}:\n" if len(made) > 1 else "", text]
    return "".join(blocks)


def pivot(rows: Sequence[Row], measure: str) -> pd.DataFrame:
    """One row per table and run, one column per name in the order of the record; runs that lack one are left out."""
    import pandas as pd

    values: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        run = f"{row['split']}/{row.get('case', '')}"
        values.setdefault((row["table"], run), {})[row["name"]] = np.nan if row[measure] is None else row[measure]
    index = pd.MultiIndex.from_tuples(list(values), names=["table", "run"])
    names = list(dict.fromkeys(row["name"] for row in rows))
    return pd.DataFrame(list(values.values()), index=index, columns=names, dtype=float).dropna()


def against(values: pd.DataFrame, reference: Callable[[str], str]) -> dict[str, Interval]:
    """Interval of each column less its reference's column; of its own reference there is none."""
    pairs = {name: values[name] - values[reference(name)] for name in values if name != reference(name)}
    return bootstrap(type(values)(pairs)) if pairs else {}


def in_words(found: dict[str, Interval], more_is_better: bool, what: str) -> str:
    """Which of the names are better than what they are compared with, which worse, and which neither."""
    groups: dict[str, list[str]] = {GAIN: [], LOSS: [], "": []}
    for name, interval in found.items():
        groups[verdict(interval, more_is_better)].append(name)
    texts = {GAIN: f"Better than {what}", LOSS: f"Worse than {what}", "": "No difference beyond chance"}
    return "\n" + "".join(f"- {texts[kind]}: {'; '.join(names) or 'none'}.\n" for kind, names in groups.items())


def _errors(rows: Sequence[Row]) -> str:
    auroc = pivot(rows, "auroc")
    aurc = pivot(rows, "aurc").loc[auroc.index]  # runs without an error have no AUROC
    text = ERRORS.format(draws=errors.N_DRAWS)
    if not len(auroc):
        return f"{text}{NOT_MEASURED}"
    tops = {model: f"{model}: {errors.TOP}" for model in (OURS, MLP)}

    def reference(name: str) -> str:
        return tops[OURS] if name in tops.values() else tops[name.partition(": ")[0]]

    found, found_area = against(auroc, reference), against(aurc, reference)
    means, areas = bootstrap(auroc), bootstrap(aurc)
    lines = [
        [
            name,
            number(means[name].mean, 3),
            _difference(found, name, 1, 3),
            number(1000 * areas[name].mean, 1),
            _difference(found_area, name, 1000, 1),
        ]
        for name in auroc
    ]
    header = ("Score", "AUROC", "less the top probability", "AURC", "less the top probability")
    own = {name: interval for name, interval in found.items() if name not in tops.values()}
    said = in_words(own, True, "the top probability of the same model, in AUROC")
    return f"{text}\n{len(auroc)} runs.\n{table_text(header, lines)}{said}"


def _out_of_distribution(rows: Sequence[Row]) -> str:
    values = pivot(rows, "auroc")
    text = OUT_OF_DISTRIBUTION.format(most=out_of_distribution.MOST_CLASSES)
    if not len(values):
        return f"{text}{NOT_MEASURED}"
    means = bootstrap(values)
    models = {f"{MLP}: {errors.TOP}": "the MLP's top probability", f"{OURS}: {errors.TOP}": "our top probability"}
    found = [against(values, lambda _, top=top: top) for top in models]
    lines = [[name, _interval(means[name], 3), *(_difference(part, name, 1, 3) for part in found)] for name in values]
    header = ("Score", "AUROC", *(f"less {text}" for text in models.values()))
    said = "".join(in_words(part, True, text) for part, text in zip(found, models.values(), strict=True))
    return f"{text}\n{len(values)} runs.\n{table_text(header, lines)}{said}"


def _robustness(rows: Sequence[Row]) -> str:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    frames = {case: pivot([row for row in rows if row["case"] == case], "accuracy") for case in cases}
    tables = _beside_ours(frames, {case: (100, 2, True) for case in cases})
    said = "".join(f"\n{case}:\n{in_words(against(frames[case], _ours), True, '`ours`')}" for case in cases)
    return f"{ROBUSTNESS.format(copies=robustness.N_COPIES)}{tables}{said}"


def _calibration(rows: Sequence[Row]) -> str:
    measures = {"accuracy": (100, 2, True), "log_loss": (1, 4, False), "brier": (1, 4, False), "ece": (1, 4, False)}
    titles = ("Accuracy, %", "Log-loss", "Brier", "ECE")
    frames = {title: pivot(rows, measure) for title, measure in zip(titles, measures, strict=True)}
    tables = _beside_ours(frames, dict(zip(titles, measures.values(), strict=True)))
    said = "".join(f"\n{name}:\n{in_words(against(frames[name], _ours), False, '`ours`')}" for name in titles[1:])
    return f"{CALIBRATION}{tables}{said}"


def _ours(_: str) -> str:
    return OURS


def _beside_ours(frames: dict[str, pd.DataFrame], formats: dict[str, tuple[float, int, bool]]) -> str:
    """Means by name with the best in bold, then differences from ours; a column each, with scale, digits, more is better."""
    means = {title: bootstrap(frame) for title, frame in frames.items()}
    found = {title: against(frame, _ours) for title, frame in frames.items()}
    best = {t: _best((i.mean for i in means[t].values()), more) for t, (_, _, more) in formats.items()}
    names = list(next(iter(frames.values())))
    lines = [
        [
            name,
            *(number(s * means[t][name].mean, d, means[t][name].mean == best[t]) for t, (s, d, _) in formats.items()),
        ]
        for name in names
    ]
    less = [
        [name, *(_difference(found[title], name, scale, digits) for title, (scale, digits, _) in formats.items())]
        for name in names
        if name != OURS
    ]
    return table_text(("Model", *frames), lines) + table_text(("Model less ours", *frames), less)


def _best(values: Iterable[float], more: bool) -> float:
    return max(values) if more else min(values)


def _difference(found: dict[str, Interval], name: str, scale: float, digits: int) -> str:
    return difference(found[name], scale, digits) if name in found else "–"


def _interval(interval: Interval, digits: int) -> str:
    return f"{number(interval.mean, digits)} ({number(interval.low, digits)}–{number(interval.high, digits)})"


SECTIONS: dict[str, Callable[[Sequence[Row]], str]] = {
    "errors": _errors,
    "out-of-distribution": _out_of_distribution,
    "robustness": _robustness,
    "calibration": _calibration,
}


def write_uncertainty_page(folder: Path, page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(uncertainty_page(folder))
