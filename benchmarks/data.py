"""The tables that models are measured on, and the protocol of their splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit
from sklearn.utils import _safe_indexing

from .arff import FURTHER, read_arff
from .large import LARGE, large_path, read_large

BUNDLED = {"sk_digits": load_digits, "sk_breast_cancer": load_breast_cancer, "sk_wine": load_wine}
N_SPLITS = 3

_UCI = "UCI machine learning repository"
_RAVDESS = "RAVDESS speech (Livingstone and Russo 2018, CC BY-NC-SA 4.0); groups are actors"
_EGEMAPS = f"eGeMAPS v2 functionals of {_RAVDESS}"
_GE2E = f"embeddings by the GE2E speaker encoder of resemblyzer (Apache-2.0) of {_RAVDESS}"
SOURCES = {
    **dict.fromkeys(BUNDLED, "bundled with scikit-learn"),
    **dict.fromkeys(("car", "page_blocks", "segment", "spambase", "vehicle", "zoo"), _UCI),
    "credit_g": f"{_UCI}, German credit",
    "heart_disease": f"{_UCI}, Cleveland",
    "pendigits": f"{_UCI}, 5,500 of its rows",
    "phoneme": "ELENA project",
    "brown_genes": "yeast gene expression (Brown et al. 2000)",
    "ravdess_emotion_egemaps": _EGEMAPS,
    "ravdess_gender_egemaps": _EGEMAPS,
    "ravdess_emotion_ge2e": _GE2E,
    "ravdess_gender_ge2e": _GE2E,
    "debian_applications_wordllama": "descriptions of Debian packages as static text vectors of wordllama (MIT)",
}
EMBEDDINGS = ("debian_applications_wordllama", "ravdess_emotion_ge2e", "ravdess_gender_ge2e")
SMALL = ("brown_genes", "heart_disease", "zoo")
SUBSETS = {
    "tables": tuple(name for name in SOURCES if name not in {*EMBEDDINGS, *SMALL}),
    "embeddings": EMBEDDINGS,
    "small": SMALL,
}
"""Kinds of tables, which `--tables` takes as names too; pages have means over each."""
SAMPLE = ("brown_genes", "heart_disease", "sk_breast_cancer", "vehicle", "car", "ravdess_emotion_ge2e", "sk_digits")
"""Some of every kind, for what takes many fits."""


@dataclass(frozen=True)
class Table:
    """Rows with labels; those of a group, such as a speaker, stay on one side of a split."""

    name: str
    X: np.ndarray | pd.DataFrame  # (n, d), float32 or columns of numbers and categories
    y: np.ndarray  # (n,), str
    groups: np.ndarray | None = None  # (n,), str

    @property
    def digest(self) -> str:
        """Short hash of the content, by which records of another table under the same name are told apart."""
        features = self.X.to_csv().encode() if isinstance(self.X, pd.DataFrame) else self.X.tobytes()
        content = hashlib.sha256(features)
        for labels in (self.y, self.groups):
            content.update(b"" if labels is None else "\n".join(labels).encode())
        return content.hexdigest()[:12]


def table_names(data_dir: Path | None = None) -> list[str]:
    """Names of all tables: `tabular/*.csv.gz`, `*.arff` or clones in the folder, sorted, at least one, and scikit-learn's."""
    if data_dir is None:
        return list(BUNDLED)
    found = [path.name.removesuffix(".csv.gz") for path in (data_dir / "tabular").glob("*.csv.gz")]
    found += [path.stem for path in data_dir.glob("*.arff")]
    found += [name for name in LARGE if large_path(data_dir, name).exists()]
    if not found:
        raise ValueError(
            f"Got data_dir={str(data_dir)!r} without tables, expected a folder with tabular/*.csv.gz, *.arff or clones "
            "of `large.LARGE`."
        )
    return sorted(found) + list(BUNDLED)


def chosen_tables(text: str | None, data_dir: Path | None, default: Sequence[str] | None = None) -> list[str]:
    """Names of tables, of `SUBSETS`, "further" or "large", commas between; without a text the default ones, or else all."""
    if text is None:
        return [name for name in table_names(data_dir) if default is None or name in default]
    kinds = {**SUBSETS, "further": FURTHER, "large": tuple(LARGE)}
    names = [name for word in text.split(",") for name in kinds.get(word, (word,))]
    for name in names:
        load_table(name, data_dir)
    return names


