"""Report of an evaluation as a self-contained, accessible HTML file without scripts."""

from __future__ import annotations

import contextlib
import json
import os
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files import atomic_file
from ..html_page import as_svg, document, figure
from ..html_page import captioned as _captioned
from ..html_page import table as _table
from ..votes import vote_cross_entropy
from .corpora import clip_name
from .intervals import MIN_UNITS, bounds_text
from .measures import Tally
from .names import TITLES
from .pictures import draw
from .results import Evaluation
from .votes import constant_guess, has_majority, votes_of

N_ERRORS = 15
N_CLIPS = 5


def write_report(
    evaluation: Evaluation, path: str | Path, *, title: str = "Evaluation", pictures: str | Path | None = None
) -> None:
    """Write the report; see `Evaluation.report`."""
    drawn = draw(evaluation)
    svgs = {name: as_svg(picture, name) for name, (picture, _) in drawn.items()}
    with atomic_file(path) as file:
        file.write(page(evaluation, title, {name: figure(svg, drawn[name][1]) for name, svg in svgs.items()}))
    if pictures is not None:
        for name, svg in svgs.items():
            with atomic_file(Path(pictures) / f"{name}.svg") as file:
                file.write(f'<?xml version="1.0" encoding="utf-8"?>\n{svg}')


def page(evaluation: Evaluation, title: str, figures: dict[str, str]) -> str:
    """Return the HTML of the report; `figures` are the HTML of each figure, by name."""
    sections = [
        ("Result", _result(evaluation)),
        ("Against votes", _votes(evaluation)),
        ("Audit of the corpus", _audit(evaluation)),
        ("Confusion matrix", _confusion(evaluation)),
        ("Classes", _classes(evaluation)),
        ("Speakers", _speakers(evaluation, figures)),
        ("Groups", _groups(evaluation, figures)),
        ("Reliability of probabilities", _reliability(evaluation, figures)),
        ("Layers", figures.get("layers", "")),
        ("Most confident errors", _errors(evaluation)),
        ("How it was made", _about(evaluation)),
    ]
    return document(title, sections)


# -------------------------------------------------------------------- sections


def _result(evaluation: Evaluation) -> str:
    intervals, predictions = evaluation.intervals, evaluation.predictions
    n_drawn = predictions["voice"].nunique()
    headline = []
    for name in ("uar", "wa"):
        value, low, high = intervals.loc[name]
        bounds = ", no interval" if np.isnan(low) else f", 95&nbsp;% interval {bounds_text(low, high)}"
        headline.append(f"<strong>{TITLES[name]} {value:.3f}</strong>{bounds}")
    several = len(evaluation.folds) > 1
    table = intervals.assign(title=TITLES, mean=evaluation.mean, error=evaluation.standard_error).loc[
        evaluation.measured
    ]
    of_folds = {"mean": "mean of folds", "error": "standard error"} if several else {}
    rows = _rows(table, "title", "value", ("low", "high"), *of_folds)
    guess = 1 / max(len(np.unique(predictions["label"])), 1)
    text = f'<p class="headline">{"; ".join(headline)}, over {n_drawn} {evaluation.unit}. Chance UAR: {guess:.3f}.</p>'
    text += _table("Measures of all tested clips", ["", "all clips", "95 % interval", *of_folds.values()], rows)
    text += (
        f"<p>{len(predictions)} clips in {len(evaluation.folds)} {'folds' if several else 'fold'}. Intervals are from a "
        f"bootstrap over {evaluation.unit} with all their clips; they cover the variation between speakers, but not that "
        f"between seeds. There are none over fewer than {MIN_UNITS} {evaluation.unit}, whose range is too narrow. Those "
        "of UAR and macro-F1 are from samples with every label; there are none if most samples lack one. "
        "WA is the share of correct clips, UAR the mean recall over classes. For log-loss and ECE (calibration error), lower is "
        "better.</p>"
    )
    if evaluation.shared_speakers:
        shared = ", ".join(evaluation.shared_speakers[:N_CLIPS])
        text += (
            f'<div class="finding warning"><p>{len(evaluation.shared_speakers)} speakers were on both sides of a fold '
            f"({escape(shared)}): results are too optimistic for new speakers.</p></div>"
        )
    if several:
        titles = {"n_train": "training clips", "n_test": "test clips", "n_test_speakers": "test speakers"}
        titles = {"fold": "fold", **titles, **{name: TITLES[name] for name in evaluation.measured}}
        text += _table("Folds", list(titles.values()), _rows(evaluation.folds, *titles))
    return text


