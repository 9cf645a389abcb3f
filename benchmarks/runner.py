"""Run models on splits of tables and record each run."""

from __future__ import annotations

import gc
import inspect
import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris

from .data import Table, load_table, split_rows
from .environment import environment, load_average
from .metrics import align_columns, score_probabilities
from .models import configuration, create_model, plain
from .peers import inner_folds
from .records import SCHEMA, Record, RecordStore, record_key


@dataclass(frozen=True)
class Variant:
    """A model, a key of `MODELS`, with the parameters it is given, under a label of its own."""

    label: str
    model: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def create(self) -> BaseEstimator:
        """Create the unfitted model."""
        return create_model(self.model, self.parameters)


@dataclass(frozen=True)
class Plan:
    """
    What to run: all variants in turn on each split of each table, so that their seconds are side by side.

    `inner` leaves test parts alone and splits training parts once more; `again` runs also what is recorded; `command` is
    what the records name.
    """

    variants: Sequence[Variant]
    tables: Sequence[str]
    splits: Sequence[int] = (0, 1, 2)
    data_dir: Path | None = None
    inner: bool = False
    again: bool = False
    command: str = ""


def run_plan(plan: Plan, store: RecordStore, report: Callable[[str], None]) -> int:
    """
    Run what is not recorded yet.

    Parameters
    ----------
    plan : Plan
    store : RecordStore
        Gets a record as each run ends; killing the process loses the running one only.
    report : callable
        Called with a line of text per run.

    Returns
    -------
    int
        Number of runs that failed. Nothing is recorded of them, so the next call tries them again.
    """
    configurations = {variant.label: configuration(variant.create()) for variant in plan.variants}
    done = set() if plan.again else {record_key(record) for record in store.read()}
    surroundings = environment()
    jobs = [(variant, table, split) for table in plan.tables for split in plan.splits for variant in plan.variants]
    warm: set[str] = set()
    n_failed = n_done = 0
    for number, (variant, table_name, split) in enumerate(jobs, 1):
        identity = {
            "label": variant.label,
            "configuration": configurations[variant.label],
            "table": table_name,
            "split": split,
            "inner": plan.inner,
        }
        if record_key(identity) in done:
            n_done += 1
            continue
        table = load_table(table_name, plan.data_dir)
        if variant.label not in warm:
            _warm_up(variant.create())
            warm.add(variant.label)
        name = f"[{number}/{len(jobs)}] {variant.label} {table_name}/{split}{' inner' if plan.inner else ''}"
        try:
            measured = measure(variant.create(), table, *split_rows(table, split, inner=plan.inner))
        except Exception as error:  # one model's failure must not end a run of hours
            n_failed += 1
            report(f"{name}: failed, {type(error).__name__}: {error}")
            continue
        record: Record = {
            "schema": SCHEMA,
            "model": variant.model,
            "parameters": plain(variant.parameters),
            **identity,
            **measured,
            **surroundings,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": plan.command,
        }
        store.append(record)
        report(
            f"{name}: accuracy {record['accuracy']:.4f} log-loss {record['log_loss']:.4f} ece {record['ece']:.4f} "
            f"fit {record['fit_seconds']:.2f} s"
        )
    if n_done:
        report(f"{n_done} of {len(jobs)} runs were recorded before in {store.folder}; --again measures them anew.")
    return n_failed


def measure(model: BaseEstimator, table: Table, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """
    Fit on some rows, score on others.

    Parameters
    ----------
    model : estimator
        With `predict_proba` and `classes_`.
    table : Table
    train, test : ndarray of int
        Row numbers.

    Returns
    -------
    dict
        Sizes, scores, and wall and processor seconds, of all threads, not of child processes.
    """
    X_train, y_train, X_test, y_test = table.X[train], table.y[train], table.X[test], table.y[test]
    labels = np.unique(table.y)
    of_groups = _of_groups(model, y_train, None if table.groups is None else table.groups[train])
    load = load_average()
    gc.collect()
    with _quiet() as caught:
        fit_wall, fit_cpu, _ = _timed(lambda: model.fit(X_train, y_train, **of_groups))
        predict_wall, predict_cpu, proba = _timed(lambda: model.predict_proba(X_test))
    scores = score_probabilities(y_test, align_columns(proba, model.classes_, labels), labels)
    return {
        "data_digest": table.digest,
        "grouped": table.groups is not None,
        "takes_groups": bool(of_groups),
        "n_train": len(train),
        "n_test": len(test),
        "n_features": table.X.shape[1],
        "n_classes": len(labels),
        **scores,
        "fit_seconds": fit_wall,
        "fit_cpu_seconds": fit_cpu,
        "predict_seconds": predict_wall,
        "predict_cpu_seconds": predict_cpu,
        "load_average": load,
        "warnings": sorted({warning.category.__name__ for warning in caught}),
    }


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Catch warnings, and what some peers print of their progress, whatever they are told."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def _of_groups(model: BaseEstimator, y: np.ndarray, groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """What `fit` gets of groups: themselves, or a validation part of a fifth of the rows that keeps them whole."""
    accepted = inspect.signature(model.fit).parameters
    if groups is not None and "groups" in accepted:
        return {"groups": groups}
    if groups is not None and "val_idxs" in accepted:
        return {"val_idxs": inner_folds(y, groups)[0][1]}
    return {}


def _timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def _warm_up(model: BaseEstimator) -> None:
    """Fit once unmeasured: the first fit of a process also imports libraries and starts their threads."""
    X, y = load_iris(return_X_y=True)
    with _quiet():
        model.fit(X.astype(np.float32)[::3], y.astype(str)[::3]).predict_proba(X[:2].astype(np.float32))
