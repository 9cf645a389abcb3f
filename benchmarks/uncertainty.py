"""Measure what probabilities are worth: errors, out-of-distribution input, changed features, calibration."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from .data import SAMPLE, Split
from .markdown import by_command, number, table
from .metrics import align_columns, score_probabilities
from .models import create_model, named
from .options import add_options, add_parts, chosen, splits_of
from .records import RESULTS, new_record, read_record, write_record
from .summary import HIGHER_IS_BETTER, Interval, bootstrap, less, means, pivot

FOLDER = RESULTS / "uncertainty"
OURS, MLP = "ours", "mlp"
METHODS = ("sigmoid", "isotonic")
CALIBRATED = ("mlp", "extratrees", *(name for name in ("lightgbm", "catboost") if find_spec(name)))
TOP, NOVELTY, NEIGHBOURS = "top probability", "novelty (`-score_samples`)", "5 nearest training rows"
N_FOLDS = 3
N_DRAWS = 16
MOST_CLASSES = 3
SHARES, NOISES = (0.1, 0.3, 0.5), (0.5, 1.0)
"""Of missing features, and of noise in deviations."""
N_COPIES = 2
"""Of each training row, with feature dropout."""
FORMATS = {
    "accuracy": ("Accuracy, %", 2, 100),
    "log_loss": ("Log-loss", 4, 1),
    "brier": ("Brier", 4, 1),
    "ece": ("ECE", 4, 1),
}
"""Title, digits and scale."""
Row = dict[str, Any]


def create(name: str, cv: Any = N_FOLDS) -> BaseEstimator:
    """A model of `MODELS`, or "svc"; "mlp + sigmoid" is one in `CalibratedClassifierCV(method="sigmoid")`."""
    model, _, method = name.partition(" + ")
    created = make_pipeline(StandardScaler(), SVC()) if model == "svc" else create_model(model)
    return CalibratedClassifierCV(created, method=method, cv=cv) if method else created


def fit(name: str, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Any:
    """A model fitted on rows; ours and the folds of calibration hold groups out together."""
    cv: Any = N_FOLDS
    if groups is not None and " + " in name:
        cv = list(StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(X, y, groups))
    of_fit = {} if groups is None or name != OURS else {"groups": groups}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers that stop before they converge do so with their own settings
        return create(name, cv).fit(X, y, **of_fit)


class Cell:
    """One split of a table, and the models that are fitted on it, each once."""

    def __init__(self, split: Split) -> None:
        self.labels, self.seed = split.labels, split.number
        self._fitted: dict[str, Any] = {}
        (self.X_train, self.y_train), self.groups = split.fitting, split.groups
        self.X_test, self.y_test = split.evaluation

    def fitted(self, name: str) -> Any:
        """A model fitted on the training part, at the first call."""
        if name not in self._fitted:
            self._fitted[name] = fit(name, self.X_train, self.y_train, self.groups)
        return self._fitted[name]

    def probabilities(self, name: str) -> np.ndarray:
        """Its probabilities (n, n_classes) of the test part, columns in the order of `labels`."""
        model = self.fitted(name)
        return align_columns(model.predict_proba(self.X_test), model.classes_, self.labels)


def scores(model: object, proba: np.ndarray, X: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (n,) of doubt in rows of these probabilities: the higher, the less the model knows."""
    entropy = -(proba * np.log(np.clip(proba, 1e-12, 1))).sum(axis=-1)
    novelty = {NOVELTY: -model.score_samples(X)} if hasattr(model, "score_samples") else {}
    return {TOP: 1 - proba.max(axis=1), "entropy": entropy, **novelty}


