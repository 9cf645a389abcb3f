"""Tables to compare classifiers on: the user's CSV file, or three datasets of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from ..optional import require
from ..validation import check_integer, first_few, shown

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES: dict[str, Callable[..., Any]] = {
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
INFINITE = "Infinite values are treated as missing."
WORDS = (
    "In columns of classes and groups, only an empty cell is a missing value: words such as NA, None and null are "
    "names there. If they stand for missing values, empty these cells."
)
RULE = "expected a CSV file in UTF-8, with a header and columns separated by commas"
MAX_CLASSES = 100
"""A target with more different numbers than this is taken for a quantity, not a class."""


@dataclass(frozen=True)
class Dataset:
    """
    A table with a class for each row.

    `X`, (n, columns), has numbers, booleans and strings, with NaN for missing values, and the row in the file, from 0, as index.
    `y` are labels and `groups`, (n,), are kept within one fold; `notes` are sentences about what was left out, and `dropped` the
    columns of the file that are not features.
    """

    name: str
    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def load_example(name: str) -> Dataset:
    """Load one of `EXAMPLES`."""
    require("pandas", "demo")
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
    Read a CSV file and leave out rows and columns that cannot be used.

    The file has a header, and may be compressed; empty cells are missing values, and in features so are words such as NA and
    None. The column `groups`, such as speakers or patients, is not used as a feature. Of more than `max_rows` rows, a random
    sample is used. Classes with fewer than `2 * n_folds` rows, or in fewer than `n_folds` groups, are left out.

    A ValueError if there is no such file or column, the file is no such table, the target is a quantity, or fewer than two
    classes have enough rows; an ImportError without pandas.
    """
    check_integer("max_rows", max_rows, 1)
    if not path.is_file():
        raise ValueError(f"Got {path}, which is not a file, expected a CSV file with a header.")
    table = _read(path)
    for option, column in (("target", target), ("groups", groups)):
        if column is not None and column not in table:
            _check_separator(table, path)
            raise ValueError(f"Got {option}={column!r}, expected a column of {path}: {_listed(table.columns)}.")
    if target == groups:
        raise ValueError(f"Got groups={groups!r}, which is also the target, expected another column.")
    notes: list[str] = []
    named = [target] if groups is None else [target, groups]
    table = _with_names(table, path, named, notes)
    excluded = [*named, *_row_numbers(table.drop(columns=named), notes)]
    table = _with_values(table, named, notes)
    if table[target].dtype.kind == "f" and table[target].nunique() > MAX_CLASSES:
        raise ValueError(
            f"Got target={target!r} of {table[target].nunique()} different numbers, expected at most {MAX_CLASSES} classes; "
            "divide it into ranges, or use a regressor."
        )
    if table[target].dtype.kind == "f" and (parts := table[target][table[target] % 1 != 0]).any():
        raise ValueError(
            f"Got target={target!r} with the number {parts.iloc[0]:g}, expected classes; make them whole numbers or text."
        )
    if len(table) > max_rows:
        notes.append(f"A random sample of {max_rows:,} of {len(table):,} rows is used; --max-rows changes this.")
        table = table.sample(max_rows, random_state=random_state)
    table = _frequent_classes(table, target, groups, n_folds, notes)
    X = _features(table.drop(columns=excluded), notes)
    group_names = None if groups is None else table[groups].astype(str).to_numpy(dtype=str)
    y = table[target].to_numpy()
    y = y if y.dtype.kind in "biuf" else y.astype(str)
    return Dataset(path.name, X, y, group_names, tuple(notes), tuple(table.columns.difference(X.columns, sort=False)))


def _read(path: Path) -> pd.DataFrame:
    pd = require("pandas", "demo")
    from ..speech.csv_files import read_csv  # needs pandas

    try:
        return read_csv(path, RULE)
    except ValueError as error:
        if isinstance(error.__cause__, pd.errors.ParserError | pd.errors.ParserWarning):
            _check_separator(pd.read_csv(path, nrows=0), path)
        raise