@lru_cache(maxsize=2)
def load_table(name: str, data_dir: Path | None = None) -> Table:
    """Read a table, one of `table_names`; a CSV has numeric features, `target`, and `group` where there are groups."""
    if name not in (names := table_names(data_dir)):
        remedy = "; more come with --data-dir" if data_dir is None else ""
        raise ValueError(f"Got table {name!r}, expected one of {', '.join(names)}{remedy}.")
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
        return Table(name, X.astype(np.float32), y.astype(str))
    assert data_dir is not None
    if (path := data_dir / f"{name}.arff").exists():
        return Table(name, *read_arff(path))
    if name in LARGE and large_path(data_dir, name).exists():
        return Table(name, *read_large(data_dir, name))
    frame = pd.read_csv(data_dir / "tabular" / f"{name}.csv.gz")
    y = np.array(frame.pop("target").astype(str).tolist())
    groups = np.array(frame.pop("group").astype(str).tolist()) if "group" in frame else None
    return Table(name, frame.to_numpy(np.float32), y, groups)


@dataclass(frozen=True)
class Split:
    """Row numbers of a table to fit on and to evaluate on."""

    table: Table
    train: np.ndarray
    test: np.ndarray
    number: int = 0

    @property
    def about(self) -> dict[str, Any]:
        """What tells it from other splits in rows of a record."""
        return {"table": self.table.name, "split": self.number}

    @property
    def labels(self) -> np.ndarray:
        """All labels of the table, sorted."""
        return np.unique(self.table.y)

    @property
    def fitting(self) -> tuple[Any, np.ndarray]:
        """Features and labels of the training rows."""
        return _safe_indexing(self.table.X, self.train), self.table.y[self.train]

    @property
    def evaluation(self) -> tuple[Any, np.ndarray]:
        """Features and labels of the test rows."""
        return _safe_indexing(self.table.X, self.test), self.table.y[self.test]

    @property
    def groups(self) -> np.ndarray | None:
        """Groups of the training rows, if there are any."""
        return None if self.table.groups is None else self.table.groups[self.train]


def outer_splits(table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers of three stratified splits 70/30, or of three stratified folds of whole groups: training, test."""
    if table.groups is None:
        return list(StratifiedShuffleSplit(N_SPLITS, test_size=0.3, random_state=0).split(table.X, table.y))
    folds = StratifiedGroupKFold(N_SPLITS, shuffle=True, random_state=0)
    return list(folds.split(table.X, table.y, table.groups))


def split_table(
    table: Table, number: int = 0, *, inner: bool = False, max_train: int | None = None, max_test: int | None = None
) -> Split:
    """
    One split of a table.

    Parameters
    ----------
    table : Table
    number : {0, 1, 2}, default=0
        Of the outer split.
    inner : bool, default=False
        Whether to leave the test part alone, and to split its training part once more by the same protocol. Test parts of
        different splits overlap: a choice made on the inner part of one split is blind to the test part of that split only.
    max_train, max_test : int, optional
        Rows at most, a random choice with the seed 0.
    """
    train, test = outer_splits(table)[number]
    if inner:
        groups = None if table.groups is None else table.groups[train]
        fit, evaluate = outer_splits(Table(table.name, _safe_indexing(table.X, train), table.y[train], groups))[0]
        train, test = train[fit], train[evaluate]
    rng = np.random.default_rng(0)
    train = train if max_train is None else rng.permutation(train)[:max_train]
    test = test if max_test is None else rng.permutation(test)[:max_test]
    return Split(table, train, test, number)


def class_rows(n: int, n_features: int, n_classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """
    Rows (n, n_features) around the centres of their classes, both normal, so that a few errors remain, and labels (n,).

    Every class comes evenly; the seed is of the rows, the centres are the same for every seed.
    """
    # Distances between centres do not depend on the number of features.
    centres = np.random.default_rng(0).standard_normal((n_classes, n_features), np.float32) * np.float32(
        3 / np.sqrt(n_features)
    )
    rng = np.random.default_rng([1, seed])
    y = rng.permutation(np.arange(n) % n_classes)
    return rng.standard_normal((n, n_features), np.float32) + centres[y], y