def auroc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Chance that a positive row has a higher score than a negative one; None without one of either."""
    return None if positive.all() or not positive.any() else float(roc_auc_score(positive, score))


def risk_coverage_area(wrong: np.ndarray, score: np.ndarray) -> float:
    """
    Area under the error rate of the k rows of lowest score, over k = 1 ... n (AURC, Geifman and El-Yaniv 2017).

    Rows of equal score count with their mean error, so that their order does not matter.
    """
    _, group = np.unique(score, return_inverse=True)  # groups are numbered by rising score
    mean_error = np.bincount(group, wrong) / np.bincount(group)
    return float((mean_error[np.sort(group)].cumsum() / np.arange(1, len(wrong) + 1)).mean())


def measure_errors(cell: Cell) -> list[Row]:
    """AUROC and AURC of each score in finding errors on the test part."""
    rows: list[Row] = []
    for name in (OURS, MLP):
        model, proba = cell.fitted(name), cell.probabilities(name)
        found = scores(model, proba, cell.X_test)
        if name == OURS:
            drawn = model.sample(cell.X_test, N_DRAWS, random_state=0)  # (n, draws)
            share = (drawn[:, :, None] == cell.labels).mean(axis=1).max(axis=1)
            found[f"disagreement of {N_DRAWS} samples"] = 1 - share
        wrong = cell.labels[proba.argmax(axis=1)] != cell.y_test
        for score, value in found.items():
            areas = {"auroc": auroc(wrong, value), "aurc": risk_coverage_area(wrong, value)}
            rows.append({"name": f"{name}: {score}", **areas, "n_wrong": int(wrong.sum())})
    return rows


def measure_classes_left_out(cell: Cell) -> list[Row]:
    """AUROC of each score, for some classes left out of training in turn; nothing for two classes."""
    rows: list[Row] = []
    if len(cell.labels) < 3:
        return rows
    for label in cell.labels[np.unique(np.linspace(0, len(cell.labels) - 1, MOST_CLASSES).round().astype(int))]:
        known, unknown = cell.y_train != label, cell.y_test == label
        found = {NEIGHBOURS: neighbour_distance(cell.X_train[known], cell.X_test)}
        for name in (OURS, MLP):
            model = fit(name, cell.X_train[known], cell.y_train[known])
            of_model = scores(model, model.predict_proba(cell.X_test), cell.X_test)
            found |= {f"{name}: {score}": value for score, value in of_model.items()}
        rows += [{"case": str(label), "name": name, "auroc": auroc(unknown, score)} for name, score in found.items()]
    return rows


def neighbour_distance(X_train: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Mean distance of standardised rows to the five nearest training rows."""
    scaler = StandardScaler().fit(X_train)
    neighbours = NearestNeighbors(n_neighbors=5).fit(scaler.transform(X_train))
    return neighbours.kneighbors(scaler.transform(X))[0].mean(axis=1)


def measure_robustness(cell: Cell) -> list[Row]:
    """Accuracy of each model on the same changed test rows."""
    models = {name: cell.fitted(name) for name in (OURS, MLP, "logreg", "hgb")}
    models |= {f"{name}, trained with feature dropout": fit_with_dropout(name, cell) for name in (OURS, MLP)}
    return [
        {"case": case, "name": name, "accuracy": float((model.predict(X) == cell.y_test).mean())}
        for case, X in changed(cell.X_train, cell.X_test, cell.seed).items()
        for name, model in models.items()
    ]


def fit_with_dropout(name: str, cell: Cell) -> Any:
    """A model fitted on the training rows and on copies that lack up to half of their features."""
    X, rng = cell.X_train, np.random.default_rng(cell.seed)
    copies = np.tile(X, (N_COPIES, 1))
    missing = rng.random(copies.shape) < rng.uniform(0, max(SHARES), (len(copies), 1))
    copies = np.where(missing, np.median(X, axis=0), copies).astype(X.dtype)
    # Copies of a row must not validate what has learnt from it.
    groups = np.tile(np.arange(len(X)) if cell.groups is None else cell.groups, N_COPIES + 1)
    return fit(name, np.concatenate([X, copies]), np.tile(cell.y_train, N_COPIES + 1), groups)


