"""DataFrames of numbers, booleans and categories as numbers: what each column becomes follows from its type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

RARE_SHARE = 0.01
"""Categories of a smaller share of the training weight become one, so that a column gets a hundred columns at most."""
NUMBER, BOOLEAN, CATEGORY = "number", "boolean", "category"
_PLURALS = {NUMBER: "numbers", BOOLEAN: "booleans", CATEGORY: "categories"}


def is_table(X: Any) -> bool:
    """Whether X is a DataFrame of pandas or polars."""
    return type(X).__name__ == "DataFrame" and type(X).__module__.partition(".")[0] in ("pandas", "polars")


def needs_encoding(X: Any) -> bool:
    """Whether X is a DataFrame with a column that is not of NumPy's integers or floats."""
    if not is_table(X):
        return False
    if type(X).__module__.startswith("polars"):
        return any(not dtype.is_numeric() or X[name].null_count() for name, dtype in X.schema.items())
    return any(not isinstance(dtype, np.dtype) or dtype.kind not in "iuf" for dtype in X.dtypes)


@dataclass(frozen=True)
class TableColumn:
    """
    What a column of a table becomes.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category"}
        The first two become one column, of floats or of 0 and 1; a category becomes columns of 0 and 1 for the next three.
    categories : tuple of str
        Those that are frequent enough.
    rare : bool
        Whether there is a column for all other categories: they were there in training. Unseen ones count as such.
    missing : bool
        Whether there is a column for missing values: they were there in training.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    rare: bool = False
    missing: bool = False

    @classmethod
    def fit(cls, name: str, series: Any, weight: np.ndarray) -> TableColumn:
        """Learn from a column (n,) and the weights of its rows (n,)."""
        kind = _kind(name, series) or NUMBER
        if kind != CATEGORY:
            return cls(name, kind)
        values, missing = _texts(series)
        seen = (weight > 0) & ~missing
        texts, place = np.unique(values[seen], return_inverse=True)
        shares = np.bincount(place, weight[seen], len(texts)) / weight.sum()
        frequent = shares >= min(RARE_SHARE, shares.max())
        return cls(
            name, kind, tuple(texts[frequent].tolist()), bool((~frequent).any()), bool(missing[weight > 0].any())
        )

    @property
    def names(self) -> list[str]:
        """Names of what it becomes."""
        if self.kind != CATEGORY:
            return [self.name]
        extra = ["rare"] * self.rare + ["missing"] * self.missing
        return [f"{self.name}={category}" for category in self.categories] + [f"{self.name} ({word})" for word in extra]

    def encode(self, series: Any) -> np.ndarray:
        """
        The column's values (n,) as floats (n, c).

        NaN says that nothing is known: of numbers, and of categories that are unseen, or missing, where none was in training.
        """
        given = _kind(self.name, series)
        if given is not None and (given == CATEGORY) != (self.kind == CATEGORY):
            raise ValueError(
                f"Got column {self.name!r} of {_PLURALS[given]}, expected {_PLURALS[self.kind]} as in fit; convert it, or fit "
                "again."
            )
        if self.kind != CATEGORY:
            return _numbers(series)[:, None]
        values, missing = _texts(series)
        known = np.array(self.categories, dtype=str)
        found = (values[:, None] == known).astype(np.float64)
        other = ~missing & (found.sum(1) == 0)
        columns = [found]
        for rows, has_column in ((other, self.rare), (missing, self.missing)):
            if has_column:
                columns.append(rows[:, None].astype(np.float64))
        encoded = np.concatenate(columns, axis=1)
        encoded[(other & (not self.rare)) | (missing & (not self.missing))] = np.nan
        return encoded


@dataclass(frozen=True)
class TableEncoder:
    """
    From a DataFrame to numbers.

    Attributes
    ----------
    columns : tuple of TableColumn
    """

    columns: tuple[TableColumn, ...]

    @classmethod
    def fit(cls, X: Any, weight: np.ndarray) -> TableEncoder:
        """Learn from a DataFrame of n rows and their weights (n,)."""
        return cls(tuple(TableColumn.fit(str(name), _series(X, i), weight) for i, name in enumerate(X.columns)))

    def transform(self, X: Any) -> np.ndarray:
        """The DataFrame's n rows as an array of shape (n, features), float64, NaN where a value is missing."""
        if not is_table(X):
            raise ValueError(
                f"Got X of type {type(X).__name__}, expected a DataFrame of pandas or polars with the columns of fit; "
                "make it one, for instance with pandas.DataFrame(X, columns=classifier.feature_names_in_)."
            )
        return np.concatenate([column.encode(_series(X, i)) for i, column in enumerate(self.columns)], axis=1)

    @property
    def indicators(self) -> np.ndarray:
        """Numbers of the features that are 0 or 1, (b,)."""
        counts = [(column.kind != NUMBER, len(column.names)) for column in self.columns]
        return np.flatnonzero(np.concatenate([np.full(count, indicator) for indicator, count in counts]))

    def get_feature_names_out(self) -> np.ndarray:
        """Names of the features, (features,): `"colour=red"`, `"colour (rare)"`, `"colour (missing)"`, or that of the column."""
        return np.array([name for column in self.columns for name in column.names], dtype=object)