def _votes(evaluation: Evaluation) -> str:
    votes = votes_of(evaluation.predictions)
    if votes is None or evaluation.votes is None:
        return ""
    constant, least = constant_guess(votes), vote_cross_entropy(votes, votes)
    rows = _rows(
        evaluation.votes.assign(title=TITLES, constant=constant), "title", "value", ("low", "high"), "constant"
    )
    header = ["", "all clips", "95 % interval", "mean votes for every clip"]
    return _table("Probabilities against votes", header, rows) + (
        "<p>The measures above are against the label with most votes; these are against all votes. "
        f"{int((~has_majority(votes)).sum())} of {len(votes)} clips have no majority, since several labels tie. They are used "
        "for training and testing, but excluded from the accuracy here. Divergence and cross-entropy are means over clips, in "
        "nats; lower is better. The divergence is 0 if probabilities equal the shares of votes, and at most log 2 = 0.693. The "
        f"smallest possible cross-entropy is {least:.3f}, the mean entropy of the votes. In the last column, every clip gets the "
        "mean votes of all clips as its probabilities.</p>"
    )


def _audit(evaluation: Evaluation) -> str:
    audited = evaluation.audit
    if audited is None:
        return ""
    labels = ", ".join(f"{escape(label)} {count}" for label, count in audited.classes.items())
    text = f"<p>{audited.size}. Clips by label: {labels}.</p>"
    for finding in audited.findings:
        clips = "; ".join(escape(clip) for clip in finding.clips[:N_CLIPS])
        accepted = ", accepted" if finding.code in audited.accepted else ""
        more = f" and {len(finding.clips) - N_CLIPS} more" if len(finding.clips) > N_CLIPS else ""
        text += (
            f'<div class="finding {finding.severity}"><p>'
            f"<strong>{finding.severity.capitalize()}{accepted} ({escape(finding.code)}):</strong> "
            f"{escape(finding.message)}.</p><p>Remedy: {escape(finding.remedy)}.</p>"
            + (f"<p><small>{clips}{more}</small></p>" if clips else "")
            + "</div>"
        )
    return text + ("" if audited.findings else "<p>No problems found.</p>")


def _confusion(evaluation: Evaluation) -> str:
    confusion = evaluation.confusion
    names = [str(label) for label in evaluation.classes]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = ""
    for name, counts in zip(names, confusion, strict=True):
        total = counts.sum()
        cells = ""
        for count in counts:
            share = count / total if total else 0.0
            # At the darkest shade, text still has a contrast of 4.5.
            cells += f'<td style="background:rgba(var(--shade),{0.6 * share:.2f})">{count}</td>'
        recall = f"{counts[names.index(name)] / total:.2f}" if total else ""
        rows += f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{recall}</td></tr>'
    head = f'<th scope="col">true</th>{head}<th scope="col">recall</th>'
    return _captioned("Clips by true label (rows) and predicted label (columns)", head, rows)


def _classes(evaluation: Evaluation) -> str:
    bounds = "95 % interval"
    header = ["label", "clips", "speakers", "recall", bounds, "precision", "F1", bounds, "most often taken for"]
    recall, f1 = ("recall_low", "recall_high"), ("f1_low", "f1_high")
    columns = ("n_clips", "n_speakers", "recall", recall, "precision", "f1", f1, "most_often_taken_for")
    return _table("Measures of each class", header, _rows(evaluation.by_class, "label", *columns))


def _speakers(evaluation: Evaluation, figures: dict[str, str]) -> str:
    if evaluation.by_speaker is None:
        return "<p>The speakers are unknown: results may be too optimistic for new speakers.</p>"
    header = ["speaker", "clips", *(TITLES[name] for name in evaluation.measured)]
    worst_first = evaluation.by_speaker.sort_values("wa", kind="stable")
    table = _table("Speakers, worst first", header, _rows(worst_first, "speaker", "n_clips", *evaluation.measured))
    return f'<div class="pair">{figures.get("speakers", "")}<div>{table}</div></div>'


