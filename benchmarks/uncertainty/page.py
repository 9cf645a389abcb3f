"""The page of uncertainty, made from its record alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..markdown import circumstances, number, table_text
from ..summary import Interval, bootstrap
from ..verdicts import GAIN, LOSS, difference, verdict
from . import PARTS, errors, foreign, read_record, robustness
from .cells import MLP, OURS, UNIFORM, Row

if TYPE_CHECKING:
    import pandas as pd

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Uncertainty

What the probabilities of `GenerativeTransportClassifier()` (`ours`) are good for beside those of peers, and whether anything
else that transport offers tells more. `ours (uniform times)` is the same trained with times drawn uniformly, which several
starts and steps need. Intervals are 95% bootstrap intervals that draw tables, and runs within them; a difference whose interval
excludes zero is bold.
"""
NOT_MEASURED = "\nNot measured.\n"
ERRORS = """
AUROC is the chance that a wrongly classified test row has a higher score than a rightly classified one; AURC is the
area under the error rate over the share of rows kept, the surest first, in thousandths; less is better. Each score judges the
predictions of its own model, and is compared with the top probability of that model; those with that of `ours`, whose
errors are other ones. Several transports: {draws} draws of {steps} steps, noise being the same for all rows, either fresh at each
step or added to x1 at the largest deviation the path has. Runs without an error are left out.
"""
FOREIGN = """
Up to {most} classes of every table with three or more are left out of training, one at a time; AUROC is the chance that a test
row of that class has a higher score than one of the others. From the raw estimate x̂0 come its length, its angle and its
distance to the nearest code, and its part outside the span of the codes.
"""
ROBUSTNESS = """
Test features are replaced by the median of training, each with the chance in the heading, or get normal noise in units of the
training deviation. Training saw none of this, but for the models that are used to losses: they learnt from the training rows and
from {copies} copies of each, in which some share of the features up to half, another in every row, is replaced by the median.
Accuracy in percent, and below it the difference from `ours` in points.
"""
CALIBRATION = """
"+ sigmoid" and "+ isotonic" are `CalibratedClassifierCV` with three folds around the model. Log-loss is in nats,
the Brier score summed over classes, ECE in 15 bins.
"""


def uncertainty_page(record_file: Path) -> str:
    """
    Text of the page.

    Parameters
    ----------
    record_file : Path
        JSON with the record of each part that was measured.
    """
    record = read_record(record_file)
    blocks = [HEADER]
    made: dict[str, list[str]] = {}
    for part, module in PARTS.items():
        blocks.append(f"\n## {module.TITLE}\n")
        rows = record.get(part, {}).get("rows")
        if not rows:
            blocks.append(NOT_MEASURED)
            continue
        tables = sorted({row["table"] for row in rows})
        blocks += [SECTIONS[part](rows), f"\nTables: {', '.join(tables)}.\n"]
        made.setdefault(circumstances(record[part], ("scikit-learn", "torch")), []).append(module.TITLE)
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


def against(values: pd.DataFrame, references: dict[str, str]) -> dict[str, Interval]:
    """Interval of each column less its reference's column; of its own reference there is none."""
    compared = {name: values[name] - values[reference] for name, reference in references.items() if name != reference}
    return bootstrap(type(values)(compared)) if compared else {}


def in_words(found: dict[str, Interval], more_is_better: bool, what: str) -> str:
    """Which of the names are better than what they are compared with, which worse, and which neither."""
    groups: dict[str, list[str]] = {GAIN: [], LOSS: [], "": []}
    for name, interval in found.items():
        groups[verdict(interval, more_is_better)].append(name)
    texts = {GAIN: f"Better than {what}", LOSS: f"Worse than {what}", "": "No difference beyond chance"}
    return "\n" + "".join(f"- {texts[kind]}: {'; '.join(names) or 'none'}.\n" for kind, names in groups.items())


def _errors(rows: Sequence[Row]) -> str:
    values = {measure: pivot(rows, measure) for measure in ("auroc", "aurc")}
    runs = values["auroc"].index  # those without an error are told by AUROC alone
    values = {measure: frame.loc[runs] for measure, frame in values.items()}
    text = ERRORS.format(draws=errors.N_DRAWS, steps=errors.N_STEPS)
    if not len(runs):
        return f"{text}{NOT_MEASURED}"
    tops = {model: f"{model}: {errors.TOP}" for model in (OURS, UNIFORM, MLP)}
    names = list(values["auroc"])
    references = {name: tops[OURS] if name in tops.values() else tops[name.partition(": ")[0]] for name in names}
    found = {measure: against(frame, references) for measure, frame in values.items()}
    means = {measure: bootstrap(frame) for measure, frame in values.items()}
    lines = []
    for name in names:
        cells = [name, number(means["auroc"][name].mean, 3), _difference(found["auroc"], name, 1, 3)]
        lines.append([*cells, number(1000 * means["aurc"][name].mean, 1), _difference(found["aurc"], name, 1000, 1)])
    header = ("Score", "AUROC", "less the top probability", "AURC", "less the top probability")
    own = {name: interval for name, interval in found["auroc"].items() if name not in tops.values()}
    said = in_words(own, True, "the top probability of the same model, in AUROC")
    return f"{text}\n{len(runs)} runs.\n{table_text(header, lines)}{said}"


