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
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris

from .data import Split, load_table, split_table
from .metrics import align_columns, score_probabilities
from .models import configuration, create_model, for_columns, plain
from .peers import inner_folds
from .records import SCHEMA, Record, RecordStore, environment, load_average, now, record_key


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

    def jobs(self) -> Iterator[tuple[Variant, Record]]:
        """Variants with what identifies a run in the records, in order."""
        configurations = {variant.label: configuration(variant.create()) for variant in self.variants}
        for table in self.tables:
            for split in self.splits:
                for variant in self.variants:
                    own = {"label": variant.label, "configuration": configurations[variant.label]}
                    yield variant, {**own, "table": table, "split": split, "inner": self.inner}

    def records(self, store: RecordStore) -> list[Record]:
        """Records of the runs of this plan, whenever they were made."""
        wanted = {record_key(identity) for _, identity in self.jobs()}
        return [record for record in store.read() if record_key(record) in wanted]


def run_plan(plan: Plan, store: RecordStore) -> int:
    """
    Run what is not recorded yet, and append a record as each run ends: killing the process loses the running one only.

    Returns
    -------
    int
        Number of runs that failed. Nothing is recorded of them, so the next call tries them again.
    """
    done = set() if plan.again else {record_key(record) for record in store.read()}
    jobs, surroundings = list(plan.jobs()), environment()
    warm: set[str] = set()
    n_failed = 0
    for number, (variant, identity) in enumerate(jobs, 1):
        if record_key(identity) in done:
            continue
        split = split_table(load_table(identity["table"], plan.data_dir), identity["split"], inner=plan.inner)
        if variant.label not in warm:
            _warm_up(variant.create())
            warm.add(variant.label)
        name = f"[{number}/{len(jobs)}] {variant.label} {identity['table']}/{identity['split']}"
        try:
            measured = measure(for_columns(variant.model, variant.create(), split.table.X), split)
        except Exception as error:  # one model's failure must not end a run of hours
            n_failed += 1
            print(f"{name}: failed, {type(error).__name__}: {error}", flush=True)
            continue
        made = {"schema": SCHEMA, "model": variant.model, "parameters": plain(variant.parameters), "date": now()}
        store.append({**made, **identity, **measured, **surroundings, "command": plan.command})
        scores = " ".join(f"{score} {measured[score]:.4f}" for score in ("accuracy", "log_loss", "ece"))
        print(f"{name}: {scores} fit {measured['fit_seconds']:.2f} s", flush=True)
    if n_done := sum(record_key(identity) in done for _, identity in jobs):
        print(f"{n_done} of {len(jobs)} runs were recorded before in {store.folder}; --again measures them anew.")
    return n_failed


def measure(model: BaseEstimator, split: Split) -> dict[str, Any]:
    """Sizes, scores, and wall and processor seconds, of all threads, not of child processes, of a fit and a prediction."""
    (X_train, y_train), (X_test, y_test) = split.fitting, split.evaluation
    of_groups = _of_groups(model, y_train, split.groups)
    load = load_average()
    gc.collect()
    with quiet() as caught:
        fit_wall, fit_cpu, _ = timed(lambda: model.fit(X_train, y_train, **of_groups))
        predict_wall, predict_cpu, proba = timed(lambda: model.predict_proba(X_test))
    scores = score_probabilities(y_test, align_columns(proba, model.classes_, split.labels), split.labels)
    return {
        "data_digest": split.table.digest,
        "grouped": split.groups is not None,
        "takes_groups": bool(of_groups),
        "n_train": len(y_train),
        "n_test": len(y_test),
        "n_features": X_train.shape[1],
        "n_classes": len(split.labels),
        **scores,
        "fit_seconds": fit_wall,
        "fit_cpu_seconds": fit_cpu,
        "predict_seconds": predict_wall,
        "predict_cpu_seconds": predict_cpu,
        "load_average": load,
        "warnings": sorted({warning.category.__name__ for warning in caught}),
    }


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Catch warnings, and what some peers print of their progress, whatever they are told."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of a call by the clock and of the processors, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def _of_groups(model: BaseEstimator, y: np.ndarray, groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """What `fit` gets of groups: themselves, or a validation part of a fifth of the rows that keeps them whole."""
    accepted = inspect.signature(model.fit).parameters
    if groups is not None and "groups" in accepted:
        return {"groups": groups}
    if groups is not None and "val_idxs" in accepted:
        return {"val_idxs": inner_folds(y, groups)[0][1]}
    return {}


def _warm_up(model: BaseEstimator) -> None:
    """Fit once unmeasured: the first fit of a process also imports libraries and starts their threads."""
    X, y = load_iris(return_X_y=True)
    with quiet():
        model.fit(X.astype(np.float32)[::3], y.astype(str)[::3]).predict_proba(X[:2].astype(np.float32))
