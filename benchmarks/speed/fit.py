"""Seconds and scores of a fit with defaults on the tables, beside MLPClassifier's, an older version's and pytabkit's."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.datasets import load_iris

from ..data import Table, load_table, split_rows, table_names
from ..metrics import align_columns, score_probabilities
from ..runner import Variant
from ..runner import measure as measure_run
from .baseline import BASELINE, Baseline
from .measuring import QUICK, Finding, Measured, Options, interleaved

TITLE = "Fit on a CPU"
PEERS = {"realmlp_td": "pytabkit", "tabm_d": "pytabkit"}
"""Slow peers that can be asked for, with the package each comes from; they are fitted to the first split."""
GOALS = {BASELINE: 1.0, "realmlp_td": 0.25, "tabm_d": 1 / 3}
SCORES = {"accuracy": ("Accuracy, %", 100, 2), "log_loss": ("log-loss", 1, 4), "ece": ("ECE", 1, 4)}
_KEPT = (*SCORES, "fit_seconds", "fit_cpu_seconds", "n_train", "n_features", "n_classes")


def measure(options: Options) -> Measured:
    """Fit on each split of each table in turn."""
    tiny = QUICK if options.quick else {}
    n_splits = 1 if options.quick else 3
    variants = [
        Variant("ours", "ours", {"device": "cpu", **tiny}),
        Variant("mlp", "mlp", {"mlpclassifier__max_iter": 20} if options.quick else {}),
    ]
    peers = [Variant(name, name, {"device": "cpu"}) for name in installed_peers(options.peers)]
    tables = [load_table("sk_wine")]
    if not options.quick:
        tables = [load_table(name, options.data_dir) for name in table_names(options.data_dir)]
    for variant in [*variants, *peers]:  # the first fit of a process also imports libraries and starts threads
        _fit(variant, load_table("sk_wine"), 0)
    runs: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        if (baseline := options.baseline) is not None:
            stack.enter_context(baseline)
            _fit_baseline(baseline, load_table("sk_wine"), 0)
        for table in tables:
            for split in range(n_splits):
                found = {v.label: _fit(v, table, split) for v in [*variants, *(peers if split == 0 else [])]}
                if baseline is not None:
                    found[BASELINE] = _fit_baseline(baseline, table, split)
                for label, run in found.items():
                    runs.append({"table": table.name, "split": split, "label": label, **run})
                    seconds, accuracy = run["fit_seconds"], run["accuracy"]
                    print(f"{label} {table.name}/{split}: {seconds:.2f} s, {accuracy:.4f}", flush=True)
    X, y = load_iris(return_X_y=True)
    small = interleaved({"fit": lambda: variants[0].create().fit(X, y)}, n_splits)["fit"]
    labels = dict.fromkeys(run["label"] for run in runs if run["label"] != "ours")
    totals = {label: _summary(runs, label) for label in labels}
    findings = [Finding("150 rows (iris)", float(np.median(small)), "s", 0.15)]
    for label, total in totals.items():
        findings.append(Finding(f"{len(tables)} tables, ours / {label}", total["ratio"], "×", GOALS.get(label)))
    settings = {
        "tables": [table.name for table in tables],
        "splits": {**dict.fromkeys(labels, n_splits), **{variant.label: 1 for variant in peers}},
        "peers_missing": sorted({*options.peers} - {*installed_peers(options.peers)}),
    }
    return Measured(settings, {"runs": runs, "against": totals}, findings)


def installed_peers(names: tuple[str, ...]) -> list[str]:
    """Those of the slow peers whose package is there."""
    return [name for name in names if find_spec(PEERS[name])]


def _fit(variant: Variant, table: Table, split: int) -> dict[str, Any]:
    found = measure_run(variant.create(), table, *split_rows(table, split))
    return {name: found[name] for name in _KEPT}


def _fit_baseline(baseline: Baseline, table: Table, split: int) -> dict[str, Any]:
    train, test = split_rows(table, split)
    wall, processor = baseline.fit(table.X[train], table.y[train], device="cpu")
    labels = np.unique(table.y)
    proba = align_columns(baseline.probabilities(table.X[test]), np.unique(table.y[train]), labels)
    scores = score_probabilities(table.y[test], proba, labels)
    return {**{name: scores[name] for name in SCORES}, "fit_seconds": wall, "fit_cpu_seconds": processor}


def _summary(runs: list[dict[str, Any]], peer: str) -> dict[str, Any]:
    """Totals over tables of median seconds over the splits that both have, and mean scores over the same."""
    cells = {(run["table"], run["split"]) for run in runs if run["label"] == peer}
    found: dict[str, Any] = {}
    for label in ("ours", peer):
        own = [run for run in runs if run["label"] == label and (run["table"], run["split"]) in cells]
        of_table = [[run for run in own if run["table"] == table] for table in sorted({run["table"] for run in own})]
        found[f"{label}_seconds"] = float(sum(np.median([run["fit_seconds"] for run in part]) for part in of_table))
        for score in SCORES:
            found[f"{label}_{score}"] = float(np.mean([np.mean([run[score] for run in part]) for part in of_table]))
    return {**found, "ratio": found["ours_seconds"] / found[f"{peer}_seconds"]}


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [["Over all tables", "Splits", "Fit, s", "ours", "ours / this"]]
    for title, *_ in SCORES.values():
        rows[0] += [title, "ours"]
    for label, found in record["figures"]["against"].items():
        times = [f"{found[f'{label}_seconds']:.1f}", f"{found['ours_seconds']:.1f}", f"{found['ratio']:.2f}"]
        scores = [
            f"{scale * found[f'{who}_{score}']:.{digits}f}"
            for score, (_, scale, digits) in SCORES.items()
            for who in (label, "ours")
        ]
        rows.append([label, str(record["settings"]["splits"][label]), *times, *scores])
    return rows
