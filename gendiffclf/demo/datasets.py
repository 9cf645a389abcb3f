"""Tables to compare classifiers on: a CSV file of the user's, or three that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

from ..validation import check_integer, shown

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES: dict[str, Callable[..., Any]] = {
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
INFINITE = "Infinite values were taken as missing."
MANY_VALUES = 100
"""A target of more different numbers than this is a quantity, not a class."""


@dataclass(frozen=True)
class Dataset:
    """
    A table with a class for each row.

    Attributes
    ----------
    name : str
    X : DataFrame of shape (n, columns)
        Numbers, booleans and strings, NaN where a value is missing; its index numbers the rows of the file from 0.
    y : ndarray of shape (n,)
        Labels.
    groups : ndarray of shape (n,) or None
        Rows of one group are in one fold.
    notes : tuple of str
        What was left out, in sentences.
    dropped : tuple of str
        Columns of the file that are no features.
    """

    name: str
    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def load_example(name: str) -> Dataset:
    """One of `EXAMPLES`."""
    pandas()
    X, y = EXAMPLES[name](return_X_y=True, as_frame=True)
    return Dataset(name, X, y.to_numpy())


def read_table(
    path: Path,
    target: str,
    groups: str | None = None,
    *,
    n_folds: int = 3,
    max_rows: int = 10_000,
    random_state: int = 0,
) -> Dataset:
    """
    Read a CSV file and leave out what no classifier could learn from.

    Parameters
    ----------
    path : Path
        Of a file with a header, compressed or not; empty cells are missing values.
    target : str
        Column of the class.
    groups : str, optional
        Column of what rows belong to, such as a speaker or patient. It is no feature.
    n_folds : int >= 2, default=3
        Each class needs twice as many rows, and as many groups.
    max_rows : int >= 1, default=10000
        Of more rows a random sample is taken, stratified by class.
    random_state : int, default=0
        Of the sample.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If there is no such file or column, the target is a quantity, or fewer than two classes have enough rows.
    ImportError
        If pandas is not installed.
    """
    check_integer("n_folds", n_folds, 2)
    check_integer("max_rows", max_rows, 1)
    if not path.is_file():
        raise ValueError(f"Got {path}, which is not a file, expected a CSV file with a header.")
    table = pandas().read_csv(path)
    for option, column in (("target", target), ("groups", groups)):
        if column is not None and column not in table:
            raise ValueError(f"Got {option}={column!r}, expected a column of {path}: {_listed(table.columns)}.")
    if target == groups:
        raise ValueError(f"Got groups={groups!r}, which is the target too, expected another column.")
    notes: list[str] = []
    no_features = [target] if groups is None else [target, groups]
    no_features += _row_numbers(table.drop(columns=no_features), notes)
    table = _with_values(table, [target] if groups is None else [target, groups], notes)
    if table[target].dtype.kind == "f" and table[target].nunique() > MANY_VALUES:
        raise ValueError(
            f"Got target={target!r} of {table[target].nunique()} different numbers, expected classes, at most {MANY_VALUES}; "
            "cut it into ranges, or take a regressor."
        )
    table = _frequent_classes(table, target, groups, n_folds, notes)
    if len(table) > max_rows:
        notes.append(f"{max_rows:,} of {len(table):,} rows were drawn at random; --max-rows takes more.")
        table, _ = train_test_split(table, train_size=max_rows, stratify=table[target], random_state=random_state)
    X = _features(table.drop(columns=no_features), notes)
    of_groups = None if groups is None else table[groups].astype(str).to_numpy(dtype=str)
    y = table[target].to_numpy()
    y = y if y.dtype.kind in "biuf" else y.astype(str)
    return Dataset(path.name, X, y, of_groups, tuple(notes), tuple(table.columns.difference(X.columns, sort=False)))


def _row_numbers(table: pd.DataFrame, notes: list[str]) -> list[Any]:
    """Columns that count the rows, such as the index that `DataFrame.to_csv` writes: sorted by class, they give it away."""
    found = [name for name in table.select_dtypes("integer") if len(table) > 2 and (table[name].diff()[1:] == 1).all()]
    if found:
        notes.append(f"Columns of row numbers were left out: {_listed(found)}.")
    return found


def _with_values(table: pd.DataFrame, columns: list[str], notes: list[str]) -> pd.DataFrame:
    """Rows that have a value in every one of the columns."""
    kept = table[columns].notna().all(axis=1)
    if not kept.all():
        notes.append(f"{(~kept).sum():,} rows without {' or '.join(columns)} were left out.")
    return table[kept]


def _frequent_classes(
    table: pd.DataFrame, target: str, groups: str | None, n_folds: int, notes: list[str]
) -> pd.DataFrame:
    """Rows of classes with enough rows, and groups, for every fold."""
    counts = table[target].value_counts()
    rare = counts < 2 * n_folds
    needed = f"{2 * n_folds} rows"
    if groups is not None:
        rare |= table.groupby(target)[groups].nunique().reindex(counts.index) < n_folds
        needed += f" and {n_folds} groups"
    if (~rare).sum() < 2:
        raise ValueError(
            f"Got {(~rare).sum()} classes with at least {needed} in column {target!r}, expected 2 or more; take fewer folds, "
            "or add rows."
        )
    if rare.any():
        notes.append(f"Classes with fewer than {needed} were left out: {_listed(counts.index[rare])}.")
    return table[~table[target].map(rare).astype(bool)]


def _features(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Columns that can say something, texts as strings."""
    X = table.copy()
    numbers = X.select_dtypes("number").columns
    if np.isinf(X[numbers].to_numpy(float)).any():
        X[numbers] = X[numbers].replace([np.inf, -np.inf], np.nan)
        notes.append(INFINITE)
    others = X.columns.difference([*numbers, *X.select_dtypes("bool").columns])
    for column in others:
        X[column] = X[column].map(str, na_action="ignore").astype(object)
    distinct = X.nunique()
    constant = X.columns[distinct < 2]
    names = [column for column in others if distinct[column] == X[column].notna().sum() > 1]
    for columns, what in ((constant, "of one value"), (names, "of text that differs in every row")):
        if len(columns):
            notes.append(f"Columns {what} were left out: {_listed(columns)}.")
    X = X.drop(columns=[*constant, *names])
    if not X.shape[1]:
        raise ValueError(
            "Got no column with two values or more besides the target, expected at least one; add features."
        )
    return X


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(shown(name) for name in list(names)[:20]) + (" …" if len(list(names)) > 20 else "")


def pandas() -> Any:
    """Import pandas, or say which extra brings it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "The demo needs the package 'pandas', which is not installed: `pip install -e '.[demo]'` in a clone."
        ) from error
    return pandas