def _foreign(rows: Sequence[Row]) -> str:
    values = pivot(rows, "auroc")
    text = FOREIGN.format(most=foreign.MOST_CLASSES)
    if not len(values):
        return f"{text}{NOT_MEASURED}"
    means = bootstrap(values)
    peer, own = f"{MLP}: {errors.TOP}", f"{OURS}: {errors.TOP}"
    less_peer, less_own = ({name: reference for name in values} for reference in (peer, own))
    found, found_own = against(values, less_peer), against(values, less_own)
    lines = [
        [name, _interval(means[name], 1, 3), _difference(found, name, 1, 3), _difference(found_own, name, 1, 3)]
        for name in values
    ]
    header = ("Score", "AUROC", "less the MLP's top probability", "less ours")
    said = in_words(found, True, "the MLP's top probability") + in_words(found_own, True, "our top probability")
    return f"{text}\n{len(values)} runs.\n{table_text(header, lines)}{said}"


def _robustness(rows: Sequence[Row]) -> str:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    frames = {case: pivot([row for row in rows if row["case"] == case], "accuracy") for case in cases}
    names = list(frames[cases[0]])
    means = {case: bootstrap(frame) for case, frame in frames.items()}
    found = {case: against(frame, dict.fromkeys(names, OURS)) for case, frame in frames.items()}
    lines = [[name, *[number(100 * means[case][name].mean, 2) for case in cases]] for name in names]
    differences = [
        [name, *[_difference(found[case], name, 100, 2) for case in cases]] for name in names if name != OURS
    ]
    said = "\n" + "".join(f"- {case}: {'. '.join(_verdicts(found[case]))}.\n" for case in cases)
    return (
        f"{ROBUSTNESS.format(copies=robustness.N_COPIES)}{table_text(('Model', *cases), lines)}"
        f"{table_text(('Model less ours', *cases), differences)}\nIn words, beside `ours`:\n{said}"
    )


def _verdicts(found: dict[str, Interval]) -> list[str]:
    said = {kind: [name for name, interval in found.items() if verdict(interval) == kind] for kind in (GAIN, LOSS, "")}
    texts = {GAIN: "Better", LOSS: "Worse", "": "No difference beyond chance"}
    return [f"{texts[kind]}: {'; '.join(names)}" for kind, names in said.items() if names]


def _calibration(rows: Sequence[Row]) -> str:
    measures = {"accuracy": (100, 2, True), "log_loss": (1, 4, False), "brier": (1, 4, False), "ece": (1, 4, False)}
    frames = {measure: pivot(rows, measure) for measure in measures}
    names = list(frames["accuracy"])
    found = {measure: against(frame, dict.fromkeys(names, OURS)) for measure, frame in frames.items()}
    means = {measure: bootstrap(frame) for measure, frame in frames.items()}
    lines, differences, said = [], [], []
    best = {m: (max if more else min)(i.mean for i in means[m].values()) for m, (_, _, more) in measures.items()}
    for name in names:
        lines.append(
            [
                name,
                *[
                    number(scale * means[m][name].mean, digits, means[m][name].mean == best[m])
                    for m, (scale, digits, _) in measures.items()
                ],
            ]
        )
        if name != OURS:
            differences.append(
                [name, *[_difference(found[m], name, scale, digits) for m, (scale, digits, _) in measures.items()]]
            )
    titles = ("Accuracy, %", "Log-loss", "Brier", "ECE")
    for title, (metric, (_, _, more)) in zip(titles[1:], list(measures.items())[1:], strict=True):
        said.append(f"\n{title}:\n{in_words(found[metric], more, '`ours`')}")
    return (
        f"{CALIBRATION}{table_text(('Model', *titles), lines)}"
        f"{table_text(('Model less ours', 'Accuracy, points', *titles[1:]), differences)}{''.join(said)}"
    )


def _difference(found: dict[str, Interval], name: str, scale: float, digits: int) -> str:
    return difference(found[name], scale, digits) if name in found else "–"


def _interval(interval: Interval, scale: float, digits: int) -> str:
    return " ".join(
        [
            number(scale * interval.mean, digits),
            f"({number(scale * interval.low, digits)}–{number(scale * interval.high, digits)})",
        ]
    )


SECTIONS: dict[str, Callable[[Sequence[Row]], str]] = {
    "errors": _errors,
    "foreign": _foreign,
    "robustness": _robustness,
    "calibration": _calibration,
}


def write_uncertainty_page(record_file: Path, page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(uncertainty_page(record_file))