def _series(X: Any, number: int) -> Any:
    """A column by its number: names may not be unique."""
    return X.iloc[:, number] if hasattr(X, "iloc") else X.to_series(number)


def _is_polars(series: Any) -> bool:
    return type(series).__module__.startswith("polars")


def _kind(name: str, series: Any) -> str | None:
    """What a column is of, by its type or, without a type, by its values; None for missing values only."""
    kind = _kind_of_polars(series) if _is_polars(series) else _kind_of_pandas(series)
    if kind != "other":
        return kind
    raise ValueError(
        f"Got column {name!r} of dtype {series.dtype}, expected numbers, booleans, strings or categories of one type; make it "
        "one of these, or drop it. skrub's TableVectorizer does so for dates and free text."
    )


def _kind_of_polars(series: Any) -> str | None:
    dtype, name = series.dtype, str(series.dtype.base_type())
    if series.null_count() == len(series):
        return None
    if dtype.is_numeric():
        return NUMBER
    if name == "Boolean":
        return BOOLEAN
    if name in ("String", "Categorical", "Enum"):
        return CATEGORY
    return _kind_of_values(series.drop_nulls().to_list()) if name == "Object" else "other"


def _kind_of_pandas(series: Any) -> str | None:
    import pandas as pd

    types = pd.api.types
    if isinstance(series.dtype, pd.CategoricalDtype):
        return CATEGORY
    if types.is_bool_dtype(series.dtype):
        return BOOLEAN
    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return NUMBER
    if series.isna().all():
        return None
    return _kind_of_values(series.dropna().tolist())


def _kind_of_values(values: list[Any]) -> str:
    tests: dict[str, Callable[[Any], bool]] = {
        BOOLEAN: lambda value: isinstance(value, bool | np.bool_),
        NUMBER: lambda value: isinstance(value, Real) and not isinstance(value, bool),
        CATEGORY: lambda value: isinstance(value, str),
    }
    return next((kind for kind, test in tests.items() if all(map(test, values))), "other")


def _numbers(series: Any) -> np.ndarray:
    """Values (n,), float64, with NaN for missing ones."""
    if _is_polars(series):
        return series.to_numpy().astype(np.float64)  # null becomes NaN
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _texts(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values as text, (n,), and which of them are missing, (n,)."""
    if _is_polars(series):
        values = series.to_list()
        missing = np.array([value is None for value in values], dtype=bool)
    else:
        values, missing = series.tolist(), series.isna().to_numpy(bool)
    return np.array(["" if gap else str(value) for value, gap in zip(values, missing, strict=True)], dtype=str), missing
