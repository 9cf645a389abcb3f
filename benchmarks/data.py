"""The tables that models are measured on, and the protocol of their splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

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
    """
    Rows with labels.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n, d), float32
    y : ndarray of shape (n,), str
    groups : ndarray of shape (n,), str, or None
        Rows of a group, such as a speaker, stay on one side of a split.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None

    @property
    def digest(self) -> str:
        """Short hash of the content, by which records of another table under the same name are told apart."""
        content = hashlib.sha256(np.ascontiguousarray(self.X).tobytes())
        for labels in (self.y, self.groups):
            content.update(b"" if labels is None else "\n".join(labels).encode())
        return content.hexdigest()[:12]


def table_names(data_dir: Path | None = None) -> list[str]:
    """
    Names of all tables: those in `tabular/*.csv.gz` of the folder, sorted, and scikit-learn's.

    Raises
    ------
    ValueError
        If the folder holds no table.
    """
    if data_dir is None:
        return list(BUNDLED)
    found = sorted(path.name.removesuffix(".csv.gz") for path in (data_dir / "tabular").glob("*.csv.gz"))
    if not found:
        raise ValueError(f"Got data_dir={str(data_dir)!r} without tables, expected a folder with tabular/*.csv.gz.")
    return found + list(BUNDLED)


def chosen_tables(text: str | None, data_dir: Path | None, default: Sequence[str] | None = None) -> list[str]:
    """
    Names of tables or of `SUBSETS` with commas between; without a text the default ones that there are, or else all.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    if text is None:
        return [name for name in table_names(data_dir) if default is None or name in default]
    names = [name for word in text.split(",") for name in SUBSETS.get(word, (word,))]
    for name in names:
        load_table(name, data_dir)
    return names


@lru_cache(maxsize=2)
def load_table(name: str, data_dir: Path | None = None) -> Table:
    """
    Read a table by its name: numeric features, `target`, and `group` where there are groups.

    Raises
    ------
    ValueError
        If there is no table of that name.
    """
    if name not in (names := table_names(data_dir)):
        remedy = "; more come with --data-dir" if data_dir is None else ""
        raise ValueError(f"Got table {name!r}, expected one of {', '.join(names)}{remedy}.")
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
        return Table(name, X.astype(np.float32), y.astype(str))
    assert data_dir is not None
    frame = pd.read_csv(data_dir / "tabular" / f"{name}.csv.gz")
    y = np.array(frame.pop("target").astype(str).tolist())
    groups = np.array(frame.pop("group").astype(str).tolist()) if "group" in frame else None
    return Table(name, frame.to_numpy(np.float32), y, groups)


def outer_splits(table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers of three stratified splits 70/30, or of three stratified folds of whole groups: training, test."""
    if table.groups is None:
        return list(StratifiedShuffleSplit(N_SPLITS, test_size=0.3, random_state=0).split(table.X, table.y))
    folds = StratifiedGroupKFold(N_SPLITS, shuffle=True, random_state=0)
    return list(folds.split(table.X, table.y, table.groups))


def split_rows(table: Table, split: int, *, inner: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """
    Row numbers of one split to fit on and to evaluate on.

    Parameters
    ----------
    table : Table
    split : {0, 1, 2}
        Number of the outer split.
    inner : bool, default=False
        Whether to leave the test part alone, and to split its training part once more by the same protocol. Test parts of
        different splits overlap: a choice made on the inner part of one split is blind to the test part of that split only.
    """
    train, test = outer_splits(table)[split]
    if not inner:
        return train, test
    groups = None if table.groups is None else table.groups[train]
    fit, evaluate = outer_splits(Table(table.name, table.X[train], table.y[train], groups))[0]
    return train[fit], train[evaluate]