def changed(X_train: np.ndarray, X: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """
    Rows as they are, with training medians for some values, and with noise in units of the training deviation.

    What is missing at a share is also missing at a larger one, and noise of two levels differs in its scale alone.
    """
    rng = np.random.default_rng(seed)
    chance, noise = rng.random(X.shape), rng.standard_normal(X.shape)
    median, deviation = np.median(X_train, axis=0), X_train.std(axis=0)
    missing = {f"{share:.0%} missing": np.where(chance < share, median, X) for share in SHARES}
    noisy = {f"noise {scale:g} SD": X + scale * deviation * noise for scale in NOISES}
    return {"unchanged": X, **{case: rows.astype(X.dtype) for case, rows in {**missing, **noisy}.items()}}


def measure_calibration(cell: Cell) -> list[Row]:
    """Scores of the probabilities of each model, as they come and after `CalibratedClassifierCV`."""
    peers = [name for model in CALIBRATED for name in (model, *(f"{model} + {method}" for method in METHODS))]
    rows = []
    for name in (OURS, *peers, *(f"svc + {method}" for method in METHODS)):
        found = score_probabilities(cell.y_test, cell.probabilities(name), cell.labels)
        rows.append({"name": name, **{measure: found[measure] for measure in FORMATS}})
    return rows


PARTS: dict[str, Callable[[Cell], list[Row]]] = {
    "errors": measure_errors,
    "out-of-distribution": measure_classes_left_out,
    "robustness": measure_robustness,
    "calibration": measure_calibration,
}
"""Each gives rows with a `name`, measures, and a `case` where there are several."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_parts(parser, PARTS)
    add_options(parser, FOLDER, "--data-dir", "--tables", "--splits", splits="0,1")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print progress, and record each part."""
    parts = chosen(arguments.parts, PARTS, "part")
    found: dict[str, list[Row]] = {part: [] for part in parts}
    for split in splits_of(arguments, SAMPLE):
        cell = Cell(split)
        for part in parts:
            found[part] += [{**split.about, **row} for row in PARTS[part](cell)]
            print(split.about, part, flush=True)
    for part, rows in found.items():
        write_record(new_record(arguments.command_line, rows=rows), arguments.output / f"{part}.json")
    return 0


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without any record."""
    read = {part: read_record(results / FOLDER.name / f"{part}.json") for part in PARTS}
    records = {part: record for part, record in read.items() if record and record["rows"]}
    if not records:
        return {}
    views = {
        "errors": _errors,
        "out-of-distribution": _classes_left_out,
        "robustness": _robustness,
        "calibration": _calibration,
    }
    return {
        "parts": {part: views[part](record["rows"]) for part, record in records.items()},
        "tables": {part: sorted({row["table"] for row in record["rows"]}) for part, record in records.items()},
        "commands": by_command(records.values()),
        "answers": _answers(records) if len(records) == len(PARTS) else {},
        "n_draws": N_DRAWS,
        "most_classes": MOST_CLASSES,
        "n_copies": N_COPIES,
    }


def _answers(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures that the page opens with: means over tables by name, and the ECE of ours on each table of speakers."""

    def means_of(part: str, measure: str, case: str | None = None) -> pd.Series:
        rows = [row for row in records[part]["rows"] if case in (None, row.get("case"))]
        return means(pivot(rows, measure, *(["case"] if "case" in rows[0] else [])))

    return {
        "errors": means_of("errors", "auroc"),
        "outside": means_of("out-of-distribution", "auroc"),
        "unchanged": means_of("robustness", "accuracy", "unchanged"),
        "missing": means_of("robustness", "accuracy", f"{SHARES[1]:.0%} missing"),
        "losses": means_of("calibration", "log_loss").rename(named),
        "speakers": {
            row["table"]: row["ece"]
            for row in records["calibration"]["rows"]
            if row["name"] == OURS and row["table"].startswith("ravdess")
        },
    }


def _differences(found: Sequence[Mapping[str, Interval]], name: str, *forms: tuple[int, float]) -> list[str]:
    return [own[name].difference(*form) if name in own else "–" for own, form in zip(found, forms, strict=True)]


def _errors(rows: Sequence[Row]) -> str:
    areas = {"auroc": pivot(rows, "auroc")}
    areas["aurc"] = pivot(rows, "aurc").loc[areas["auroc"].index]  # runs without an error have no AUROC
    top = {name: f"{name}: {TOP}" for name in (OURS, MLP)}

    def reference(name: str) -> str:
        return top[OURS] if name in top.values() else top[name.partition(": ")[0]]

    means = {measure: bootstrap(values) for measure, values in areas.items()}
    found = [less(values, reference) for values in areas.values()]
    lines = []
    for name in areas["auroc"]:
        of_auroc, of_aurc = _differences(found, name, (3, 1), (1, 1000))
        own = number(means["auroc"][name].mean, 3), number(1000 * means["aurc"][name].mean, 1)
        lines.append([named(name), own[0], of_auroc, own[1], of_aurc])
    header = ("Score", "AUROC", "less the top probability", "AURC", "less the top probability")
    return f"{len(areas['auroc'])} runs.\n\n{table(header, lines)}"


def _classes_left_out(rows: Sequence[Row]) -> str:
    values = pivot(rows, "auroc", "case")
    means = bootstrap(values)
    titles = {f"{MLP}: {TOP}": "the MLP's top probability", f"{OURS}: {TOP}": "our top probability"}
    found = [less(values, top) for top in titles]
    lines = [[named(name), means[name].text(3), *_differences(found, name, (3, 1), (3, 1))] for name in values]
    header = ("Score", "AUROC", *(f"less {title}" for title in titles.values()))
    return f"{len(values)} runs.\n\n{table(header, lines)}"


def _robustness(rows: Sequence[Row]) -> str:
    cases = dict.fromkeys(row["case"] for row in rows)
    frames = {case: pivot([row for row in rows if row["case"] == case], "accuracy") for case in cases}
    return _beside_ours((case.replace("%", " %"), values, 2, 100, True) for case, values in frames.items())


def _calibration(rows: Sequence[Row]) -> str:
    return _beside_ours(
        (title, pivot(rows, measure), digits, scale, measure in HIGHER_IS_BETTER)
        for measure, (title, digits, scale) in FORMATS.items()
    )


def _beside_ours(columns: Iterable[tuple[str, pd.DataFrame, int, float, bool]]) -> str:
    """Means by name with the best in bold, then differences; of title, values, digits, scale, more is better."""
    titles, means, differences, names = [], [], [], []
    for title, values, digits, scale, more_is_better in columns:
        own, found = {name: one.mean for name, one in bootstrap(values).items()}, less(values, OURS)
        leader, names = (max if more_is_better else min)(own.values()), list(values)
        titles.append(title)
        means.append([number(scale * own[name], digits, own[name] == leader) for name in names])
        differences.append([found[name].difference(digits, scale) for name in names if name != OURS])
    lines = list(zip(map(named, names), *means, strict=True))
    others = list(zip([named(name) for name in names if name != OURS], *differences, strict=True))
    return "\n".join([table(("Model", *titles), lines), table(("Model less ours", *titles), others)])