def _groups(evaluation: Evaluation, figures: dict[str, str]) -> str:
    groups, gaps = evaluation.by_group, evaluation.gaps
    if not len(groups):
        return ""
    others = [name for name in ("log_loss", "ece") if name in evaluation.measured]
    header = ["group", "clips", "speakers", "UAR", "95 % interval", "WA", "95 % interval", *(TITLES[m] for m in others)]
    columns = ["group", "n_clips", "n_speakers", "uar", ("uar_low", "uar_high"), "wa", ("wa_low", "wa_high"), *others]
    rows = _rows(groups.assign(group=groups["column"].astype(str) + ": " + groups["value"]), *columns)
    tables = _table("Measures of each group", header, rows)
    gaps = gaps[gaps["measure"].isin(["uar", "wa"])]
    gaps = gaps.assign(
        pair=gaps["column"].astype(str) + ": " + gaps["a"] + " minus " + gaps["b"], title=gaps["measure"].map(TITLES)
    )
    header = ["groups", "measure", "difference", "95 % interval"]
    tables += _table("Gaps between groups", header, _rows(gaps, "pair", "title", "difference", ("low", "high")))
    return (
        f'<div class="pair">{figures.get("groups", "")}<div>{tables}<p>A gap is significant if its interval excludes zero and '
        "it was chosen beforehand. UAR is the mean over the classes that occur in a group.</p></div></div>"
    )


def _reliability(evaluation: Evaluation, figures: dict[str, str]) -> str:
    if "reliability" not in figures:
        return "<p>The classifier gives no probabilities.</p>"
    unit = np.zeros(len(evaluation.predictions), int)
    (bins,) = Tally.of(evaluation.predictions, evaluation.classes, unit, 1).bins
    rows = [
        [f"{i / len(bins):.2f}–{(i + 1) / len(bins):.2f}", f"{n:.0f}", _number(sure / n), _number(right / n)]
        for i, (sure, right, n) in enumerate(bins)
        if n
    ]
    header = ["confidence", "clips", "mean confidence", "share correct"]
    return (
        f'<div class="pair">{figures["reliability"]}<div>{_table("Bins of confidence", header, rows)}</div></div>'
        "<p>Confidence is the largest probability of a clip. If it exceeds the share of correct clips, the classifier is "
        "overconfident.</p>"
    )


def _errors(evaluation: Evaluation) -> str:
    wrong = evaluation.predictions.query("label != predicted")
    if not len(wrong) or wrong["confidence"].isna().all():
        return ""
    table = wrong.sort_values("confidence", ascending=False, kind="stable").head(N_ERRORS)
    folder = _common_folder(table["path"].astype(str).tolist())
    table = table.assign(clip=[_location(row, folder) for row in table.to_dict("records")])
    columns = ["clip", *(["speaker"] if "speaker" in table else []), "label", "predicted", "confidence", "score"]
    rows = _rows(table, *columns)
    below = f" Paths are below <code>{escape(folder)}</code>." if folder else ""
    return (
        f"<p>Listen to these clips, since their labels may be wrong. A low score means that a clip is unlike the training "
        f"data.{below}</p>"
    ) + _table(f"{len(rows)} of {len(wrong)} errors", columns, rows, path=True)


def _about(evaluation: Evaluation) -> str:
    about = evaluation.about
    if not about:
        return ""
    shown = {
        "Made": about.get("made"),
        "Folds": about.get("folds"),
        "Maximum number of folds": about.get("n_folds"),
        "Random state": about.get("random_state"),
        "SHA-256 of the corpus": about.get("corpus_sha256"),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Platform": about.get("platform"),
    }
    items = "".join(
        f"<dt><strong>{n}</strong></dt><dd>{escape(str(v))}</dd>" for n, v in shown.items() if v is not None
    )
    if about.get("command"):
        # Lines may break between words, but not within options.
        words = " ".join(f"<span>{escape(word)}</span>" for word in about["command"].split(" "))
        items += f"<dt><strong>Command</strong></dt><dd><code>{words}</code></dd>"
    pipeline = escape(json.dumps(about.get("pipeline"), indent=1, ensure_ascii=False))
    return f'<dl>{items}</dl><h3>Pipeline</h3><pre tabindex="0">{pipeline}</pre>'


# ---------------------------------------------------------------------- pieces


def _rows(table: pd.DataFrame, *columns: str | tuple[str, str]) -> list[list[str]]:
    """Return the text of the cells of some columns; a pair of columns is an interval."""
    return [
        [_number(row[name]) if isinstance(name, str) else bounds_text(*(row[end] for end in name)) for name in columns]
        for row in table.to_dict("records")
    ]


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)


def _common_folder(paths: list[str]) -> str:
    """Return the common folder of all paths, or an empty string."""
    with contextlib.suppress(ValueError):  # absolute and relative paths, or several drives
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    return ""


def _location(row: dict[str, Any], folder: str) -> str:
    path = os.path.relpath(row["path"], folder) if folder else str(row["path"])
    return clip_name(path, row)