def _check_separator(table: pd.DataFrame, path: Path) -> None:
    """Raise an error if the only column has a separator other than the comma in its name."""
    name = str(table.columns[0])
    for separator, what in ((";", "semicolons"), ("\t", "tabs")):
        if table.shape[1] == 1 and separator in name:
            raise ValueError(
                f"Got {path} with the single column {shown(name)}, which seems to be separated by {what}, {RULE}; "
                "save it with commas as separators."
            )


def _with_names(table: pd.DataFrame, path: Path, columns: list[str], notes: list[str]) -> pd.DataFrame:
    """Restore the words in some columns that pandas takes for missing values."""
    if not table[columns].isna().any(axis=None):
        return table
    names = require("pandas", "demo").read_csv(path, keep_default_na=False, na_values=[""])[columns]
    names = names.set_axis(table.index)
    if names.notna().equals(table[columns].notna()):
        return table
    notes.append(WORDS)
    return table.assign(**names)


def _row_numbers(table: pd.DataFrame, notes: list[str]) -> list[Any]:
    """Columns of row numbers, as written by `DataFrame.to_csv`; if rows are sorted by class, they reveal it."""
    integers = table.select_dtypes("integer") if len(table) > 2 else table[[]]
    names = [name for name, values in integers.items() if values.iloc[0] in (0, 1) and (values.diff()[1:] == 1).all()]
    if names:
        notes.append(f"Columns of row numbers were left out: {_listed(names)}.")
    return names


def _with_values(table: pd.DataFrame, columns: list[str], notes: list[str]) -> pd.DataFrame:
    """Keep rows without missing values in some columns."""
    kept = table[columns].notna().all(axis=1)
    if not kept.all():
        n_rows = int((~kept).sum())
        rows, were = ("row", "was") if n_rows == 1 else ("rows", "were")
        notes.append(f"{n_rows:,} {rows} without {' or '.join(columns)} {were} left out.")
    return table[kept]


def _frequent_classes(
    table: pd.DataFrame, target: str, groups: str | None, n_folds: int, notes: list[str]
) -> pd.DataFrame:
    """Keep classes with enough rows, and groups, for all folds."""
    counts = table[target].value_counts()
    rare = counts < 2 * n_folds
    needed = f"{2 * n_folds} rows"
    if groups is not None:
        rare |= table.groupby(target)[groups].nunique().reindex(counts.index) < n_folds
        needed += f" and {n_folds} groups"
    if (~rare).sum() < 2:
        raise ValueError(
            f"Got {(~rare).sum()} classes with at least {needed} in column {target!r}, expected 2 or more; use fewer folds, "
            "or add rows."
        )
    if rare.any():
        notes.append(f"Classes with fewer than {needed} were left out: {_listed(counts.index[rare])}.")
    return table[~table[target].map(rare).astype(bool)]


def _features(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep informative columns, and convert texts to strings."""
    X = table.copy()
    numbers = X.select_dtypes("number").columns
    if np.isinf(X[numbers].to_numpy(float)).any():
        X[numbers] = X[numbers].replace([np.inf, -np.inf], np.nan)
        notes.append(INFINITE)
    others = X.columns.difference([*numbers, *X.select_dtypes("bool").columns])
    for column in others:
        X[column] = X[column].map(str, na_action="ignore").astype(object)
    distinct = X.nunique()
    constant = X.columns[distinct + X.isna().any() < 2]  # a mark in some rows says something, as do gaps
    names = [column for column in others if distinct[column] == X[column].notna().sum() > 1]
    for columns, what in ((constant, "with a single value"), (names, "of text with a different value in each row")):
        if len(columns):
            notes.append(f"Columns {what} were left out: {_listed(columns)}.")
    X = X.drop(columns=[*constant, *names])
    if not X.shape[1]:
        raise ValueError("Got no column with several values besides the target, expected at least one; add features.")
    return X


def _listed(names: Iterable[Any]) -> str:
    return first_few([shown(name) for name in names], 20)
