"""Seconds and accuracy of a fit with defaults on the tables, beside MLPClassifier's and pytabkit's."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from ..data import Table, load_table, split_rows, table_names
from ..runner import Variant
from ..runner import measure as measure_run
from .measuring import Finding, Measured, Options, class_rows

TITLE = "Fit on a CPU"
SYNTHETIC = "synthetic"
PEERS = {"realmlp_td": "pytabkit", "tabm_d": "pytabkit"}
"""Slow peers that can be asked for, with the package each comes from; they are fitted to the first split of real tables."""
GOALS = {"mlp": 2.0, "realmlp_td": 0.25, "tabm_d": 1 / 3}
_KEPT = ("accuracy", "log_loss", "fit_seconds", "fit_cpu_seconds", "n_train", "n_features", "n_classes")


def measure(options: Options) -> Measured:
    """Fit on each split of each table in turn."""
    tiny: dict[str, Any] = {"max_epochs": 2, "n_members": 2, "width": 32, "depth": 1} if options.quick else {}
    variants = [
        Variant("ours", "ours", {"device": "cpu", **tiny}),
        Variant("mlp", "mlp", {"mlpclassifier__max_iter": 20} if options.quick else {}),
    ]
    peers = [Variant(name, name, {"device": "cpu"}) for name in installed_peers(options.peers)]
    tables = _tables(options)
    for variant in [*variants, *peers]:  # the first fit of a process also imports libraries and starts threads
        _fit(variant, load_table("sk_wine"), 0)
    runs = []
    for table in tables:
        for split in range(1 if options.quick else 3):
            for variant in [*variants, *(peers if split == 0 and table.name != SYNTHETIC else [])]:
                run = {"table": table.name, "split": split, "label": variant.label, **_fit(variant, table, split)}
                runs.append(run)
                print(
                    f"{variant.label} {table.name}/{split}: {run['fit_seconds']:.2f} s, {run['accuracy']:.4f}",
                    flush=True,
                )
    settings = {
        "tables": [table.name for table in tables],
        "splits": {"ours": 1 if options.quick else 3, "mlp": 1 if options.quick else 3, "peers": 1},
        "peers": [variant.label for variant in peers],
        "peers_missing": sorted({*options.peers} - {*installed_peers(options.peers)}),
    }
    totals = {label: _summary(runs, label) for label in ["mlp", *settings["peers"]]}
    of_synthetic = [run for run in runs if run["table"] == SYNTHETIC and run["label"] == "ours"]
    size = f"{of_synthetic[0]['n_train']:,} rows of {of_synthetic[0]['n_features']} features"
    findings = [Finding(size, float(np.median([run["fit_seconds"] for run in of_synthetic])), "s", 60.0)]
    n_real = f"{len(tables) - 1} real tables"
    for label, total in totals.items():
        findings.append(Finding(f"{n_real}, ours / {label}", total["ratio"], "×", GOALS.get(label)))
    return Measured(settings, {"runs": runs, "against": totals}, findings)


def installed_peers(names: tuple[str, ...]) -> list[str]:
    """Those of the slow peers whose package is there."""
    return [name for name in names if find_spec(PEERS[name])]


def _tables(options: Options) -> list[Table]:
    """Those of the folder, scikit-learn's, and a synthetic one as the last."""
    names = ["sk_wine"] if options.quick else table_names(options.data_dir)
    X, y = class_rows(*((200, 20, 5) if options.quick else (7143, 100, 10)))  # 5,000 of 7,143 are trained on
    return [*(load_table(name, options.data_dir) for name in names), Table(SYNTHETIC, X, y.astype(str))]


def _fit(variant: Variant, table: Table, split: int) -> dict[str, Any]:
    found = measure_run(variant.create(), table, *split_rows(table, split))
    return {name: found[name] for name in _KEPT}


def _summary(runs: list[dict[str, Any]], peer: str) -> dict[str, Any]:
    """Totals over real tables of medians over the splits that both have, and mean accuracies over the same."""
    cells = {(run["table"], run["split"]) for run in runs if run["label"] == peer and run["table"] != SYNTHETIC}
    found: dict[str, Any] = {}
    for label in ("ours", peer):
        own = [run for run in runs if run["label"] == label and (run["table"], run["split"]) in cells]
        of_table = [[run for run in own if run["table"] == table] for table in sorted({run["table"] for run in own})]
        found[f"{label}_seconds"] = float(sum(np.median([run["fit_seconds"] for run in part]) for part in of_table))
        found[f"{label}_accuracy"] = float(np.mean([np.mean([run["accuracy"] for run in part]) for part in of_table]))
    return {**found, "ratio": found["ours_seconds"] / found[f"{peer}_seconds"]}


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    splits = record["settings"]["splits"]
    rows = [["Over all real tables", "Splits", "Fit, s", "Ours, s", "Ours / this", "Accuracy, %", "Ours, %"]]
    for label, found in record["figures"]["against"].items():
        rows.append(
            [
                label,
                str(splits.get(label, splits["peers"])),
                f"{found[f'{label}_seconds']:.1f}",
                f"{found['ours_seconds']:.1f}",
                f"{found['ratio']:.2f}",
                f"{100 * found[f'{label}_accuracy']:.2f}",
                f"{100 * found['ours_accuracy']:.2f}",
            ]
        )
    return rows
